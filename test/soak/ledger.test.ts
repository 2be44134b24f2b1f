import { beforeAll, describe, expect, test } from 'vitest';
import { SOAK_LIMIT_MS } from '../config/limits.js';
import { compiled } from '../fixtures/compiled.js';
import { churnAndKill } from '../shared/budget/ledger-churn.js';
import { expectNothingLeft } from '../shared/names.js';

// `npm run soak:kills` asks for 10,000.
const KILLS = Number(process.env['STOWAGE_KILLS'] ?? 300);
// 300 take half a minute.
const LIMIT = SOAK_LIMIT_MS * Math.ceil(KILLS / 3000);

expectNothingLeft();

beforeAll(() => {
  compiled();
}, 120_000);

describe('SharedLedger', () => {
  test(
    `says what the living hold, after each of ${KILLS} kills of random members at random moments`,
    async () => {
      const deaths = await churnAndKill(KILLS);
      const { kills, withPages, withClaim, longestMs } = deaths;
      console.log(JSON.stringify(deaths));
      expect(kills).toBeGreaterThanOrEqual(KILLS);
      // The kills hit what they are meant to hit.
      expect(withPages).toBeGreaterThan(KILLS / 30);
      expect(withClaim).toBeGreaterThan(KILLS / 100);
      expect(longestMs).toBeLessThan(1000);
    },
    LIMIT,
  );
});
