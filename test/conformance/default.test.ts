import { DefaultMemoryManager } from '../../managers/index.js';
import { describeManager } from './manager-suite.js';

describeManager('DefaultMemoryManager', (deviceCount, table, options) => {
  return new DefaultMemoryManager(deviceCount, table, options);
});
describeManager('DefaultMemoryManager in debug mode', (deviceCount, table, options) => {
  return new DefaultMemoryManager(deviceCount, table, { debug: true, ...options });
});
describeManager('DefaultMemoryManager with few buffers', (deviceCount, table, options) => {
  return new DefaultMemoryManager(deviceCount, table, { maxBuffers: 3, ...options });
});
