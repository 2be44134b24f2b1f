import { PyTorchMemoryManager } from '../../managers/index.js';
import { describeManager } from './manager-suite.js';

describeManager('PyTorchMemoryManager', (deviceCount, table, options) => new PyTorchMemoryManager(deviceCount, table, options));
describeManager(
  'PyTorchMemoryManager with every setting for segments',
  (deviceCount, table, options) =>
    new PyTorchMemoryManager(deviceCount, table, {
      ...options,
      conf: 'max_split_size_mb:20,garbage_collection_threshold:0.6,roundup_power2_divisions:4,per_process_memory_fraction:1.0',
    }),
);
describeManager(
  'PyTorchMemoryManager with expandable segments',
  (deviceCount, table, options) => new PyTorchMemoryManager(deviceCount, table, { ...options, conf: 'expandable_segments:True' }),
);
