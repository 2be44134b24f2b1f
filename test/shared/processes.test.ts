import { beforeAll, describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/core/units.js';
import { SeededRandom } from '../core/fakes.js';
import { compiled } from '../fixtures/compiled.js';
import { ChurnRegion, expectRecovered, killSoon } from './churn-region.js';
import { expectNothingLeft } from './names.js';

expectNothingLeft();

beforeAll(() => {
  compiled();
}, 120_000);

describe.each(['scalable-page', 'thread-local'] as const)('a %s allocator', (type) => {
  test.each([
    [2, 1],
    [2, 2],
  ])(
    'serves %i processes of %i threads: no byte of a block is another’s, and all is free at the end',
    async (processes, threads) => {
      const region = new ChurnRegion(type, 8 * MiB);
      const children = Array.from({ length: processes }, () =>
        region.start({ operations: 3000, threads, slots: 100, maxBytes: 20 * KiB }),
      );
      const results = await region.results(children);
      const sum = (key: 'allocations' | 'frees') => results.reduce((total, result) => total + result[key], 0);
      expect(sum('allocations')).toBe(sum('frees') + region.emptyMailbox());
      region.close();
    },
  );

  test('serves processes that fill it up, again and again', async () => {
    const region = new ChurnRegion(type, MiB);
    const children = [1, 2].map(() => region.start({ operations: 1500, threads: 1, slots: 400, maxBytes: 60 * KiB }));
    const results = await region.results(children);
    for (const { refusals } of results) expect(refusals).toBeGreaterThan(10);
    region.close();
  });

  test('goes on when processes are killed at any point, and loses no page', async () => {
    const region = new ChurnRegion(type, 8 * MiB);
    const random = new SeededRandom(8);
    const forever = { operations: 1e9, threads: 1, slots: 100, maxBytes: 4 * KiB };
    for (let round = 0; round < 3; round++) {
      const victims = [1, 2, 3].map(() => region.start(forever));
      const others = region.results([region.start({ ...forever, operations: 1000 })]);
      await killSoon(region, victims, () => random.below(20));
      await others;
      expectRecovered(region, victims);
    }
    region.close();
  });
});
