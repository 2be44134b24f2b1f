import { MemoryError } from '../core/errors.js';
import { ALLOCATOR_TYPES } from './allocators/index.js';
import { PosixShmBackend } from './backends/posix-shm-backend.js';
import type { SegmentInspection } from './backends/segment-file.js';

/** How full the region of a segment is. */
export interface SegmentUsage {
  /** Handed out, with what the allocator adds and threads keep in their caches. */
  readonly usedBytes: number;
  readonly freeBytes: number;
}

/**
 * Asks the allocator of a segment how much it has handed out. Maps the segment, and changes nothing in it.
 *
 * @returns undefined where there is no allocator, or one without a bound; a string that says why it cannot be asked
 */
export function usageOf(url: string, { state, allocator }: SegmentInspection): SegmentUsage | string | undefined {
  if (state !== 'ready' || allocator === undefined) return undefined;
  if (!Object.hasOwn(ALLOCATOR_TYPES, allocator.type))
    return `its allocator is of a type that is unknown here: ${allocator.type}`;
  try {
    using backend = PosixShmBackend.attach(url);
    const { capacityBytes, allocatedBytes } = ALLOCATOR_TYPES[allocator.type]!.shmDeserialize(backend.region);
    return capacityBytes === undefined ? undefined : { usedBytes: allocatedBytes, freeBytes: capacityBytes - allocatedBytes };
  } catch (error) {
    // One that keeps nothing in the region cannot be asked by others.
    if (MemoryError.is(error, 'ERR_MEM_UNSUPPORTED_PLATFORM')) return undefined;
    if (MemoryError.is(error)) return error.message;
    throw error;
  }
}
