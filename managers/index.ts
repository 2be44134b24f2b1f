/**
 * The policies, the decorators around them, and the building blocks of a policy of your own.
 *
 * @module
 */

export { BlockRows, MANAGER_LOCK, NONE, REFERENCE_LOCK, USER_LOCK } from '../src/blocks/block-rows.js';
export { BuddyTree } from '../src/blocks/buddy-tree.js';
export { BumpRegion } from '../src/blocks/bump-region.js';
export type { CarvedRegion } from '../src/blocks/carved-region.js';
export { DeviceHeap } from '../src/blocks/device-heap.js';
export { DeviceHeaps } from '../src/blocks/device-heaps.js';
export { DeviceMemoryManager, type ManagerOptions } from '../src/blocks/device-memory-manager.js';
export type { DeviceStorage, LeavingMemory, ManagedDevice } from '../src/blocks/device-storage.js';
export { FreeBlocks, type FreeBlocksOptions } from '../src/blocks/free-blocks.js';
export { HeapCounters } from '../src/blocks/heap-counters.js';
export { Holes } from '../src/blocks/holes.js';
export { RegionStats } from '../src/blocks/region-stats.js';
export { Regions, RegionsOfDevice } from '../src/blocks/regions.js';
export { ALL_CACHED, type ReleasablePieces, ReleaseBounds } from '../src/blocks/release-bounds.js';
export { SlabCells } from '../src/blocks/slab-cells.js';
export { ArenaMemoryManager, type ArenaMemoryManagerOptions } from './arena/arena-memory-manager.js';
export { BuddyMemoryManager, type BuddyMemoryManagerOptions } from './buddy/buddy-memory-manager.js';
export { CachingMemoryManager, type CachingMemoryManagerOptions } from './caching/caching-memory-manager.js';
export { BookkeepingMemoryManager } from './decorators/bookkeeping-memory-manager.js';
export type { Counters } from './decorators/counter-frame.js';
export { DecoratingMemoryManager, type OutOfMemoryFacts } from './decorators/decorating-memory-manager.js';
export { FailingMemoryManager, type FailingOptions } from './decorators/failing-memory-manager.js';
export { CANARY_BYTE, DEFAULT_GUARD_BYTES, type GuardMemory, POISON_BYTE } from './decorators/guard-bytes.js';
export { type CorruptionError, GuardedMemoryManager, type GuardedOptions } from './decorators/guarded-memory-manager.js';
export { LimitingMemoryManager, type LimitingOptions } from './decorators/limiting-memory-manager.js';
export { LiveBlocks } from './decorators/live-blocks.js';
export { StatisticsMemoryManager } from './decorators/statistics-memory-manager.js';
export {
  type LeakGroup,
  type LeakReport,
  type TrackedBlock,
  TrackingMemoryManager,
  type TrackingOptions,
} from './decorators/tracking-memory-manager.js';
export { DEFAULT_MAX_BUFFERS, DefaultMemoryManager, type DefaultMemoryManagerOptions } from './default/default-memory-manager.js';
export {
  type BatchOptions,
  type InsertOptions,
  LruMemoryManager,
  type MemoryLayout,
} from './lru/lru-memory-manager.js';
export { DEFAULT_CAPACITY_LAYOUTS, type LruMemoryManagerOptions } from './lru/lru-policy.js';
export { BlockMemoryManager } from './policy/block-memory-manager.js';
export { RegionMemoryManager, type RegionPlan } from './policy/region-memory-manager.js';
export { PoolMemoryManager, type PoolMemoryManagerOptions } from './pool/pool-memory-manager.js';
export { type ParsedAllocConf, type PyTorchSettings, parseAllocConf } from './pytorch/alloc-conf.js';
export { PyTorchMemoryManager, type PyTorchMemoryManagerOptions } from './pytorch/pytorch-memory-manager.js';
export type { RestoredBlock, RestoredSegment } from './pytorch/restored-segment.js';
export { type ScratchMark, ScratchMemoryManager } from './scratch/scratch-memory-manager.js';
export { SlabMemoryManager, type SlabMemoryManagerOptions } from './slab/slab-memory-manager.js';
export { TlsfMemoryManager, type TlsfMemoryManagerOptions } from './tlsf/tlsf-memory-manager.js';
