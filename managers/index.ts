export type { AddressIndex } from '../src/blocks/address-index.js';
export { BlockTable, MANAGER_LOCK, NONE, REFERENCE_LOCK, USER_LOCK } from '../src/blocks/block-table.js';
export { CachingMemoryManager, type CachingMemoryManagerOptions } from './caching/caching-memory-manager.js';
export { DEFAULT_MAX_BUFFERS, DefaultMemoryManager } from './default/default-memory-manager.js';
export { BlockMemoryManager, type ManagerOptions } from './policy/block-memory-manager.js';
