export {
  type CArguments,
  type Callback,
  type CallbackSpec,
  type CallbackWatch,
  type CNumber,
  type CResult,
  type CType,
  type CTypes,
  callback,
} from '../../ffi/callback.js';
export { CallbackTable } from '../../ffi/callback-table.js';
export { type LibraryOptions, NativeLibrary, openLibrary } from '../../ffi/library.js';
export { EngineHost, type EngineHostOptions } from '../engine-host.js';
export { FallbackMemory } from '../fallback-memory.js';
export { CAllocatorHost, type CAllocatorHostOptions, type CFunctions } from './c-allocator-host.js';
export { CHeap, type CHeapOptions } from './c-heap.js';
export { type GmpAllocator, gmpAllocator, installGmpAllocator } from './gmp-allocator.js';
export { type LuaAllocator, luaAllocator } from './lua-allocator.js';
export { type ZlibAllocator, zlibAllocator } from './zlib-allocator.js';
