import { ArenaMemoryManager, BuddyMemoryManager, ScratchMemoryManager, SlabMemoryManager } from '../../managers/index.js';
import { KiB, MiB } from '../../src/core/units.js';
import { SIMULATED } from './manager-bench.js';
import { describeManager } from './manager-suite.js';

describeManager('ArenaMemoryManager', (deviceCount, table, options) => new ArenaMemoryManager(deviceCount, table, options));
describeManager(
  'ArenaMemoryManager of small regions',
  (deviceCount, table, options) => {
    return new ArenaMemoryManager(deviceCount, table, { regionBytes: 1000, alignmentBytes: 1, ...options });
  },
  [SIMULATED],
);
describeManager('ScratchMemoryManager', (deviceCount, table, options) => new ScratchMemoryManager(deviceCount, table, options), [
  SIMULATED,
]);
describeManager('SlabMemoryManager', (deviceCount, table, options) => new SlabMemoryManager(deviceCount, table, options));
describeManager(
  'SlabMemoryManager of large cells',
  (deviceCount, table, options) => {
    return new SlabMemoryManager(deviceCount, table, { cellBytes: MiB + 48, slabBytes: 5 * MiB, ...options });
  },
  [SIMULATED],
);
describeManager('BuddyMemoryManager', (deviceCount, table, options) => new BuddyMemoryManager(deviceCount, table, options));
describeManager(
  'BuddyMemoryManager of small regions',
  (deviceCount, table, options) => {
    return new BuddyMemoryManager(deviceCount, table, { regionBytes: 64 * KiB, leafBytes: 1, ...options });
  },
  [SIMULATED],
);
