import { CachingMemoryManager, PoolMemoryManager, PyTorchMemoryManager, TlsfMemoryManager } from '../../../managers/index.js';
import { GiB, KiB } from '../../../src/core/units.js';
import type { DeviceCase, ManagerMaker } from '../../conformance/manager-bench.js';
import { describeManager } from '../../conformance/manager-suite.js';
import { GpuFixture } from '../../fixtures/gpu-fixture.js';

const fixture = new GpuFixture('cuda');

/** A card of three; `pageBytes` 0 is one without virtual memory. */
function cudaCase(name: string, pageBytes: number): DeviceCase {
  return {
    name,
    deviceCount: 3,
    hasBytes: false,
    hasCapacity: true,
    make: (capacityBytes = 8 * GiB) => fixture.fresh({ deviceCount: 3, capacityBytes, pageBytes }),
  };
}

const MAKERS: Readonly<Record<string, ManagerMaker>> = {
  CachingMemoryManager: (deviceCount, table, options) => new CachingMemoryManager(deviceCount, table, options),
  TlsfMemoryManager: (deviceCount, table, options) => new TlsfMemoryManager(deviceCount, table, options),
  PoolMemoryManager: (deviceCount, table, options) => new PoolMemoryManager(deviceCount, table, options),
  PyTorchMemoryManager: (deviceCount, table, options) => new PyTorchMemoryManager(deviceCount, table, options),
  'PyTorchMemoryManager with expandable segments': (deviceCount, table, options) =>
    new PyTorchMemoryManager(deviceCount, table, { ...options, conf: 'expandable_segments:True' }),
};

for (const [name, make] of Object.entries(MAKERS)) {
  const cases = [cudaCase('CUDA', 64 * KiB)];
  if (name === 'PoolMemoryManager') cases.push(cudaCase('CUDA without virtual memory', 0));
  describeManager(name, make, cases);
}
