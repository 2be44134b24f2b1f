import { CachingMemoryManager, DefaultMemoryManager, LruMemoryManager } from '../../managers/index.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { ManagerBench, SIMULATED } from '../conformance/manager-bench.js';

/** The policies that decorators are tried around. */
export const POLICIES = {
  caching: (devices: number, table: MemoryManagerDeviceInterface) => new CachingMemoryManager(devices, table),
  default: (devices: number, table: MemoryManagerDeviceInterface) => new DefaultMemoryManager(devices, table),
  debug: (devices: number, table: MemoryManagerDeviceInterface) => new DefaultMemoryManager(devices, table, { debug: true }),
  lru: (devices: number, table: MemoryManagerDeviceInterface) => new LruMemoryManager(devices, table),
};

/** A decorator around a caching manager (or another one) on simulated devices. */
export function decorated<M extends MemoryManagerAdapter>(
  wrap: (inner: MemoryManagerAdapter) => M,
  policy: keyof typeof POLICIES = 'caching',
  capacityBytes?: number,
): { bench: ManagerBench; manager: M } {
  const bench = new ManagerBench((devices, table) => wrap(POLICIES[policy](devices, table)), SIMULATED, capacityBytes);
  return { bench, manager: bench.manager as M };
}
