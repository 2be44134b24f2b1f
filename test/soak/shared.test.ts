import { beforeAll, describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/core/units.js';
import { DEFAULT_MEM_CONTEXT as CTX, type OffsetPointer } from '../../src/shared/allocators/shared-allocator.js';
import { PosixMmapBackend } from '../../src/shared/backends/nameless-backends.js';
import { SeededRandom } from '../core/fakes.js';
import { codeOf } from '../fixtures/code-of.js';
import { compiled } from '../fixtures/compiled.js';
import { ChurnRegion, expectRecovered, killSoon } from '../shared/churn-region.js';
import { describeCrashes } from '../shared/crash-suite.js';
import { expectNothingLeft } from '../shared/names.js';
import { PAGE_ALLOCATORS } from '../shared/regions.js';

expectNothingLeft();

beforeAll(() => {
  compiled();
}, 120_000);

describe.each(['scalable-page', 'thread-local'] as const)('a %s allocator', (type) => {
  test.each([
    [2, 1],
    [2, 2],
    [4, 1],
    [8, 1],
  ])('serves a million operations of each thread, in %i processes of %i', async (processes, threads) => {
    // Eight processes on two cores wait for each other's turns.
    const region = new ChurnRegion(type, 64 * MiB, { lockTimeoutMs: 10_000 });
    const churn = { operations: 1_000_000, threads, slots: 300, maxBytes: 8 * KiB };
    const results = await region.results(Array.from({ length: processes }, () => region.start(churn)));
    expect(results.length).toBe(processes * threads);
    region.close();
  });

  test('goes on when 200 processes are killed, each at a random point, and loses no page', async () => {
    const region = new ChurnRegion(type, 16 * MiB);
    const random = new SeededRandom(8);
    const forever = { operations: 1e9, threads: 1, slots: 100, maxBytes: 4 * KiB };
    for (let round = 0; round < 50; round++) {
      const victims = Array.from({ length: 4 }, () => region.start(forever));
      const others = region.results([region.start({ ...forever, operations: 5000 })]);
      await killSoon(region, victims, () => random.below(30));
      await others;
      expectRecovered(region, victims);
    }
    region.close();
  });
});

describe.each(PAGE_ALLOCATORS.map((type) => [type.name, type] as const))('%s', (_, Type) => {
  describeCrashes(Type, () => 1);

  test.each([
    // [largest request in bytes, refusals of a million that are borne]: fragments that are too small for the largest requests.
    [64 * KiB, 0],
    [128 * KiB, 1000],
  ])('does not run dry at nine tenths in use: a million allocations of up to %i bytes, at most %i refused', (maxBytes, borne) => {
    using backend = PosixMmapBackend.create(0, 64 * MiB);
    const { region } = backend;
    const allocator = Type.shmInit(region, { id: { major: 0, minor: 0 } });
    const random = new SeededRandom(5);
    const live: OffsetPointer[] = [];
    let refusals = 0;
    let lateRefusals = 0;
    for (let n = 0; n < 1_000_000; n++) {
      while (allocator.allocatedBytes > 0.9 * allocator.capacityBytes) {
        const at = random.below(live.length);
        allocator.freeOffset(CTX, live[at]!);
        live[at] = live.at(-1)!;
        live.pop();
      }
      const bytes = 1 + Math.floor(2 ** ((random.below(1000) / 1000) * Math.log2(maxBytes)));
      if (codeOf(() => live.push(allocator.allocateOffset(CTX, bytes))) !== 'none') {
        refusals++;
        if (n >= 500_000) lateRefusals++;
      }
    }
    allocator.checkInvariants();
    expect(refusals).toBeLessThanOrEqual(borne);
    // It does not get worse.
    expect(lateRefusals).toBeLessThanOrEqual(2 * (refusals - lateRefusals) + 20);
    for (const offset of live) allocator.freeOffset(CTX, offset);
    allocator.freeTls({ tid: allocator.references.holder });
    expect(allocator.allocatedBytes).toBe(0);
    allocator.freeOffset(CTX, allocator.allocateOffset(CTX, Math.floor(0.85 * allocator.capacityBytes)));
  });
});
