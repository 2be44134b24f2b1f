import { cFunction } from '../ffi/library.js';
import { numberIn } from './bytes.js';
import { lazy, libc } from './libc.js';

/** Where native memory comes from. */
export interface NativeHeap {
  /**
   * Allocates a block.
   *
   * @param bytes - above 0
   * @param alignment - bytes, a power of two from 8
   * @param alone - asks for pages that the heap gives back to the system when it is freed
   * @returns an address, or 0 when there is no room
   */
  allocate(bytes: number, alignment: number, alone?: boolean): number;
  free(address: number): void;
}

const IS_WINDOWS = process.platform === 'win32';

// Both at once: the garbage collector, or the end of a worker, must not be what declares the one that frees.
const heap = lazy(() => ({
  allocate: declareAllocate(),
  free: cFunction(libc(), IS_WINDOWS ? '_aligned_free' : 'free', 'void', ['uintptr_t']),
}));

/** The C library's heap: what nobody frees stays until the process ends. */
export const PROCESS_HEAP: NativeHeap = {
  allocate: (bytes, alignment) => heap().allocate(bytes, alignment),
  free: (address) => heap().free(address),
};

function declareAllocate(): NativeHeap['allocate'] {
  if (IS_WINDOWS) return cFunction(libc(), '_aligned_malloc', 'uintptr_t', ['size_t', 'size_t']);
  // posix_memalign and not aligned_alloc: macOS asks of the latter that the size is a multiple of the alignment.
  const call = cFunction(libc(), 'posix_memalign', 'int', ['uint32_t *', 'size_t', 'size_t']);
  const out = new Uint32Array(2);
  return (bytes, alignment) => {
    if (call(out, alignment, bytes) !== 0) return 0;
    return numberIn(out);
  };
}
