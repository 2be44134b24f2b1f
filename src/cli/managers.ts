import { CachingMemoryManager, DEFAULT_MAX_BUFFERS, DefaultMemoryManager } from '../../managers/index.js';
import type { ManagerFactory } from '../core/process-state.js';

/** The managers that the command knows, by name. */
export const MANAGERS: ReadonlyMap<string, ManagerFactory> = new Map<string, ManagerFactory>([
  ['caching', (deviceCount, table) => new CachingMemoryManager(deviceCount, table)],
  ['default', (deviceCount, table) => new DefaultMemoryManager(deviceCount, DEFAULT_MAX_BUFFERS, false, table)],
]);
