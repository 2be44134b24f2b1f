import type { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { LruMemoryManager, type LruMemoryManagerOptions } from '../../managers/index.js';
import type { DevicePtr } from '../../src/core/units.js';
import { ManagerBench, SIMULATED } from '../conformance/manager-bench.js';

/** A manager on a simulated device, by its bench. */
export function lru(options: LruMemoryManagerOptions = {}, capacityBytes?: number) {
  const bench = new ManagerBench((count, table) => new LruMemoryManager(count, table, options), SIMULATED, capacityBytes);
  const manager = bench.manager as LruMemoryManager;
  return { bench, manager, device: bench.device as SimulatedDevice };
}

/** Makes some native frees fail. @returns what ends that */
export function failFrees(bench: ManagerBench, failing: (ptr: DevicePtr) => boolean): () => void {
  const { nativeFree } = bench.table;
  bench.table.nativeFree = (ptr) => {
    if (failing(ptr)) throw new Error('the driver refuses');
    nativeFree(ptr);
  };
  return () => {
    bench.table.nativeFree = nativeFree;
  };
}

/** Allocates and frees one block of each size. */
export function keep(manager: LruMemoryManager, ...sizes: number[]): DevicePtr[] {
  const ptrs = sizes.map((bytes) => manager.allocBytes(bytes, true));
  for (const ptr of ptrs) manager.unlock(ptr, true);
  manager.checkInvariants();
  return ptrs;
}
