import { describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  ArenaMemoryManager,
  BuddyMemoryManager,
  CachingMemoryManager,
  DefaultMemoryManager,
  LruMemoryManager,
  PyTorchMemoryManager,
  SlabMemoryManager,
  TlsfMemoryManager,
} from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { type DevicePtr, MiB, NULL_PTR } from '../../src/core/units.js';
import { memoryError } from '../core/fakes.js';

const SIZES = [32 * MiB, 64 * MiB, 96 * MiB];
const MANAGERS = {
  arena: (table: MemoryManagerDeviceInterface) => new ArenaMemoryManager(2, table, { regionBytes: MiB }),
  slab: (table: MemoryManagerDeviceInterface) => new SlabMemoryManager(2, table, { cellBytes: 96 * MiB, slabBytes: 96 * MiB }),
  buddy: (table: MemoryManagerDeviceInterface) => new BuddyMemoryManager(2, table, { regionBytes: 128 * MiB }),
  caching: (table: MemoryManagerDeviceInterface) => new CachingMemoryManager(2, table),
  tlsf: (table: MemoryManagerDeviceInterface) => new TlsfMemoryManager(2, table),
  pytorch: (table: MemoryManagerDeviceInterface) => new PyTorchMemoryManager(2, table),
  default: (table: MemoryManagerDeviceInterface) => new DefaultMemoryManager(2, table),
  lru: (table: MemoryManagerDeviceInterface) => new LruMemoryManager(2, table),
};

/** A manager over two simulated devices whose nativeFree first calls `onFree` with the number of the call. */
function opened(create: (table: MemoryManagerDeviceInterface) => ReturnType<(typeof MANAGERS)[keyof typeof MANAGERS]>) {
  const device = new SimulatedDevice({ deviceCount: 2 });
  const table = new MemoryManagerDeviceInterface();
  const hooks = { onFree: (_call: number): void => {} };
  let calls = 0;
  table.deviceCount = 2;
  table.getActiveDeviceId = () => device.activeDeviceId;
  table.getMaxMemorySize = (id) => device.getMaxMemorySize(id);
  table.nativeAlloc = (bytes, alignment) => device.nativeAlloc(bytes, alignment);
  table.nativeFree = (ptr) => {
    hooks.onFree(++calls);
    device.nativeFree(ptr);
  };
  const manager = create(table);
  manager.initialize();
  return { device, hooks, manager };
}

describe.each(Object.entries(MANAGERS))('%s', (_, create) => {
  test.each(SIZES)('forgets nothing of a device that is removed, whatever a native free comes back with: %d', (bytes) => {
    const { device, hooks, manager } = opened(create);
    for (const ptr of SIZES.map((size) => manager.allocBytes(size, true))) manager.unlock(ptr, true);
    let held: DevicePtr = NULL_PTR;
    hooks.onFree = (call) => {
      if (call === 1) held = manager.allocBytes(bytes, true);
      else {
        const ptr = held;
        held = NULL_PTR;
        manager.unlock(ptr, true);
      }
    };
    try {
      manager.removeMemoryManagement(0);
    } catch (error) {
      // Where there was one native call alone, its block is live yet.
      expect(error).toEqual(memoryError('ERR_MEM_DEVICE_BUSY'));
      hooks.onFree = () => {};
      manager.unlock(held, true);
      manager.removeMemoryManagement(0);
    }
    expect(device.liveBytes).toBe(0);
    manager.checkInvariants();
  });

  test('cleans up though a native free removes the other device', () => {
    const { device, hooks, manager } = opened(create);
    for (const id of [0, 1]) {
      device.activate(id);
      manager.unlock(manager.allocBytes(100, true), true);
    }
    hooks.onFree = () => {
      hooks.onFree = () => {};
      try {
        manager.removeMemoryManagement(1);
      } catch (error) {
        expect(error).toEqual(memoryError('ERR_MEM_DEVICE_BUSY'));
      }
      manager.checkInvariants();
    };
    manager.signalMemoryCleanup();
    expect(device.liveBytes).toBe(0);
  });
});
