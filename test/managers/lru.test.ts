import { describe, expect, test } from 'vitest';
import { LruMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { type DevicePtr, KiB, MiB, NULL_PTR } from '../../src/core/units.js';
import { installed, memoryError, simulatedRuntime, TextSink } from '../core/fakes.js';
import { failFrees, keep, lru } from './lru-bench.js';

describe('LruMemoryManager', () => {
  describe('constructor', () => {
    test.each([{ capacityLayouts: -1 }, { capacityLayouts: 0.5 }, { capacityBytes: Number.NaN }])('refuses %o', (options) => {
      expect(() => lru(options)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    });

    test('keeps 100 layouts of any size by default', () => {
      const { manager } = lru();
      expect([manager.capacityLayouts, manager.capacityBytes]).toEqual([100, Number.POSITIVE_INFINITY]);
    });
  });

  describe('the cache', () => {
    test('serves the same layout again, last in first out', () => {
      const { bench, manager } = lru();
      const [first, second] = keep(manager, 1000, 1000);
      expect(manager.allocBytes(1000, true)).toBe(second);
      expect(manager.allocBytes(1000, true)).toBe(first);
      expect(bench.nativeAllocs).toBe(2);
    });

    test('tells sizes and alignments apart, but not alignments of 0 and 1', () => {
      const { bench, manager } = lru();
      const ptrs = [0, 64, 4096].map((alignment) => manager.allocBytes(1000, true, alignment));
      for (const ptr of ptrs) manager.unlock(ptr, true);
      expect(manager.keptLayouts(0)).toBe(3);
      expect(manager.allocBytes(1000, true, 4096)).toBe(ptrs[2]);
      expect(manager.allocBytes(1000, true, 1)).toBe(ptrs[0]);
      expect(manager.allocBytes(1000, true, 64)).toBe(ptrs[1]);
      manager.allocBytes(999, true);
      expect(bench.nativeAllocs).toBe(4);
    });

    test('gives the least recently used layout back, whole, when one more comes', () => {
      const { bench, manager } = lru({ capacityLayouts: 2 });
      const [a1, a2] = keep(manager, 100, 100);
      const [b] = keep(manager, 200);
      // Using 100 makes 200 the least recently used one.
      manager.unlock(manager.allocBytes(100, true), true);
      expect(bench.held).toBe(3);
      keep(manager, 300);
      expect(bench.holds(b as DevicePtr, 1)).toBe(false);
      expect([a1, a2].every((ptr) => bench.holds(ptr as DevicePtr, 100))).toBe(true);
      keep(manager, 400);
      expect([a1, a2].some((ptr) => bench.holds(ptr as DevicePtr, 1))).toBe(false);
      expect(bench.held).toBe(2);
    });

    test('counts taking a buffer as a use of its layout', () => {
      const { bench, manager } = lru({ capacityLayouts: 2 });
      const [a] = keep(manager, 100, 100);
      const [b] = keep(manager, 200);
      manager.allocBytes(100, true);
      keep(manager, 300);
      expect([a, b].map((ptr) => bench.holds(ptr as DevicePtr, 1))).toEqual([true, false]);
    });

    test('evicts without losing what is put: live and kept memory is all that the device has given', () => {
      const { bench, manager } = lru({ capacityLayouts: 1 });
      for (let i = 1; i <= 50; i++) keep(manager, i * 10);
      expect(bench.held).toBe(1);
      manager.clear();
      expect(bench.held).toBe(0);
    });

    test('stays within its bytes and spares the layout that is put', () => {
      const { bench, manager } = lru({ capacityBytes: 10 * KiB });
      const [old] = keep(manager, 4 * KiB);
      keep(manager, 3 * KiB, 3 * KiB, 3 * KiB);
      expect(bench.holds(old as DevicePtr, 1)).toBe(false);
      expect(bench.held).toBe(3);
      keep(manager, 3 * KiB, 3 * KiB, 3 * KiB, 3 * KiB);
      expect(bench.held).toBe(3);
      expect(manager.stats(0).cachedBytes.current).toBe(9 * KiB);
      const [large] = keep(manager, MiB);
      expect(bench.holds(large as DevicePtr, 1)).toBe(false);
      expect(bench.held).toBe(3);
    });

    test('has a cache for each device', () => {
      const { manager, device } = lru({ capacityLayouts: 1 });
      keep(manager, 100);
      device.activate(1);
      keep(manager, 200);
      expect([0, 1, 2].map((id) => manager.keptLayouts(id))).toEqual([1, 1, 0]);
    });

    test('forgets sizes that do not come again', () => {
      const { manager } = lru({ capacityLayouts: 3 });
      for (let bytes = 1; bytes <= 2000; bytes++) {
        const ptr = manager.allocBytes(bytes, true);
        manager.unlock(ptr, true);
        if (bytes % 100 === 0) manager.checkInvariants();
      }
      expect(manager.keptLayouts(0)).toBe(3);
    });

    test('refuses an alignment that the device ignores, and keeps nothing of it', () => {
      const { bench, manager } = lru();
      const { nativeAlloc } = bench.table;
      bench.table.nativeAlloc = (bytes) => nativeAlloc(bytes + 8, 4096);
      const shifted = manager.allocBytes(100, true);
      bench.table.nativeAlloc = (bytes) => nativeAlloc(bytes, 1);
      expect(() => manager.allocBytes(100, true, 4096)).toThrow(memoryError('ERR_MEM_INVALID_ALIGNMENT'));
      manager.checkInvariants();
      expect([bench.held, manager.allocated(shifted)]).toEqual([1, 100]);
    });

    test('gives everything back before an allocation fails for want of memory', () => {
      const { manager } = lru({}, MiB);
      keep(manager, 300 * KiB, 400 * KiB);
      const ptr = manager.allocBytes(900 * KiB, true);
      expect(manager.allocated(ptr)).toBe(900 * KiB);
      expect(manager.stats(0).retries).toBe(1);
    });

    test('keeps a block live when the eviction that its free needs fails', () => {
      const { bench, manager } = lru({ capacityLayouts: 1 });
      const [kept] = keep(manager, 100);
      const ptr = manager.allocBytes(200, true);
      const mend = failFrees(bench, (freed) => freed === kept);
      expect(() => manager.unlock(ptr, true)).toThrow('the driver refuses');
      expect(manager.allocated(ptr)).toBe(200);
      manager.checkInvariants();
      mend();
      manager.unlock(ptr, true);
      expect([manager.allocated(ptr), bench.held]).toEqual([0, 1]);
    });

    test('gives back all but the buffer that the device does not take, and that one when it does', () => {
      const { bench, manager } = lru();
      const [first, second, third] = keep(manager, 100, 100, 100);
      const mend = failFrees(bench, (freed) => freed === second);
      expect(() => manager.clear()).toThrow('the driver refuses');
      manager.checkInvariants();
      expect([first, second, third].map((ptr) => bench.holds(ptr as DevicePtr, 1))).toEqual([false, true, false]);
      mend();
      manager.clear();
      expect(bench.held).toBe(0);
    });
  });

  describe('setCapacityLayouts', () => {
    test('gives back the excess only, least recently used first', () => {
      const { bench, manager } = lru();
      const [a, b, c] = keep(manager, 100, 200, 300);
      manager.setCapacityLayouts(2);
      manager.checkInvariants();
      expect([a, b, c].map((ptr) => bench.holds(ptr as DevicePtr, 1))).toEqual([false, true, true]);
      manager.setCapacityLayouts(0);
      expect(bench.held).toBe(0);
    });
  });

  describe('setCapacityBytes', () => {
    test('gives back the excess only, and keeps its capacity when that fails', () => {
      const { bench, manager } = lru();
      const [a] = keep(manager, 100, 200, 300);
      const mend = failFrees(bench, (freed) => freed === a);
      expect(() => manager.setCapacityBytes(500)).toThrow('the driver refuses');
      expect(manager.capacityBytes).toBe(Number.POSITIVE_INFINITY);
      mend();
      manager.setCapacityBytes(500);
      manager.checkInvariants();
      expect(bench.held).toBe(2);
    });
  });

  describe('incrementRef and decrementRef', () => {
    test('hold a block beside both locks', () => {
      const { manager } = lru();
      const ptr = manager.allocBytes(100, true);
      manager.incrementRef(ptr);
      manager.incrementRef(ptr);
      expect(manager.references(ptr)).toBe(2);
      manager.userUnlock(ptr);
      expect(manager.allocated(ptr)).toBe(100);
      expect(manager.decrementRef(ptr)).toBe(false);
      manager.checkInvariants();
      expect(manager.decrementRef(ptr)).toBe(true);
      expect([manager.allocated(ptr), manager.references(ptr), manager.keptLayouts(0)]).toEqual([0, 0, 1]);
      manager.checkInvariants();
    });

    test('do not free a block that has a lock', () => {
      const { manager } = lru();
      const ptr = manager.allocBytes(100, false);
      manager.incrementRef(ptr);
      expect(manager.decrementRef(ptr)).toBe(false);
      expect(manager.allocated(ptr)).toBe(100);
      manager.unlock(ptr, false);
      expect(manager.allocated(ptr)).toBe(0);
    });

    test('refuse what is not held: below zero, freed, unknown; null is ignored', () => {
      const { manager } = lru();
      const ptr = manager.allocBytes(100, true);
      expect(() => manager.decrementRef(ptr)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'reference count' }));
      manager.unlock(ptr, true);
      expect(() => manager.decrementRef(ptr)).toThrow(memoryError('ERR_MEM_DOUBLE_FREE', { pointer: ptr }));
      expect(() => manager.incrementRef(ptr)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr }));
      expect(() => manager.decrementRef((ptr + 1) as DevicePtr)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
      manager.incrementRef(NULL_PTR);
      expect(manager.decrementRef(NULL_PTR)).toBe(false);
    });

    test('keep the reference when the native free fails', () => {
      const { bench, manager } = lru({ capacityLayouts: 0 });
      const ptr = manager.allocate({ size: 100, align: 1 });
      const mend = failFrees(bench, () => true);
      expect(() => manager.decrementRef(ptr)).toThrow('the driver refuses');
      expect([manager.references(ptr), manager.allocated(ptr)]).toEqual([1, 100]);
      manager.checkInvariants();
      mend();
      expect(manager.decrementRef(ptr)).toBe(true);
      expect(bench.held).toBe(0);
    });

    test('count many blocks', () => {
      const { manager } = lru();
      const ptrs = Array.from({ length: 500 }, (_, i) => manager.allocate({ size: 1 + i, align: 1 }));
      for (const ptr of ptrs) manager.incrementRef(ptr);
      expect(ptrs.every((ptr) => manager.references(ptr) === 2)).toBe(true);
      manager.checkInvariants();
    });
  });

  describe('allocate and deallocate', () => {
    test('work as in the seed: one reference, then the cache', () => {
      const { bench, manager } = lru();
      const layout = { size: 4096, align: 256 };
      const ptr = manager.allocate(layout, 0);
      expect([ptr % 256, manager.references(ptr), manager.isUserLocked(ptr)]).toEqual([0, 1, false]);
      expect(manager.deallocate(ptr, layout, 0)).toBe(true);
      expect(manager.allocate(layout, 0)).toBe(ptr);
      expect(bench.nativeAllocs).toBe(1);
      expect(manager.allocate({ size: 0, align: 8 }, 0)).toBe(NULL_PTR);
      expect(manager.deallocate(NULL_PTR, layout, 0)).toBe(false);
    });

    test.each([
      ['size', { size: 4095, align: 256 }, 0],
      ['align', { size: 4096, align: 128 }, 0],
      ['device', { size: 4096, align: 256 }, 1],
    ])('refuse a wrong %s and change nothing', (name, layout, device) => {
      const { manager } = lru();
      const ptr = manager.allocate({ size: 4096, align: 256 });
      expect(() => manager.deallocate(ptr, layout, device)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name }));
      expect(manager.references(ptr)).toBe(1);
    });

    test('refuse a second free, a device that is not active, and an alignment that is none', () => {
      const { manager } = lru();
      const layout = { size: 64, align: 8 };
      const ptr = manager.allocate(layout);
      manager.deallocate(ptr, layout, 0);
      expect(() => manager.deallocate(ptr, layout, 0)).toThrow(memoryError('ERR_MEM_DOUBLE_FREE', { pointer: ptr }));
      expect(() => manager.allocate(layout, 1)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'device' }));
      expect(() => manager.allocate({ size: 64, align: 12 })).toThrow(memoryError('ERR_MEM_INVALID_ALIGNMENT'));
      expect(() => manager.allocate({ size: -1, align: 1 })).toThrow(memoryError('ERR_MEM_INVALID_SIZE'));
    });
  });

  describe('in a slot', () => {
    test('drains with references held beside the user lock', () => {
      const { runtime, device } = simulatedRuntime();
      const manager = installed(new LruMemoryManager(1, new MemoryManagerDeviceInterface()), runtime);
      const ptr = runtime.slot.alloc(100, true);
      manager.incrementRef(ptr);
      manager.decrementRef(ptr);
      runtime.slot.unlock(ptr, true);
      runtime.close();
      expect(device.liveSegments).toBe(0);
    });
  });

  describe('printInfo', () => {
    test('tells what is kept', () => {
      const { manager } = lru({ capacityBytes: MiB });
      keep(manager, KiB, 2 * KiB);
      const sink = new TextSink();
      manager.printInfo('now', 0, sink);
      expect(sink.lines.at(-1)).toBe('Kept: 2 of 100 layouts, 3.00 KiB of 1.00 MiB');
    });
  });
});
