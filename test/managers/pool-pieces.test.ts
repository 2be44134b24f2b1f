import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { PoolMemoryManagerOptions } from '../../managers/pool/pool-memory-manager.js';
import { type DevicePtr, GiB, KiB, MiB } from '../../src/core/units.js';
import { atLeast, same } from '../fixtures/same.js';
import { allocOne, expectModel, failEachCall, freeOne, poolBench, sizes } from './pool-bench.js';

const PAGES = [4 * KiB, 64 * KiB, MiB];

/** A pool on a device that takes back whole pieces alone, and how large each piece was that it asked for. */
function piecesBench(granularityBytes: number, options: PoolMemoryManagerOptions, capacityBytes: number) {
  const it = poolBench(granularityBytes, options, capacityBytes, true);
  const virtual = it.device.virtual!;
  const asked: number[] = [];
  const commit = virtual.commit.bind(virtual);
  virtual.commit = (ptr, bytes, pieceBytes) => {
    asked.push(pieceBytes!);
    return commit(ptr, bytes, pieceBytes);
  };
  return { ...it, asked };
}

describe('PoolMemoryManager on a device with pieces', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ bytes: sizes(), alignmentBits: fc.constantFrom(0, 0, 0, 0, 5, 12, 21) }) },
    { weight: 5, arbitrary: fc.record({ free: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ wanted: fc.integer({ min: 1, max: 4 * MiB }), more: fc.nat(2 * MiB) }) },
    { weight: 1, arbitrary: fc.constant('cleanup' as const) },
  );

  test.each(PAGES)('keeps its invariants after each step, with pages of %i bytes', (granularityBytes) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.constantFrom(0, 0.03, 0.1, 1), (steps, slack) => {
        const { manager, device, asked } = piecesBench(granularityBytes, { slack }, 64 * MiB);
        const live = new Map<DevicePtr, number>();
        for (const action of steps) {
          if (action === 'cleanup') manager.signalMemoryCleanup();
          else if ('free' in action) freeOne(manager, live, action.free);
          else if ('wanted' in action) {
            const { wanted, more } = action;
            const before = device.liveBytes;
            manager.releaseCached(0, wanted, wanted + more);
            const gave = before - device.liveBytes;
            atLeast(wanted + more, gave);
            // What did not suffice is all that the most allows.
            if (gave < wanted) {
              manager.releaseCached(0, wanted - gave, wanted + more - gave);
              same([device.liveBytes], [before - gave]);
            }
          } else allocOne(manager, live, action.bytes, action.alignmentBits === 0 ? 0 : 2 ** action.alignmentBits);
          manager.checkInvariants();
          expectModel(manager, device, live);
        }
        for (const piece of asked) atLeast(Math.max(64 * MiB * (1 / 512), granularityBytes), piece);
        for (const ptr of live.keys()) manager.unlock(ptr, true);
        manager.shutdown();
        expect(device.liveBytes).toBe(0);
        expect(device.counts.release).toBe(device.counts.reserve);
      }),
      { numRuns: 60 },
    );
  });

  test.each(PAGES)('changes nothing when any one native call fails, with pages of %i bytes', (granularityBytes) => {
    for (const slack of [0.1, 0]) failEachCall(() => piecesBench(granularityBytes, { slack }, 32 * MiB));
  });

  test('keeps its books when giving pieces back fails', () => {
    const { manager, device } = piecesBench(4 * KiB, { slack: 1 }, 64 * MiB);
    const blocks = Array.from({ length: 40 }, (_, i) => manager.allocBytes(200_000 + i * 1000, true));
    blocks.forEach((ptr, i) => {
      if (i % 4 !== 0) manager.unlock(ptr, true);
    });
    device.failWhen(({ name }) => (name === 'decommit' ? new Error('driver lost') : false));
    expect(() => manager.signalMemoryCleanup()).toThrow('driver lost');
    expect(() => manager.releaseCached(0, MiB, MiB)).toThrow('driver lost');
    manager.checkInvariants();
    device.failWhen(undefined);
    manager.signalMemoryCleanup();
    manager.checkInvariants();
    expect(manager.stats(0).reservedBytes.current).toBe(device.liveBytes);
  });

  test('gets a large block in few pieces, whose end does not share one with the next block', () => {
    const { manager, device, asked } = piecesBench(2 * MiB, { slack: 0.1 }, 1024 * GiB);
    manager.allocBytes(GiB + 100, true);
    manager.allocBytes(MiB, true);
    const last = manager.allocBytes(4 * GiB, true);
    expect(asked).toEqual([256 * MiB, 1280 * MiB]);
    manager.unlock(last, true);
    manager.signalMemoryCleanup();
    expect(device.liveBytes).toBe(GiB + 2 * MiB);
  });

  test('gets smaller pieces once too few are free as a whole, until it has none left', () => {
    const { manager, asked } = piecesBench(64 * KiB, { slack: 0.1 }, 64 * GiB);
    const blocks = Array.from({ length: 400 }, () => manager.allocBytes(MiB, true));
    const first = Math.max(...asked);
    const kept = blocks.filter((_, i) => i % 8 === 0);
    for (const ptr of blocks.filter((_, i) => i % 8 !== 0)) manager.unlock(ptr, true);
    const more = Array.from({ length: 30 }, () => manager.allocBytes(11 * MiB, true));
    expect(asked.at(-1)).toBeLessThan(first / 8);
    for (const ptr of [...kept, ...more]) manager.unlock(ptr, true);
    manager.signalMemoryCleanup();
    expect(manager.stats(0).reservedBytes.current).toBe(0);
    manager.allocBytes(MiB, true);
    expect(asked.at(-1)).toBe(first);
  });

  test('gets small pieces where little may be held', () => {
    const { manager, asked } = piecesBench(64 * KiB, { slack: 0.03 }, 64 * GiB);
    const live = Array.from({ length: 64 }, () => manager.allocBytes(16 * MiB, true));
    expect(live.length * 16 * MiB * 0.03 * (1 / 8)).toBeGreaterThanOrEqual(Math.max(...asked));
    expect(Math.max(...asked)).toBeGreaterThan(2 * MiB);
  });
});
