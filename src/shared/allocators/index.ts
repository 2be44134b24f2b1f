import type { PageAllocatorInit } from '../pages/format.js';
import type { SharedRegion } from '../shared-region.js';
import { MallocAllocator } from './malloc-allocator.js';
import { ScalablePageAllocator } from './scalable-page-allocator.js';
import type { SharedAllocator, SharedAllocatorOptions } from './shared-allocator.js';
import { ThreadLocalAllocator } from './thread-local-allocator.js';

/** A type of allocator: how one is made in an empty region, and how another thread opens it. */
export interface SharedAllocatorType {
  /** Its name in headers and tables. */
  readonly type: string;
  shmInit(region: SharedRegion, init: PageAllocatorInit): SharedAllocator;
  shmDeserialize(region: SharedRegion, options?: SharedAllocatorOptions): SharedAllocator;
}

/** The types of allocators that come with the library, by name. */
export const ALLOCATOR_TYPES: Readonly<Record<string, SharedAllocatorType>> = Object.freeze({
  [MallocAllocator.type]: MallocAllocator,
  [ScalablePageAllocator.type]: ScalablePageAllocator,
  [ThreadLocalAllocator.type]: ThreadLocalAllocator,
});
