import { describe, expect, test } from 'vitest';
import { DefaultMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import { installed, memoryError, PlainManager, simulatedRuntime, TextSink } from './fakes.js';

const keeping = () => new DefaultMemoryManager(1, new MemoryManagerDeviceInterface());

/** A slot in which five managers have a live block each: four drain, the last one is active. */
function manyDraining() {
  const { device, runtime } = simulatedRuntime();
  const holders = Array.from({ length: 5 }, (_, i) => {
    const manager = installed(keeping(), runtime);
    return { manager, ptr: runtime.slot.alloc(1000 * (i + 1), false), bytes: 1000 * (i + 1) };
  });
  return { device, slot: runtime.slot, holders };
}

describe('ManagerSlot', () => {
  describe('unlock', () => {
    test('reaches the manager that made the block, in any order', () => {
      const { device, slot, holders } = manyDraining();
      for (const index of [2, 0, 3, 1]) {
        const { manager, ptr } = holders[index]!;
        slot.unlock(ptr, false);
        expect(manager.lifecycle.state).toBe('stopped');
      }
      expect(slot.draining).toEqual([]);
      slot.unlock(holders[4]!.ptr, false);
      expect(holders[4]!.manager.lifecycle.state).toBe('active');
      slot.signalMemoryCleanup();
      expect(device.liveBytes).toBe(0);
      expect(slot.liveBlocks).toBe(0);
    });

    test('throws for an unknown pointer, with one manager and with many', () => {
      const { slot, holders } = manyDraining();
      const pointer = (holders[0]!.ptr + 16) as DevicePtr;
      const unknown = memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer });
      for (const call of [() => slot.unlock(pointer, true), () => slot.unlock(pointer, false), () => slot.userUnlock(pointer)]) {
        expect(call).toThrow(unknown);
      }
      expect(slot.liveBlocks).toBe(5);
      expect(holders.map(({ ptr }) => slot.allocated(ptr) > 0)).toEqual(Array(5).fill(true));
    });

    test('tells a double free from an unknown pointer while other managers drain', () => {
      const { slot, holders } = manyDraining();
      const ptr = slot.alloc(7777, true);
      slot.unlock(ptr, true);
      for (const user of [true, false]) {
        expect(() => slot.unlock(ptr, user)).toThrow(memoryError('ERR_MEM_DOUBLE_FREE', { pointer: ptr }));
      }
      expect(slot.liveBlocks).toBe(5);
      // Of a manager that has stopped nothing is known any more.
      slot.unlock(holders[0]!.ptr, false);
      expect(() => slot.unlock(holders[0]!.ptr, false)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
      expect(slot.liveBlocks).toBe(4);
    });

    test('does nothing for null, also before the first allocation', () => {
      const { runtime } = simulatedRuntime();
      runtime.slot.unlock(NULL_PTR, true);
      runtime.slot.userLock(NULL_PTR);
      runtime.slot.userUnlock(NULL_PTR);
      expect(runtime.slot.active).toBeNull();
    });

    test('throws for an unknown pointer before the first allocation', () => {
      const { runtime } = simulatedRuntime();
      const pointer = 4096 as DevicePtr;
      const unknown = memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer });
      expect(() => runtime.slot.unlock(pointer, true)).toThrow(unknown);
      expect(() => runtime.slot.userLock(pointer)).toThrow(unknown);
      expect(runtime.slot.allocated(pointer)).toBe(0);
    });

    test('counts a block once however its locks are cleared', () => {
      const { slot, holders } = manyDraining();
      const { ptr, manager } = holders[1]!;
      slot.userLock(ptr);
      slot.unlock(ptr, false);
      expect([slot.liveBlocks, slot.isUserLocked(ptr), manager.lifecycle.state]).toEqual([5, true, 'draining']);
      slot.userUnlock(ptr);
      expect([slot.liveBlocks, slot.isUserLocked(ptr), manager.lifecycle.state]).toEqual([4, false, 'stopped']);
    });
  });

  describe('userLock', () => {
    test('throws as for an unknown pointer when the block is free, whoever drains', () => {
      const { slot } = manyDraining();
      const ptr = slot.alloc(7777, true);
      slot.unlock(ptr, true);
      expect(() => slot.userLock(ptr)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr }));
    });

    test('reaches a draining manager', () => {
      const { slot, holders } = manyDraining();
      for (const { ptr } of holders) slot.userLock(ptr);
      expect(holders.map(({ ptr, manager }) => manager.isUserLocked(ptr))).toEqual(Array(5).fill(true));
    });
  });

  describe('allocated', () => {
    test('asks the manager that made the block', () => {
      const { slot, holders } = manyDraining();
      expect(holders.map(({ ptr }) => slot.allocated(ptr))).toEqual([1024, 2048, 3072, 4096, 5120]);
      expect(slot.allocated(NULL_PTR)).toBe(0);
      expect(slot.allocated(12_345 as DevicePtr)).toBe(0);
    });
  });

  describe('signalMemoryCleanup', () => {
    test('reaches every manager', () => {
      const { device, slot, holders } = manyDraining();
      const extra = slot.alloc(1, true);
      slot.unlock(extra, true);
      slot.signalMemoryCleanup();
      expect(device.liveBytes).toBe(1024 + 2048 + 3072 + 4096 + 5120);
      for (const { ptr } of holders) slot.unlock(ptr, false);
    });
  });

  describe('usage', () => {
    test('adds up to the whole slot, the active manager first', () => {
      const { slot, holders } = manyDraining();
      const usage = slot.usage();
      expect(usage[0]).toEqual({ manager: holders[4]!.manager, liveBlocks: 1, reservedBytes: 5120 });
      expect(usage.map((use) => use.manager).slice(1)).toEqual(slot.draining);
      expect(slot.draining).toEqual(holders.slice(0, 4).map(({ manager }) => manager));
      expect(usage.reduce((sum, use) => sum + use.reservedBytes, 0)).toBe(slot.reservedBytes);
      expect(slot.reservedBytes).toBe(15_360);
    });
  });

  describe('peakReservedBytes', () => {
    test('counts all managers together and starts again', () => {
      const { slot, holders } = manyDraining();
      for (const { ptr } of holders) slot.unlock(ptr, false);
      expect(slot.peakReservedBytes).toBe(15_360);
      slot.signalMemoryCleanup();
      slot.resetPeak();
      expect(slot.peakReservedBytes).toBe(0);
    });
  });

  describe('printInfo', () => {
    test('writes the report of every manager', () => {
      const { slot } = manyDraining();
      const sink = new TextSink();
      slot.printInfo('now', 0, sink);
      expect(sink.lines.filter((line) => line === 'now')).toHaveLength(5);
    });
  });

  describe('with a manager that overrides the abstract methods alone', () => {
    test('allocates, locks, frees and answers what it does not define', () => {
      const { device, runtime } = simulatedRuntime();
      const { slot } = runtime;
      const manager = installed(new PlainManager(), runtime);
      const ptr = slot.alloc(100, false, 4096);
      expect(ptr % 4096).toBe(0);
      slot.userLock(ptr);
      slot.unlock(ptr, false);
      expect(slot.allocated(ptr)).toBe(100);
      slot.userUnlock(ptr);
      expect([device.liveBytes, slot.liveBlocks, manager.liveBlocks]).toEqual([0, 0, 0]);
      expect([slot.getMemoryPressure(), slot.jitTreeExceedsMemoryPressure(1e9), slot.getMemStepSize()]).toEqual([0, false, 1]);
      slot.addMemoryManagement(1);
      slot.removeMemoryManagement(1);
      slot.signalMemoryCleanup();
      expect(manager.stats()).toBeUndefined();
      expect(() => slot.setMemStepSize(2)).toThrow(memoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { platform: 'PlainManager' }));
      const other = slot.alloc(1, true);
      expect(() => slot.recordStream(other, 1)).toThrow(memoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'stream order' }));
    });
  });
});
