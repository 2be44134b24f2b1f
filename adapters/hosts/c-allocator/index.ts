/**
 * Has a manager serve a C library that takes allocator callbacks, such as zlib, Lua and GMP.
 *
 * @module
 */

import '../../../src/defaults.js';

export { CAllocatorHost, type CAllocatorHostOptions, type CFunctions } from './c-allocator-host.js';
export { CHeap, type CHeapOptions } from './c-heap.js';
export { type GmpAllocator, gmpAllocator, installGmpAllocator } from './gmp-allocator.js';
export { type LuaAllocator, luaAllocator } from './lua-allocator.js';
export { type ZlibAllocator, zlibAllocator } from './zlib-allocator.js';
