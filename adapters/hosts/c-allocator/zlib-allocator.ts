import { callback } from '../../ffi/callback.js';
import type { CAllocatorHost } from './c-allocator-host.js';

/** The three allocator members of zlib's `z_stream`. */
export interface ZlibAllocator {
  /** `voidpf zalloc(voidpf opaque, uInt items, uInt size)` */
  readonly zalloc: number;
  /** `void zfree(voidpf opaque, voidpf address)` */
  readonly zfree: number;
  /** Not used: the functions know their host. */
  readonly opaque: 0;
}

/**
 * Gives what to put into a `z_stream` before `deflateInit` or `inflateInit`. Without memory zlib answers Z_MEM_ERROR (-4).
 *
 * Node exports zlib's symbols: load the library with `{ deep: true }`, or its calls go to Node's own.
 *
 * @throws ERR_MEM_DISPOSED, ERR_MEM_NATIVE
 * @see Source: zlib.h, alloc_func and free_func
 */
export function zlibAllocator(host: CAllocatorHost): ZlibAllocator {
  const { zalloc, zfree } = host.callbacks.register('zlib', () => ({
    zalloc: callback({
      result: 'uintptr_t',
      parameters: ['uintptr_t', 'uint32_t', 'uint32_t'],
      onError: 0,
      body: (_opaque, items, size) => host.malloc(items * size),
    }),
    zfree: callback({
      result: 'void',
      parameters: ['uintptr_t', 'uintptr_t'],
      onError: undefined,
      body: (_opaque, ptr) => host.free(ptr),
    }),
  }));
  return { zalloc, zfree, opaque: 0 };
}
