import { PoolMemoryManager } from '../../managers/pool/pool-memory-manager.js';
import { describeManager } from './manager-suite.js';

describeManager('PoolMemoryManager', (deviceCount, table, options) => new PoolMemoryManager(deviceCount, table, options));
describeManager('PoolMemoryManager without virtual memory', (deviceCount, table, options) => {
  Object.defineProperty(table, 'virtual', { get: () => undefined, set: () => {} });
  return new PoolMemoryManager(deviceCount, table, options);
});
