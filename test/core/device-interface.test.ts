import { describe, expect, test } from 'vitest';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import { memoryError, PlainManager, simulatedRuntime } from './fakes.js';

describe('MemoryManagerDeviceInterface', () => {
  test.each([
    'getActiveDeviceId',
    'getMaxMemorySize',
    'nativeAlloc',
    'nativeFree',
    'getMemoryPressureThreshold',
    'setMemoryPressureThreshold',
  ] as const)('%s throws until it is set', (functionName) => {
    const table = new MemoryManagerDeviceInterface();
    const call = table[functionName] as (value: number) => unknown;
    expect(() => call(1)).toThrow(memoryError('ERR_MEM_NOT_INSTALLED', { functionName }));
  });

  test('serves a manager when a test has filled it by hand', () => {
    const table = new MemoryManagerDeviceInterface();
    const manager = new PlainManager(table);
    expect(() => manager.allocBytes(1, true)).toThrow(memoryError('ERR_MEM_NOT_INSTALLED', { functionName: 'nativeAlloc' }));
    const freed: number[] = [];
    table.nativeAlloc = (bytes, alignment = 64) => (alignment * 100 + bytes) as DevicePtr;
    table.nativeFree = (ptr) => freed.push(ptr);
    manager.initialize();
    const ptr = manager.allocBytes(7, true);
    expect(ptr).toBe(6407);
    manager.unlock(ptr, true);
    expect(freed).toEqual([6407]);
    table.nativeAlloc = () => NULL_PTR;
    table.getActiveDeviceId = () => 3;
    table.getMaxMemorySize = (device) => device * 1000;
    expect(() => manager.allocBytes(7, true)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', { device: 3, capacityBytes: 3000 }));
  });

  describe('getMaxReservedSize', () => {
    test('is the capacity of a table that was filled by hand', () => {
      const table = new MemoryManagerDeviceInterface();
      expect(() => table.getMaxReservedSize(3)).toThrow(
        memoryError('ERR_MEM_NOT_INSTALLED', { functionName: 'getMaxMemorySize' }),
      );
      table.getMaxMemorySize = (device) => device * 1000;
      expect(table.getMaxReservedSize(3)).toBe(3000);
    });
  });

  describe('claim', () => {
    test('binds the table to one manager in one slot until it is unclaimed', () => {
      const table = new MemoryManagerDeviceInterface();
      const [first, second] = [new PlainManager(table), new PlainManager(table)];
      const [slot, other] = [simulatedRuntime().runtime.slot, simulatedRuntime().runtime.slot];
      table.claim(first, slot);
      table.claim(first, slot);
      for (const [manager, place] of [
        [second, slot],
        [first, other],
      ] as const) {
        expect(() => table.claim(manager, place)).toThrow(memoryError('ERR_MEM_TABLE_IN_USE', { manager: 'PlainManager' }));
      }
      table.unclaim();
      table.claim(second, other);
    });
  });
});
