import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { beforeAll, describe, expect, test } from 'vitest';
import { SharedLedger } from '../../../src/shared/budget/shared-ledger.js';
import { searchRuns } from '../../config/search.js';
import { compiled, moduleUrl } from '../../fixtures/compiled.js';
import { expectNothingLeft, freshName } from '../names.js';
import { churnAndKill } from './ledger-churn.js';
import { member, PAGE } from './ledgers.js';

expectNothingLeft();

beforeAll(() => {
  compiled();
}, 120_000);

const LIMIT = 1000;
const WORKERS = 3;
const HAMMER_MS = searchRuns(800);
/** How often each worker is granted memory at least. */
const HAMMER_GRANTS = 1000;
/** What all hold together; what is left for those who ask there before. */
const Witness = { held: 0, free: 1, started: 2 } as const;

interface Hammered {
  readonly grants: number;
  readonly refusals: number;
  readonly passed: number;
}

/** Has workers take and give at random; what is granted counts in the witness from after its grant until before it is given. */
async function hammer(named: { readonly name?: string }, asksBefore: boolean): Promise<Hammered[]> {
  using ledger = SharedLedger.create({ limitBytes: LIMIT * PAGE, ...named }, member('main'));
  const witness = new Int32Array(new SharedArrayBuffer(12));
  witness[Witness.free] = LIMIT;
  const url = new URL(`data:text/javascript,${encodeURIComponent(hammerSource(asksBefore))}`);
  const workers = Array.from(
    { length: WORKERS },
    (_, i) => new Worker(url, { workerData: { token: ledger.token, witness, seed: i + 1 } }),
  );
  const results = workers.map(async (worker) => {
    const ended = once(worker, 'exit');
    const [result] = (await once(worker, 'message')) as [Hammered];
    await ended;
    return result;
  });
  const all = await Promise.all(results);
  expect(ledger.usedBytes).toBe(0);
  expect(witness[Witness.held]).toBe(0);
  expect(ledger.take(LIMIT * PAGE)).toBe(true);
  return all;
}

function hammerSource(asksBefore: boolean): string {
  return `
import { parentPort, workerData } from 'node:worker_threads';
import { SharedLedger } from '${moduleUrl('src/shared/budget/shared-ledger.js')}';
const { token, witness, seed } = workerData;
const ledger = SharedLedger.open(token, { name: 'hammer', priority: 0, minimumBytes: 0 });
let state = seed * 7919;
const random = (n) => { state ^= state << 13; state ^= state >>> 17; state ^= state << 5; return (state >>> 0) % n; };
const asksBefore = ${asksBefore};
const asks = (pages) => {
  const free = Atomics.load(witness, ${Witness.free});
  return free >= pages && Atomics.compareExchange(witness, ${Witness.free}, free, free - pages) === free;
};
const result = { grants: 0, refusals: 0, passed: 0 };
const held = [];
const give = () => {
  const pages = held.pop();
  Atomics.sub(witness, ${Witness.held}, pages);
  ledger.give(pages * ${PAGE});
  if (asksBefore) Atomics.add(witness, ${Witness.free}, pages);
};
// Together: alone, each would be done before the next one has begun.
Atomics.add(witness, ${Witness.started}, 1);
while (Atomics.load(witness, ${Witness.started}) < ${WORKERS});
const end = performance.now() + ${HAMMER_MS};
// On a slow machine for as long as it takes to have tried enough.
for (let n = 0; n % 64 > 0 || performance.now() < end || result.grants < ${HAMMER_GRANTS}; n++) {
  const pages = 1 + random(300);
  if (held.length > 0 && (held.length === 5 || random(2) === 0)) give();
  else if (asksBefore && !asks(pages)) continue;
  else if (ledger.take(pages * ${PAGE})) {
    result.grants++;
    held.push(pages);
    if (Atomics.add(witness, ${Witness.held}, pages) + pages > ${LIMIT}) result.passed++;
  } else result.refusals++;
}
while (held.length > 0) give();
ledger.dispose();
parentPort.postMessage(result);
`;
}

describe('SharedLedger', () => {
  describe.each([
    ['a buffer', () => ({})],
    ['a segment', () => ({ name: freshName() })],
  ])('in %s', (_, named) => {
    test('never grants more than the limit to workers that take at the same time', async () => {
      const results = await hammer(named(), false);
      for (const { grants, passed } of results) {
        expect(passed).toBe(0);
        expect(grants).toBeGreaterThanOrEqual(HAMMER_GRANTS);
      }
      expect(results.some(({ refusals }) => refusals > 100)).toBe(true);
    });

    test('hardly refuses what fits, while others give and take', async () => {
      const results = await hammer(named(), true);
      for (const { grants, refusals, passed } of results) {
        expect(passed).toBe(0);
        // One that was put off its processor for more than 10 ms while it claimed is waited for no longer.
        expect(refusals).toBeLessThan(grants / 1000);
      }
    });
  });

  test('says what the living hold after processes were killed', async () => {
    const { kills, longestMs } = await churnAndKill(16);
    expect(kills).toBeGreaterThanOrEqual(16);
    expect(longestMs).toBeLessThan(1000);
  });
});
