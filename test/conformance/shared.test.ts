import { afterEach } from 'vitest';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { type DevicePtr, MiB } from '../../src/core/units.js';
import { MallocAllocator } from '../../src/shared/allocators/malloc-allocator.js';
import { ScalablePageAllocator } from '../../src/shared/allocators/page-allocator.js';
import { PosixMmapBackend } from '../../src/shared/backends/nameless-backends.js';
import { SharedMemoryDevice } from '../../src/shared/shared-memory-device.js';
import { SharedMemoryManager } from '../../src/shared/shared-memory-manager.js';
import { CPU, type DeviceCase, SIMULATED } from './manager-bench.js';
import { describeManager } from './manager-suite.js';

const ID = { major: 0, minor: 0 };

const backends: PosixMmapBackend[] = [];
afterEach(() => {
  for (const backend of backends.splice(0)) backend.destroy();
});

/** Real pages of a region. */
const REGION: DeviceCase = {
  name: 'a shared region',
  deviceCount: 1,
  hasBytes: true,
  hasCapacity: false,
  countsWithoutRounding: true,
  make: (capacityBytes = 256 * MiB) => {
    const backend = PosixMmapBackend.create(0, capacityBytes);
    backends.push(backend);
    return new SharedMemoryDevice(ScalablePageAllocator.shmInit(backend.region, { id: ID }));
  },
};

/** The suite counts native calls at the table, so the manager's allocator takes its blocks from there. */
function tableAllocator(table: MemoryManagerDeviceInterface): MallocAllocator {
  const heap = {
    allocate: (bytes: number, alignment: number) => table.nativeAlloc(bytes, alignment),
    free: (address: number) => table.nativeFree(address as DevicePtr),
  };
  return MallocAllocator.shmInit(undefined, { id: ID, heap });
}

describeManager(
  'SharedMemoryManager',
  (deviceCount, table, options) => new SharedMemoryManager(deviceCount, table, { allocator: tableAllocator(table), ...options }),
  [SIMULATED, CPU, REGION],
);
