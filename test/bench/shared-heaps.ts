import { libc } from '../../adapters/os/libc.js';
import { DEFAULT_MEM_CONTEXT, type OffsetPointer } from '../../src/shared/allocators/shared-allocator.js';
import { MemoryRegistry } from '../../src/shared/memory-registry.js';

/** Something that gives blocks out and takes them back. */
export interface SharedHeap {
  /** @returns a pointer of the heap's own kind */
  allocate(bytes: number): number;
  free(pointer: number): void;
}

/** The allocators that are measured, and what they are measured beside. */
export const HEAPS = ['scalable-page', 'thread-local', 'malloc by koffi'] as const;

/** The name of one of {@link HEAPS}. */
export type HeapName = (typeof HEAPS)[number];

const BACKEND_ID = 0;
const ALLOCATOR_ID = { major: 1, minor: 0 };

/** Creates the region that processes share. @returns what destroys it */
export function createRegion(heap: HeapName, url: string, bytes: number): () => void {
  if (heap === 'malloc by koffi') return () => undefined;
  const registry = new MemoryRegistry();
  registry.createBackend('posix-shm', BACKEND_ID, bytes, url);
  registry.createAllocator(heap, BACKEND_ID, ALLOCATOR_ID);
  return () => registry.destroyBackend(BACKEND_ID);
}

/** Attaches to the region, as another process does. */
export function openHeap(heap: HeapName, url: string): SharedHeap {
  if (heap === 'malloc by koffi') return mallocHeap();
  const registry = new MemoryRegistry();
  registry.attachBackend(url);
  const allocator = registry.getAllocator(ALLOCATOR_ID);
  return {
    allocate: (bytes) => allocator.allocateOffset(DEFAULT_MEM_CONTEXT, bytes),
    free: (offset) => allocator.freeOffset(DEFAULT_MEM_CONTEXT, offset as OffsetPointer),
  };
}

function mallocHeap(): SharedHeap {
  return {
    allocate: libc().func<(bytes: number) => number>('malloc', 'uintptr_t', ['size_t']),
    free: libc().func<(pointer: number) => void>('free', 'void', ['uintptr_t']),
  };
}
