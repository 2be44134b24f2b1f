import type { BlockMemoryManager, ManagerOptions } from '../../managers/index.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { describeManager } from './manager-suite.js';

type Maker = new (
  deviceCount: number,
  deviceInterface: MemoryManagerDeviceInterface,
  options?: ManagerOptions,
) => BlockMemoryManager;

// The classes that docs/writing-a-manager.md shows, from the files that it shows.
const load = async (name: string) =>
  (await import(new URL(`../../docs/examples/${name}.mts`, import.meta.url).pathname)) as Record<string, Maker>;
const { PageMemoryManager } = await load('custom-manager');
const { KeepingMemoryManager } = await load('trim-in-parts');

describeManager('PageMemoryManager of docs/examples', (deviceCount, table, options) => {
  return new PageMemoryManager!(deviceCount, table, options);
});
describeManager('KeepingMemoryManager of docs/examples', (deviceCount, table, options) => {
  return new KeepingMemoryManager!(deviceCount, table, options);
});
