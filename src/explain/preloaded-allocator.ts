import { type AllocatorStatistics, allocatorStatistics } from '../../adapters/os/preloaded-allocators.js';

const PATTERN = /\/lib(jemalloc|mimalloc|tcmalloc)[^/]*\.so[^/]*$/;

/** An allocator that is in the place of the C library's. */
export interface PreloadedAllocator extends AllocatorStatistics {
  readonly name: string;
  readonly path: string;
}

/** Finds an allocator that was preloaded (`LD_PRELOAD`), by its library among those that are mapped. */
export function preloadedAllocator(binaries: Iterable<string>): PreloadedAllocator | undefined {
  for (const path of binaries) {
    const name = PATTERN.exec(path)?.[1];
    if (name !== undefined) return { name, path, ...allocatorStatistics(name, path) };
  }
  return undefined;
}
