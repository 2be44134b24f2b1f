export type { ProcessIdentity, ProcessSpace } from '../../adapters/os/process-identity.js';
export type { AllocatorFacts } from './backends/allocator-record.js';
export { AllocatorRecord } from './backends/allocator-record.js';
export { ArrayBackend, type CallersMemory } from './backends/array-backend.js';
export type { BackendOptions } from './backends/backend-factory.js';
export type { BackendFacts, Liveness } from './backends/backend-header.js';
export { BACKEND_TYPES, type BackendType } from './backends/backend-type.js';
export { CudaShmBackend } from './backends/cuda-shm-backend.js';
export { FileBackend } from './backends/file-backend.js';
export { HipShmBackend } from './backends/hip-shm-backend.js';
export { MallocBackend } from './backends/malloc-backend.js';
export { MemoryBackend } from './backends/memory-backend.js';
export { PosixMmapBackend } from './backends/posix-mmap-backend.js';
export { PosixShmBackend } from './backends/posix-shm-backend.js';
export { type HostRegistrar, type NewRegisteredSegment, RegisteredShmBackend } from './backends/registered-shm-backend.js';
export { type NewSegment, SegmentBackend, type SegmentOptions } from './backends/segment-backend.js';
export type { SegmentInspection } from './backends/segment-file.js';
export { ShmSegmentBackend } from './backends/shm-segment-backend.js';
export { type ListedSegment, listSegments, removeListed } from './segment-list.js';
export { type RegionMemory, SharedRegion, WINDOW_BYTES, wordIndex } from './shared-region.js';
export { HostThreadModel, MainThreadModel, WorkerThreadModel } from './threads/host-thread-model.js';
export { StreamThreadModel } from './threads/stream-thread-model.js';
export { type ThreadLocalKey, ThreadModel } from './threads/thread-model.js';
export {
  registerDeviceThreads,
  registerThreadModel,
  type ThreadModelFactory,
  threadModel,
  threadModelNames,
} from './threads/thread-models.js';
