export { CallbackTable } from '../../ffi/callback-table.js';
export { type LibraryOptions, NativeLibrary, openLibrary } from '../../ffi/library.js';
export { CAllocatorHost, type CAllocatorHostOptions, type CFunctions } from '../c-allocator/c-allocator-host.js';
export { CHeap, type CHeapOptions } from '../c-allocator/c-heap.js';
export { EngineHost, type EngineHostOptions } from '../engine-host.js';
export { FallbackMemory } from '../fallback-memory.js';
export { SqliteHost, type SqliteHostOptions } from './sqlite-host.js';
