import { CachingMemoryManager } from '../../managers/index.js';
import { describeManager } from './manager-suite.js';

describeManager('CachingMemoryManager', (deviceCount, table, options) => new CachingMemoryManager(deviceCount, table, options));
describeManager(
  'CachingMemoryManager with limits',
  (deviceCount, table, options) =>
    new CachingMemoryManager(deviceCount, table, {
      ...options,
      recyclingSizeLimitBytes: 4 * 1024 * 1024,
      splitSizeLimitBytes: 1024 * 1024,
    }),
);
