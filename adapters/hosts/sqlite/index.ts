export { CAllocatorHost, type CAllocatorHostOptions, type CFunctions } from '../c-allocator/c-allocator-host.js';
export { CHeap, type CHeapOptions } from '../c-allocator/c-heap.js';
export { EngineHost, type EngineHostOptions } from '../engine-host.js';
export { FallbackMemory } from '../fallback-memory.js';
export { SqliteHost, type SqliteHostOptions } from './sqlite-host.js';
