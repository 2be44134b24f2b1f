import { describe, expect, test } from 'vitest';
import { LimitingMemoryManager, type LimitingOptions, LruMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { KiB, MiB, NULL_PTR } from '../../src/core/units.js';
import { installed, memoryError, simulatedRuntime, TextSink } from '../core/fakes.js';
import { decorated, type POLICIES } from './decorator-bench.js';

function limiting(options: LimitingOptions, policy: keyof typeof POLICIES = 'caching') {
  return decorated((inner) => new LimitingMemoryManager(inner, options), policy);
}

describe('LimitingMemoryManager', () => {
  describe('constructor', () => {
    test.each([{ limitBytes: -1 }, { limitBytes: 1.5 }, { limitBlocks: Number.NaN }])('refuses %o', (options) => {
      expect(() => limiting(options)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    });
  });

  describe('allocBytes', () => {
    test('serves up to the limit and not a byte more, by the bytes of the blocks', () => {
      const { bench, manager } = limiting({ limitBytes: 4 * KiB });
      const first = manager.allocBytes(1, true);
      expect(manager.usedBytes).toBe(512);
      manager.allocBytes(3 * KiB + 512, true);
      expect(manager.usedBytes).toBe(4 * KiB);
      const natives = bench.nativeAllocs;
      expect(() => manager.allocBytes(1, true)).toThrow(
        memoryError('ERR_MEM_OUT_OF_MEMORY', {
          requestedBytes: 1,
          allocatedBytes: 4 * KiB,
          capacityBytes: 4 * KiB,
          device: 0,
        }) as Error,
      );
      expect(bench.nativeAllocs).toBe(natives);
      manager.unlock(first, true);
      manager.allocBytes(512, true);
      manager.checkInvariants();
    });

    test('gives a block back whose rounding alone exceeds the limit', () => {
      const { manager } = limiting({ limitBytes: 1500 }, 'default');
      expect(() => manager.allocBytes(1400, false)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', { allocatedBytes: 0 }));
      expect([manager.usedBytes, manager.usedBlocks]).toEqual([0, 0]);
      expect(manager.stats(0)?.blocks.current).toBe(0);
      manager.allocBytes(1000, false);
      manager.checkInvariants();
    });

    test('stops at the limit of blocks and says so', () => {
      const { manager } = limiting({ limitBlocks: 2 });
      const ptr = manager.allocBytes(10, true);
      manager.allocBytes(10, false);
      expect(manager.allocBytes(0, true)).toBe(NULL_PTR);
      expect(() => manager.allocBytes(10, true)).toThrow('limited to 2 blocks; 2 blocks live');
      manager.unlock(ptr, true);
      expect(manager.usedBlocks).toBe(1);
    });

    test('refuses bad arguments as such, also at the limit', () => {
      const { manager } = limiting({ limitBytes: 0 });
      expect(() => manager.allocBytes(-1, true)).toThrow(memoryError('ERR_MEM_INVALID_SIZE'));
      expect(() => manager.allocBytes(1, true, 3)).toThrow(memoryError('ERR_MEM_INVALID_ALIGNMENT'));
      expect(() => manager.allocBytes(1, true)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
    });

    test('counts all devices together', () => {
      const { bench, manager } = limiting({ limitBytes: MiB });
      manager.allocBytes(600 * KiB, true);
      bench.device.activate(1);
      expect(() => manager.allocBytes(600 * KiB, true)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', { device: 1 }));
    });
  });

  describe('unlock', () => {
    test('frees quota when both locks are clear, and none when the inner manager throws', () => {
      const { bench, manager } = limiting({ limitBlocks: 1 }, 'debug');
      const ptr = manager.allocBytes(100, false);
      manager.userLock(ptr);
      manager.unlock(ptr, false);
      expect(manager.usedBlocks).toBe(1);
      const { nativeFree } = bench.table;
      bench.table.nativeFree = () => {
        throw new Error('the driver refuses');
      };
      expect(() => manager.userUnlock(ptr)).toThrow('the driver refuses');
      expect([manager.usedBlocks, manager.isUserLocked(ptr)]).toEqual([1, true]);
      manager.checkInvariants();
      bench.table.nativeFree = nativeFree;
      manager.userUnlock(ptr);
      expect(manager.usedBlocks).toBe(0);
    });
  });

  test('notices before it refuses what a reference count freed past it', () => {
    const { manager } = limiting({ limitBlocks: 1 }, 'lru');
    const lru = manager.inner as LruMemoryManager;
    const ptr = manager.allocBytes(100, true);
    lru.incrementRef(ptr);
    manager.unlock(ptr, true);
    expect(manager.usedBlocks).toBe(1);
    lru.decrementRef(ptr);
    expect(manager.usedBlocks).toBe(1);
    expect(manager.allocBytes(200, true)).not.toBe(NULL_PTR);
    expect(manager.usedBlocks).toBe(1);
    manager.checkInvariants();
  });

  test('lets an oom listener of the host make room', () => {
    const { runtime } = simulatedRuntime();
    const table = new MemoryManagerDeviceInterface();
    installed(new LimitingMemoryManager(new LruMemoryManager(1, table), { limitBytes: KiB }), runtime);
    const old = runtime.slot.alloc(KiB, true);
    runtime.events.on('oom', () => runtime.slot.unlock(old, true));
    expect(runtime.slot.allocated(runtime.slot.alloc(KiB, true))).toBe(KiB);
    runtime.close();
  });

  test('prints what is used', () => {
    const { manager } = limiting({ limitBytes: MiB, limitBlocks: 7 });
    manager.allocBytes(KiB, true);
    const sink = new TextSink();
    manager.printInfo('now', 0, sink);
    expect(sink.lines.slice(-2)).toEqual(['Type: LimitingMemoryManager', 'Used: 1.00 KiB of 1.00 MiB, 1 of 7 blocks']);
  });
});
