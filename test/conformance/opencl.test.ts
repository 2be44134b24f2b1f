import { describe } from 'vitest';
import { OpenClDevice, type OpenClDeviceOptions } from '../../adapters/devices/opencl/index.js';
import {
  CachingMemoryManager,
  DefaultMemoryManager,
  LruMemoryManager,
  PoolMemoryManager,
  PyTorchMemoryManager,
  TlsfMemoryManager,
} from '../../managers/index.js';
import { openCl } from '../fixtures/opencl.js';
import type { DeviceCase } from './manager-bench.js';
import { describeManager } from './manager-suite.js';

const deviceCase = (name: string, options: OpenClDeviceOptions): DeviceCase => ({
  name,
  deviceCount: new OpenClDevice(options).deviceCount,
  hasBytes: options.fineGrain === true,
  hasCapacity: true,
  make: (capacityBytes) => new OpenClDevice({ ...options, ...(capacityBytes !== undefined && { capacityBytes }) }),
});

if (openCl.missing) describe.skip(openCl.title('managers on OpenCL'), () => {});
else {
  const cases = [deviceCase('opencl', {}), deviceCase('opencl, fine-grain', { fineGrain: true })];
  describeManager('CachingMemoryManager', (n, table, options) => new CachingMemoryManager(n, table, options), cases);
  describeManager('PoolMemoryManager', (n, table, options) => new PoolMemoryManager(n, table, options), cases);
  describeManager('TlsfMemoryManager', (n, table, options) => new TlsfMemoryManager(n, table, options), cases);
  describeManager('PyTorchMemoryManager', (n, table, options) => new PyTorchMemoryManager(n, table, options), cases);
  describeManager('LruMemoryManager', (n, table, options) => new LruMemoryManager(n, table, options), cases);
  describeManager('DefaultMemoryManager', (n, table, options) => new DefaultMemoryManager(n, table, options), cases);
}
