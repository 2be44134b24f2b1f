import { LruMemoryManager } from '../../managers/index.js';
import { MiB } from '../../src/core/units.js';
import { describeManager } from './manager-suite.js';

describeManager('LruMemoryManager', (deviceCount, table, options) => new LruMemoryManager(deviceCount, table, options));
describeManager('LruMemoryManager of one layout', (deviceCount, table, options) => {
  return new LruMemoryManager(deviceCount, table, { capacityLayouts: 1, ...options });
});
describeManager('LruMemoryManager that keeps nothing', (deviceCount, table, options) => {
  return new LruMemoryManager(deviceCount, table, { capacityLayouts: 0, ...options });
});
describeManager('LruMemoryManager of 1 MiB', (deviceCount, table, options) => {
  return new LruMemoryManager(deviceCount, table, { capacityBytes: MiB, ...options });
});
