import { afterEach, describe, expect, test, vi } from 'vitest';
import { CachingMemoryManager, type CachingMemoryManagerOptions } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { DevicePtr } from '../../src/core/units.js';
import { KiB, MiB } from '../../src/core/units.js';
import { installed, memoryError, simulatedRuntime } from '../core/fakes.js';

const FIRST = 2 ** 32;

function caching(options: CachingMemoryManagerOptions = {}) {
  const { device, runtime } = simulatedRuntime();
  const manager = installed(new CachingMemoryManager(1, new MemoryManagerDeviceInterface(), options), runtime);
  const alloc = (bytes: number): DevicePtr => manager.allocBytes(bytes, true);
  const free = (...ptrs: DevicePtr[]) => {
    for (const ptr of ptrs) manager.unlock(ptr, true);
    manager.checkInvariants();
  };
  const offsets = (...ptrs: DevicePtr[]) => ptrs.map((ptr) => ptr - FIRST);
  return { device, manager, alloc, free, offsets };
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('CachingMemoryManager', () => {
  describe('allocBytes', () => {
    test('packs small blocks in segments of 2 MiB, in steps of 512 bytes', () => {
      const { device, alloc, offsets } = caching();
      const ptrs = [1, 512, 513, MiB].map(alloc);
      expect(offsets(...ptrs)).toEqual([0, 512, 1024, 2048]);
      expect(device.liveBytes).toBe(2 * MiB);
      expect(offsets(alloc(MiB))).toEqual([2 * MiB]);
    });

    test('packs large blocks below 10 MiB in segments of 20 MiB, and gives larger ones their own', () => {
      const { device, alloc, offsets } = caching();
      expect(offsets(alloc(MiB + 1), alloc(10 * MiB - 1))).toEqual([0, MiB + 512]);
      expect(device.liveBytes).toBe(20 * MiB);
      expect(offsets(alloc(10 * MiB), alloc(11 * MiB))).toEqual([20 * MiB, 30 * MiB]);
      expect(device.liveBytes).toBe(20 * MiB + 10 * MiB + 12 * MiB);
    });

    test('takes the smallest free block that fits, at the lowest address', () => {
      const { alloc, free, offsets } = caching();
      const blocks = [4096, 512, 2048, 512, 1024, 512, 1024, 512].map(alloc);
      free(blocks[0]!, blocks[2]!, blocks[4]!, blocks[6]!);
      expect(offsets(alloc(600))).toEqual(offsets(blocks[4]!));
      expect(offsets(alloc(600))).toEqual(offsets(blocks[6]!));
      expect(offsets(alloc(600))).toEqual(offsets(blocks[2]!));
      expect(offsets(alloc(600))).toEqual([offsets(blocks[2]!)[0]! + 1024]);
    });

    test('does not split a large block when the rest would be below 1 MiB', () => {
      const { manager, alloc, free } = caching();
      const blocks = [3 * MiB, 2 * MiB].map(alloc);
      free(blocks[0]!);
      const ptr = alloc(2 * MiB + 512);
      expect(ptr).toBe(blocks[0]);
      expect(manager.allocated(ptr)).toBe(3 * MiB);
      free(ptr);
      expect(manager.allocated(alloc(2 * MiB))).toBe(2 * MiB);
    });
  });

  describe('unlock', () => {
    test('joins a block with both neighbours', () => {
      const { manager, alloc, free } = caching();
      const blocks = Array.from({ length: 4 }, () => alloc(512 * KiB));
      free(blocks[0]!, blocks[2]!, blocks[1]!);
      const ptr = alloc(1024 * KiB);
      expect(ptr).toBe(blocks[0]);
      free(ptr, blocks[3]!);
      manager.signalMemoryCleanup();
      expect(manager.stats(0).reservedBytes.current).toBe(0);
    });
  });

  describe('setRecyclingSizeLimit', () => {
    test('keeps free large blocks of that size and above from being used again', () => {
      const { device, manager, alloc, free } = caching({ recyclingSizeLimitBytes: 12 * MiB });
      const [below, at] = [alloc(10 * MiB), alloc(12 * MiB)];
      free(below, at);
      expect(alloc(10 * MiB)).toBe(below);
      expect(alloc(12 * MiB)).not.toBe(at);
      expect(device.counts.nativeAlloc).toBe(3);
      manager.setRecyclingSizeLimit(Number.POSITIVE_INFINITY);
      expect(alloc(12 * MiB)).toBe(at);
    });

    test('does not touch small blocks', () => {
      const { alloc, free } = caching({ recyclingSizeLimitBytes: 0 });
      const ptr = alloc(1000);
      free(ptr);
      expect(alloc(1000)).toBe(ptr);
      const large = alloc(2 * MiB);
      free(large);
      expect(alloc(2 * MiB)).not.toBe(large);
    });
  });

  describe('setSplitSizeLimit', () => {
    test('keeps blocks of that size and above whole', () => {
      const { manager, alloc, free } = caching({ splitSizeLimitBytes: 20 * MiB });
      expect(manager.allocated(alloc(2 * MiB))).toBe(20 * MiB);
      expect(manager.allocated(alloc(1000))).toBe(1024);
      const large = alloc(18 * MiB);
      free(large);
      expect(manager.allocated(alloc(16 * MiB))).toBe(16 * MiB);
      manager.setSplitSizeLimit(Number.POSITIVE_INFINITY);
      expect(manager.allocated(alloc(2 * MiB))).toBe(2 * MiB);
    });
  });

  describe.each(['setRecyclingSizeLimit', 'setSplitSizeLimit'] as const)('%s', (setter) => {
    test.each([-1, Number.NaN, Number.NEGATIVE_INFINITY])('refuses %d', (bytes) => {
      const { manager } = caching();
      expect(() => manager[setter](bytes)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { value: String(bytes) }));
    });
  });

  describe.each([
    ['FL_MEM_RECYCLING_SIZE_MB', 'recyclingSizeLimitBytes'],
    ['FL_MEM_SPLIT_SIZE_MB', 'splitSizeLimitBytes'],
  ] as const)('%s', (variable, option) => {
    test.each(['', ' ', 'many', '-1', '12MB', 'NaN', '0x'])('is refused with its value when it is "%s"', (text) => {
      vi.stubEnv(variable, text);
      const error = memoryError('ERR_MEM_INVALID_ARGUMENT', { name: variable, value: JSON.stringify(text) });
      expect(() => caching()).toThrow(error);
    });

    test('is a limit in MiB, which may have decimals', () => {
      vi.stubEnv(variable, '1.5');
      const { manager, alloc, free } = caching();
      if (option === 'recyclingSizeLimitBytes') {
        const ptr = alloc(2 * MiB);
        free(ptr);
        expect(alloc(2 * MiB)).not.toBe(ptr);
      } else {
        expect(manager.allocated(alloc(2 * MiB))).toBe(20 * MiB);
        expect(manager.allocated(alloc(10))).toBe(2 * MiB);
      }
    });

    test('gives way to the option', () => {
      vi.stubEnv(variable, 'many');
      const { manager, alloc, free } = caching({ [option]: Number.POSITIVE_INFINITY });
      const ptr = alloc(2 * MiB);
      expect(manager.allocated(ptr)).toBe(2 * MiB);
      free(ptr);
      expect(alloc(2 * MiB)).toBe(ptr);
    });
  });
});
