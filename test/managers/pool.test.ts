import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { type DevicePtr, GiB, KiB, MiB, NULL_PTR } from '../../src/core/units.js';
import { searchRuns } from '../config/search.js';
import { codeOf } from '../fixtures/code-of.js';
import { allocOne, poolBench as bench, expectModel, failEachCall, freeOne, sizes } from './pool-bench.js';

const COARSE_AND_FINE = [4 * KiB, 64 * KiB, 2 * MiB, 0];

describe('PoolMemoryManager', () => {
  describe('constructor', () => {
    test.each([-0.1, Number.NaN, Number.POSITIVE_INFINITY])('refuses a slack of %d', (slack) => {
      expect(codeOf(() => bench(4096, { slack }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });

    test.each([-1, 0.5, Number.POSITIVE_INFINITY])('refuses a release threshold of %d', (releaseThresholdBytes) => {
      expect(codeOf(() => bench(4096, { releaseThresholdBytes }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });

    test.each([0, -4096, 0.5, Number.NaN])('refuses a granularity of %d', (granularityBytes) => {
      expect(codeOf(() => bench(4096, { granularityBytes }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });
  });

  describe('initialize', () => {
    test('refuses a granularity that is no multiple of the device’s', () => {
      expect(codeOf(() => bench(64 * KiB, { granularityBytes: 4 * KiB }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });

    test('makes no native call', () => {
      expect(bench().device.callCount).toBe(0);
    });
  });

  describe('signalMemoryCleanup', () => {
    test('gives back segments that are smaller than others since memory was short', () => {
      const { device, manager } = bench(0, {}, 64 * KiB + 1000);
      const blocks = [manager.allocBytes(64 * KiB, true), manager.allocBytes(100, true)];
      for (const ptr of blocks) manager.unlock(ptr, true);
      manager.signalMemoryCleanup();
      expect([device.liveBytes, manager.stats(0).reservedBytes.current]).toEqual([0, 0]);
      manager.checkInvariants();
    });
  });

  describe('allocBytes', () => {
    test('takes pages of 16 KiB unless told otherwise', () => {
      const { manager, device } = bench(4 * KiB, { granularityBytes: undefined });
      for (let i = 0; i < 5; i++) manager.allocBytes(13 * KiB, true);
      expect(device.liveBytes % (16 * KiB)).toBe(0);
    });

    test('rounds to units of 16 bytes and puts blocks side by side', () => {
      const { manager } = bench();
      const first = manager.allocBytes(1, true);
      const second = manager.allocBytes(17, true);
      expect(manager.allocated(first)).toBe(16);
      expect(manager.allocated(second)).toBe(32);
      expect(second - first).toBe(16);
    });

    test('gives a small freed block to the next request of its size', () => {
      const { manager } = bench();
      const first = manager.allocBytes(100, true);
      manager.allocBytes(100, true);
      manager.unlock(first, true);
      expect(manager.allocBytes(111, true)).toBe(first);
    });

    test('commits whole pages, as many as the blocks need', () => {
      const { manager, device } = bench(64 * KiB);
      manager.allocBytes(1, true);
      expect(device.liveBytes).toBe(64 * KiB);
      manager.allocBytes(MiB, true);
      expect(device.liveBytes).toBe(MiB + 64 * KiB);
      manager.checkInvariants();
    });

    test('decommits free pages elsewhere before it grows beyond the slack', () => {
      const { manager, device } = bench(4 * KiB);
      const blocks = Array.from({ length: 8 }, () => manager.allocBytes(MiB, true));
      for (const i of [1, 3, 5]) manager.unlock(blocks[i]!, true);
      manager.allocBytes(3 * MiB, true);
      expect(device.peakBytes).toBeLessThanOrEqual(8 * MiB * 1.03 + 64 * KiB);
      expect(device.counts.decommit).toBeGreaterThan(0);
      manager.checkInvariants();
    });

    test('keeps free pages while the slack allows it', () => {
      const { manager, device } = bench(4 * KiB, { slack: 10 });
      const blocks = Array.from({ length: 8 }, () => manager.allocBytes(MiB, true));
      for (const i of [1, 3, 5]) manager.unlock(blocks[i]!, true);
      manager.allocBytes(3 * MiB, true);
      expect(device.counts.decommit).toBe(0);
    });

    test('serves blocks beyond 32 GiB, from several ranges, on a large device', () => {
      const { manager, device } = bench(2 * MiB, {}, 2 ** 43);
      const blocks = [30, 20, 40, 1].map((gibibytes) => manager.allocBytes(gibibytes * GiB, true));
      manager.checkInvariants();
      expect(device.counts.reserve).toBeGreaterThan(1);
      for (const [i, ptr] of blocks.entries()) {
        expect(manager.allocated(ptr)).toBe([30, 20, 40, 1][i]! * GiB);
        manager.unlock(ptr, true);
      }
      manager.signalMemoryCleanup();
      expect(device.liveBytes).toBe(0);
      manager.checkInvariants();
    });

    test('takes pages that are a multiple of the granularity, wherever a range begins', () => {
      const { manager, device } = bench(4 * KiB, { granularityBytes: 2 * MiB });
      device.virtual!.reserve(4 * KiB);
      manager.allocBytes(MiB, true);
      manager.checkInvariants();
      expect(device.liveBytes).toBe(2 * MiB);
    });

    test.each([
      [4 * KiB, 1],
      [0, 1],
    ])('is out of memory with the facts on a full device with pages of %i bytes', (granularityBytes) => {
      const { manager } = bench(granularityBytes, {}, 4 * MiB);
      manager.allocBytes(3 * MiB, true);
      const error = (() => {
        try {
          return manager.allocBytes(2 * MiB, true);
        } catch (caught) {
          return caught;
        }
      })();
      expect(error).toMatchObject({
        code: 'ERR_MEM_OUT_OF_MEMORY',
        facts: { requestedBytes: 2 * MiB, allocatedBytes: 3 * MiB, capacityBytes: 4 * MiB, device: 0 },
      });
      manager.checkInvariants();
      expect(manager.stats(0).ooms).toBe(1);
    });

    test('is out of memory when no addresses are left', () => {
      const { manager, table, device } = bench();
      table.virtual = { ...boundVirtual(device), reserve: () => NULL_PTR };
      expect(codeOf(() => manager.allocBytes(1, true))).toBe('ERR_MEM_OUT_OF_MEMORY');
      manager.checkInvariants();
    });
  });

  describe('unlock', () => {
    test('tells a double free, also of a block that waits in the front', () => {
      const { manager } = bench();
      const small = manager.allocBytes(100, true);
      manager.allocBytes(100, true);
      const large = manager.allocBytes(MiB, true);
      manager.allocBytes(100, true);
      for (const ptr of [small, large]) {
        manager.unlock(ptr, true);
        expect(codeOf(() => manager.unlock(ptr, true))).toBe('ERR_MEM_DOUBLE_FREE');
      }
      expect(codeOf(() => manager.unlock((small + 1) as DevicePtr, true))).toBe('ERR_MEM_UNKNOWN_POINTER');
    });
  });

  describe('signalMemoryCleanup', () => {
    test.each(COARSE_AND_FINE)('gives back every page that holds no live block, with pages of %i bytes', (granularityBytes) => {
      const { manager, device } = bench(granularityBytes);
      const sizes = Array.from({ length: 64 }, (_, i) => ((i * 7919) % 200_000) + 1);
      const blocks = sizes.map((bytes) => manager.allocBytes(bytes, true));
      blocks.forEach((ptr, i) => {
        if (i % 8 !== 0) manager.unlock(ptr, true);
      });
      manager.signalMemoryCleanup();
      manager.checkInvariants();
      if (granularityBytes > 0) expect(device.liveBytes).toBe(pagesUnder(blocks, sizes, granularityBytes) * granularityBytes);
      blocks.forEach((ptr, i) => {
        if (i % 8 === 0) manager.unlock(ptr, true);
      });
      manager.signalMemoryCleanup();
      expect(device.liveBytes).toBe(0);
      expect(manager.stats(0).reservedBytes.current).toBe(0);
    });
  });

  describe('releaseThresholdBytes', () => {
    /** Blocks side by side of which every second one goes, then larger ones. @returns how often memory was given back */
    function churn(granularityBytes: number, releaseThresholdBytes: number): { gave: number; reserved: number } {
      const { manager, device } = bench(granularityBytes, { slack: 0, releaseThresholdBytes });
      const blocks = Array.from({ length: 32 }, () => manager.allocBytes(256 * KiB, true));
      for (const ptr of blocks.filter((_, i) => i % 2 === 0)) manager.unlock(ptr, true);
      for (let i = 0; i < 8; i++) manager.allocBytes(300 * KiB, true);
      manager.checkInvariants();
      const { decommit, nativeFree } = device.counts;
      return { gave: decommit + nativeFree, reserved: manager.stats(0).reservedBytes.peak };
    }

    test.each([4 * KiB, 0])('is held before anything is given back, with pages of %i bytes', (granularityBytes) => {
      expect(churn(granularityBytes, 0).gave).toBeGreaterThan(0);
      const { gave, reserved } = churn(granularityBytes, 16 * MiB);
      expect(gave).toBe(0);
      expect(reserved).toBeLessThanOrEqual(16 * MiB);
    });

    test('is no more than the device has', () => {
      const { manager } = bench(4 * KiB, { releaseThresholdBytes: 2 ** 50 }, 8 * MiB);
      const blocks = Array.from({ length: 8 }, () => manager.allocBytes(MiB, true));
      for (const ptr of blocks.filter((_, i) => i % 2 === 0)) manager.unlock(ptr, true);
      expect(manager.allocBytes(3 * MiB, true)).toBeGreaterThan(0);
    });
  });

  describe('metadataBytes', () => {
    test('counts the tables, which grow with the blocks', () => {
      const { manager } = bench();
      manager.allocBytes(1, true);
      const before = manager.metadataBytes;
      for (let i = 0; i < 10_000; i++) manager.allocBytes(32, true);
      expect(manager.metadataBytes).toBeGreaterThan(before);
      expect(manager.metadataBytes / 10_000).toBeLessThan(200);
    });
  });

  describe('against a model', () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ bytes: sizes(), alignmentBits: fc.constantFrom(0, 0, 0, 0, 5, 12, 21) }) },
      { weight: 5, arbitrary: fc.record({ free: fc.nat() }) },
      { weight: 1, arbitrary: fc.constant('cleanup' as const) },
    );

    test.each(COARSE_AND_FINE)('keeps its invariants after each step, with pages of %i bytes', (granularityBytes) => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 120 }), fc.constantFrom(0, 0.03, 1), (steps, slack) => {
          const { manager, device } = bench(granularityBytes, { slack }, 64 * MiB);
          const live = new Map<DevicePtr, number>();
          for (const action of steps) {
            if (action === 'cleanup') manager.signalMemoryCleanup();
            else if ('free' in action) freeOne(manager, live, action.free);
            else allocOne(manager, live, action.bytes, action.alignmentBits === 0 ? 0 : 2 ** action.alignmentBits);
            manager.checkInvariants();
            expectModel(manager, device, live);
          }
          for (const ptr of live.keys()) manager.unlock(ptr, true);
          manager.shutdown();
          expect(device.liveBytes).toBe(0);
          expect(device.counts.release).toBe(device.counts.reserve);
        }),
        { numRuns: searchRuns(60) },
      );
    });

    test.each(COARSE_AND_FINE)('changes nothing when any one native call fails, with pages of %i bytes', (granularityBytes) => {
      failEachCall(() => bench(granularityBytes, {}, 32 * MiB));
    });

    test.each(COARSE_AND_FINE)('keeps its books when giving memory back fails, with pages of %i bytes', (granularityBytes) => {
      const { manager, device } = bench(granularityBytes);
      const blocks = Array.from({ length: 40 }, (_, i) => manager.allocBytes(100_000 + i * 1000, true));
      blocks.forEach((ptr, i) => {
        if (i % 4 !== 0) manager.unlock(ptr, true);
      });
      device.failWhen(({ name }) => (name === 'decommit' || name === 'nativeFree' ? new Error('driver lost') : false));
      if (granularityBytes > 0 && granularityBytes < MiB) expect(() => manager.signalMemoryCleanup()).toThrow('driver lost');
      manager.checkInvariants();
      device.failWhen(undefined);
      manager.signalMemoryCleanup();
      manager.checkInvariants();
    });
  });
});

function boundVirtual(device: SimulatedDevice) {
  const virtual = device.virtual!;
  return {
    granularityBytes: virtual.granularityBytes,
    release: virtual.release.bind(virtual),
    commit: virtual.commit.bind(virtual),
    decommit: virtual.decommit.bind(virtual),
  };
}

/** How many pages the blocks touch that were kept: those whose number is a multiple of 8. */
function pagesUnder(blocks: readonly DevicePtr[], sizesOf: readonly number[], pageBytes: number): number {
  const pages = new Set<number>();
  blocks.forEach((ptr, i) => {
    if (i % 8 !== 0) return;
    for (let page = Math.floor(ptr / pageBytes); page * pageBytes < ptr + sizesOf[i]!; page++) pages.add(page);
  });
  return pages.size;
}
