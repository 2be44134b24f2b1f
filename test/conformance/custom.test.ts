import type { BlockMemoryManager, ManagerOptions } from '../../managers/index.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { describeManager } from './manager-suite.js';

interface Example {
  readonly PageMemoryManager: new (
    deviceCount: number,
    deviceInterface: MemoryManagerDeviceInterface,
    options?: ManagerOptions,
  ) => BlockMemoryManager;
}

// The class that docs/writing-a-manager.md shows, from the file that it shows.
const file = new URL('../../docs/examples/custom-manager.mjs', import.meta.url).pathname;
const { PageMemoryManager } = (await import(file)) as Example;

describeManager('PageMemoryManager of docs/examples', (deviceCount, table, options) => {
  return new PageMemoryManager(deviceCount, table, options);
});
