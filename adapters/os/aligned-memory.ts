import { lazy, libc } from './libc.js';

type Allocate = (bytes: number, alignment: number) => number;
type Release = (address: number) => void;

const WORD = 2 ** 32;
const IS_WINDOWS = process.platform === 'win32';

// Both at once: the garbage collector, or the end of a worker, must not be what declares the one that frees.
const heap = lazy(() => ({
  allocate: declareAllocate(),
  release: libc().func<Release>(IS_WINDOWS ? '_aligned_free' : 'free', 'void', ['uintptr_t']),
}));

/**
 * Allocates from the C library's heap.
 *
 * @param bytes - above 0
 * @param alignment - bytes, a power of two from 8
 * @returns an address, or 0 when there is no room
 */
export function alignedAlloc(bytes: number, alignment: number): number {
  return heap().allocate(bytes, alignment);
}

/** Frees what {@link alignedAlloc} gave. */
export function alignedFree(address: number): void {
  heap().release(address);
}

function declareAllocate(): Allocate {
  if (IS_WINDOWS) return libc().func<Allocate>('_aligned_malloc', 'uintptr_t', ['size_t', 'size_t']);
  // posix_memalign and not aligned_alloc: macOS asks of the latter that the size is a multiple of the alignment.
  const call = libc().func<(out: Uint32Array, alignment: number, bytes: number) => number>('posix_memalign', 'int', [
    'uint32_t *',
    'size_t',
    'size_t',
  ]);
  const out = new Uint32Array(2);
  return (bytes, alignment) => {
    if (call(out, alignment, bytes) !== 0) return 0;
    return (out[0] as number) + (out[1] as number) * WORD;
  };
}
