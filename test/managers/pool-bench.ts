import fc from 'fast-check';
import { expect } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { PoolMemoryManager, type PoolMemoryManagerOptions } from '../../managers/pool/pool-memory-manager.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, GiB, KiB, MiB } from '../../src/core/units.js';
import { atLeast, same } from '../fixtures/same.js';

/** A pool on a device without memory, over a table that was filled by hand. */
export interface PoolBench {
  readonly device: SimulatedDevice;
  readonly manager: PoolMemoryManager;
  readonly table: MemoryManagerDeviceInterface;
}

/** @param pieces - whether the device takes back whole pieces alone */
export function poolBench(
  granularityBytes = 4 * KiB,
  options: PoolMemoryManagerOptions = {},
  capacityBytes = GiB,
  pieces = false,
): PoolBench {
  const device = new SimulatedDevice({ capacityBytes, virtual: granularityBytes > 0 ? { granularityBytes, pieces } : false });
  const table = new MemoryManagerDeviceInterface();
  table.getActiveDeviceId = () => device.activeDeviceId;
  table.getMaxMemorySize = (id) => device.getMaxMemorySize(id);
  table.nativeAlloc = (bytes, alignment) => device.nativeAlloc(bytes, alignment);
  table.nativeFree = (ptr) => device.nativeFree(ptr);
  table.virtual = device.virtual;
  const manager = new PoolMemoryManager(1, table, granularityBytes > 0 ? { granularityBytes, ...options } : options);
  manager.initialize();
  return { device, manager, table };
}

/** Sizes of all kinds. */
export function sizes(): fc.Arbitrary<number> {
  return fc.oneof(fc.integer({ min: 1, max: 4096 }), fc.integer({ min: 1, max: 300_000 }), fc.integer({ min: 1, max: 9 * MiB }));
}

/** Allocates, unless there is no room. */
export function allocOne(manager: PoolMemoryManager, live: Map<DevicePtr, number>, bytes: number, alignment: number): void {
  try {
    const ptr = manager.allocBytes(bytes, true, alignment);
    same([ptr % Math.max(alignment, 16)], [0]);
    if (live.has(ptr)) expect.fail(`${ptr} was handed out twice`);
    live.set(ptr, bytes);
  } catch (error) {
    if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
  }
}

/** Frees one of the live blocks. */
export function freeOne(manager: PoolMemoryManager, live: Map<DevicePtr, number>, at: number): void {
  if (live.size === 0) return;
  const ptr = [...live.keys()][at % live.size]!;
  manager.unlock(ptr, true);
  live.delete(ptr);
}

/** Throws unless the pool knows what is live, and no two blocks share a byte. */
export function expectModel(manager: PoolMemoryManager, device: SimulatedDevice, live: ReadonlyMap<DevicePtr, number>): void {
  const { requestedBytes, allocatedBytes, activeBytes, reservedBytes } = manager.stats(0);
  const requested = [...live.values()].reduce((sum, bytes) => sum + bytes, 0);
  same(
    [requestedBytes.current, activeBytes.current, reservedBytes.current],
    [requested, allocatedBytes.current, device.liveBytes],
  );
  atLeast(allocatedBytes.current, requestedBytes.current);
  atLeast(reservedBytes.current, activeBytes.current);
  let end = 0;
  for (const [ptr, bytes] of [...live].sort(([a], [b]) => a - b)) {
    atLeast(ptr, end);
    atLeast(manager.allocated(ptr), bytes);
    device.fill(ptr, 0, bytes);
    end = ptr + manager.allocated(ptr);
  }
}

/** Runs a program again and again, of whose native calls another one fails each time. */
export function failEachCall(newBench: () => Pick<PoolBench, 'manager' | 'device'>): void {
  for (let failing = 0; failing < 40; failing++) {
    const { manager, device } = newBench();
    device.failWhen(({ index }) => index === failing);
    const live = new Map<DevicePtr, number>();
    for (let i = 0; i < 160; i++) {
      if (i % 3 === 2) freeOne(manager, live, i * 31);
      else allocOne(manager, live, ((i * 104_729) % 700_000) + 1, 0);
      manager.checkInvariants();
    }
    expectModel(manager, device, live);
  }
}
