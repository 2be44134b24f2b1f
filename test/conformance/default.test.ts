import { DefaultMemoryManager } from '../../managers/index.js';
import { describeManager } from './manager-suite.js';

describeManager('DefaultMemoryManager', (deviceCount, table, options) => {
  return new DefaultMemoryManager(deviceCount, 1000, false, table, options);
});
describeManager('DefaultMemoryManager in debug mode', (deviceCount, table, options) => {
  return new DefaultMemoryManager(deviceCount, 1000, true, table, options);
});
describeManager('DefaultMemoryManager with few buffers', (deviceCount, table, options) => {
  return new DefaultMemoryManager(deviceCount, 3, false, table, options);
});
