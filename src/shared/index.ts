/**
 * Memory that processes and threads share: segments, allocators inside them, offset pointers, a ledger for one limit.
 *
 * @module
 */

export type { ProcessIdentity, ProcessSpace } from '../../adapters/os/process-identity.js';
export type { BudgetLedger, LedgerMember, LedgerMemberReading } from '../budget/budget-ledger.js';
export { type HeapFunctions, MallocAllocator, type MallocAllocatorInit } from './allocators/malloc-allocator.js';
export { PageAllocator, type PageAllocatorClass, ScalablePageAllocator } from './allocators/page-allocator.js';
export {
  type AllocatorId,
  DEFAULT_MEM_CONTEXT,
  type FullPointer,
  isSameAllocator,
  type MemContext,
  NULL_ALLOCATOR,
  NULL_FULL_POINTER,
  NULL_OFFSET,
  NULL_POINTER,
  NULL_TID,
  type OffsetPointer,
  type Pointer,
  type SharedAllocator,
  type SharedAllocatorOptions,
} from './allocators/shared-allocator.js';
export { ThreadLocalAllocator } from './allocators/thread-local-allocator.js';
export type { BackendAttachOptions, BackendOptions } from './backends/backend-factory.js';
export {
  type AllocatorFacts,
  AllocatorRecord,
  BACKEND_TYPES,
  type BackendFacts,
  type BackendType,
  type Liveness,
} from './backends/backend-header.js';
export { MemoryBackend } from './backends/memory-backend.js';
export {
  FileBackend,
  type HostRegistrar,
  type NewRegisteredSegment,
  PosixShmBackend,
  RegisteredShmBackend,
  type RegisteredType,
  ShmSegmentBackend,
} from './backends/named-backends.js';
export { ArrayBackend, type CallersMemory, MallocBackend, PosixMmapBackend } from './backends/nameless-backends.js';
export { type AttachOptions, type NewSegment, SegmentBackend, type SegmentOptions } from './backends/segment-backend.js';
export type { SegmentInspection } from './backends/segment-store.js';
export type { LedgerToken, NewLedger } from './budget/ledger-memory.js';
export { SharedLedger } from './budget/shared-ledger.js';
export {
  ALLOCATOR_TYPES,
  type AllocatorsByType,
  type AllocatorTypeName,
  MemoryRegistry,
  memoryRegistry,
  type RegisteredAllocator,
  type SharedAllocatorType,
} from './memory-registry.js';
export type { PageAllocatorInit, PageAllocatorOptions } from './pages/format.js';
export type { ThreadWatch } from './pages/participants.js';
export { type CountedReference, RegionReferences } from './pages/region-references.js';
export { type ListedSegment, listSegments, removeListed, type SegmentUsage } from './segment-list.js';
export { type AllocatorLookup, SharedAllocation, type SharedAllocationToken } from './shared-allocation.js';
export { SharedMemoryDevice } from './shared-memory-device.js';
export { SharedMemoryManager, type SharedMemoryManagerOptions } from './shared-memory-manager.js';
export { type RegionMemory, SharedRegion, WINDOW_BYTES, wordIndex } from './shared-region.js';
export {
  HostThreadModel,
  MainThreadModel,
  registerDeviceThreads,
  registerThreadModel,
  StreamThreadModel,
  type ThreadLocalKey,
  ThreadModel,
  type ThreadModelFactory,
  threadModel,
  threadModelNames,
  WorkerThreadModel,
} from './threads/thread-models.js';
