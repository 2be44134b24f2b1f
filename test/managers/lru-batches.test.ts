import { describe, expect, test } from 'vitest';
import { type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import { memoryError } from '../core/fakes.js';
import { failFrees, keep, lru } from './lru-bench.js';

describe('LruMemoryManager', () => {
  describe('allocateBatch', () => {
    test('gives a block with one reference for each size', () => {
      const { manager } = lru();
      const ptrs = manager.allocateBatch([100, 0, 200, 100], { alignment: 512 });
      expect(ptrs.map((ptr) => manager.allocated(ptr))).toEqual([100, 0, 200, 100]);
      expect(ptrs.map((ptr) => manager.references(ptr))).toEqual([1, 0, 1, 1]);
      expect(ptrs.every((ptr) => ptr % 512 === 0)).toBe(true);
      manager.checkInvariants();
      for (const ptr of ptrs) manager.decrementRef(ptr);
      expect(manager.stats(0).blocks).toEqual({ current: 0, peak: 3, total: 3 });
    });

    test('changes nothing when a size or the alignment is none', () => {
      const { bench, manager } = lru();
      expect(() => manager.allocateBatch([100, -1])).toThrow(memoryError('ERR_MEM_INVALID_SIZE'));
      expect(() => manager.allocateBatch([100], { alignment: 3 })).toThrow(memoryError('ERR_MEM_INVALID_ALIGNMENT'));
      expect(bench.nativeAllocs).toBe(0);
    });

    test.each([1, 2, 3, 4])('takes everything back when native allocation %i fails', (nth) => {
      const { bench, manager, device } = lru();
      const [kept] = keep(manager, 300);
      const before = bench.state();
      let calls = 0;
      device.failWhen((call) => call.name === 'nativeAlloc' && ++calls >= nth);
      expect(() => manager.allocateBatch([100, 300, 200, 100, 400])).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      device.failWhen(undefined);
      manager.checkInvariants();
      expect(bench.state()).toEqual(before);
      // The buffer of 300 bytes is kept if it was taken before the failure, and was given back by the last try otherwise.
      expect(bench.held).toBe(nth === 1 ? 0 : 1);
      expect(bench.holds(kept as DevicePtr, 1)).toBe(nth > 1);
    });

    test('keeps what it cannot give back after a failure', () => {
      const { bench, manager, device } = lru();
      device.failWhen((call) => call.name === 'nativeAlloc' && call.bytes === 200);
      const mend = failFrees(bench, () => true);
      expect(() => manager.allocateBatch([100, 200])).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      mend();
      manager.checkInvariants();
      expect(bench.held).toBe(1);
      manager.clear();
      expect(bench.held).toBe(0);
    });
  });

  describe('insertPtr', () => {
    const layout = { size: 1000, align: 64 };

    test('takes memory over with one reference, keeps it by its layout and gives it back natively', () => {
      const { bench, manager } = lru();
      const ptr = bench.table.nativeAlloc(1000, 64);
      manager.insertPtr(ptr, layout);
      manager.checkInvariants();
      expect([manager.allocated(ptr), manager.references(ptr)]).toEqual([1000, 1]);
      expect(manager.stats(0)).toMatchObject({ nativeAllocs: 1, hits: 0, reservedBytes: { current: 1000 } });
      expect(manager.deallocate(ptr, layout, 0)).toBe(true);
      expect(manager.allocBytes(1000, true, 64)).toBe(ptr);
      manager.unlock(ptr, true);
      manager.clear();
      expect(bench.held).toBe(0);
    });

    test('gives foreign memory to its own release function and never keeps it', () => {
      const { bench, manager } = lru();
      const released: DevicePtr[] = [];
      const foreign = 0x7000_0000 as DevicePtr;
      manager.insertPtr(foreign, layout, { device: 1, release: (ptr) => released.push(ptr) });
      manager.incrementRef(foreign);
      expect(manager.decrementRef(foreign)).toBe(false);
      expect(manager.decrementRef(foreign)).toBe(true);
      expect(released).toEqual([foreign]);
      manager.checkInvariants();
      expect(manager.stats(1)).toMatchObject({ reservedBytes: { current: 0 }, nativeAllocs: 1, nativeFrees: 1 });
      expect(() => manager.decrementRef(foreign)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
      manager.insertPtr(foreign, layout, { release: (ptr) => released.push(ptr) });
      expect(bench.nativeAllocs).toBe(0);
    });

    test('keeps foreign memory live when its release fails', () => {
      const { manager } = lru();
      const foreign = 0x7000_0000 as DevicePtr;
      let fails = true;
      const release = () => {
        if (fails) throw new Error('not now');
      };
      manager.insertPtr(foreign, layout, { release });
      expect(() => manager.decrementRef(foreign)).toThrow('not now');
      expect(manager.references(foreign)).toBe(1);
      manager.checkInvariants();
      fails = false;
      expect(manager.decrementRef(foreign)).toBe(true);
    });

    test('refuses null, no bytes, a wrong alignment, a device that is not managed, and what is here already', () => {
      const { manager } = lru();
      const live = manager.allocate(layout);
      const freed = manager.allocate(layout);
      manager.decrementRef(freed);
      const stats = manager.stats(0);
      const far = 0x7000_0000 as DevicePtr;
      expect(() => manager.insertPtr(NULL_PTR, layout)).toThrow(memoryError('ERR_MEM_INVALID_POINTER'));
      expect(() => manager.insertPtr(far, { size: 0, align: 1 })).toThrow(memoryError('ERR_MEM_INVALID_SIZE'));
      expect(() => manager.insertPtr((far + 8) as DevicePtr, layout)).toThrow(memoryError('ERR_MEM_INVALID_ALIGNMENT'));
      expect(() => manager.insertPtr(far, layout, { device: 9 })).toThrow(memoryError('ERR_MEM_INVALID_DEVICE'));
      for (const ptr of [live, freed]) {
        expect(() => manager.insertPtr(ptr, layout)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'pointer' }));
      }
      expect(manager.stats(0)).toEqual(stats);
      manager.checkInvariants();
    });

    test('gives what was taken over back even after a shutdown', () => {
      const { bench, manager } = lru();
      const ptr = bench.table.nativeAlloc(1000, 64);
      manager.insertPtr(ptr, layout);
      manager.shutdown();
      expect(manager.decrementRef(ptr)).toBe(true);
      expect(bench.held).toBe(0);
    });
  });
});
