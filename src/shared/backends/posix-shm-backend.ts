import type { BackendType } from './backend-type.js';
import { type AttachOptions, attachSegment, createSegment, type NewSegment } from './segment-backend.js';
import { sharedMemoryStore } from './segment-store.js';
import { ShmSegmentBackend } from './shm-segment-backend.js';

const TYPES: readonly BackendType[] = ['posix-shm', 'cuda-shm', 'hip-shm'];

/**
 * A region in a POSIX shared memory object, mode 0600: for all processes of one user.
 */
export class PosixShmBackend extends ShmSegmentBackend {
  /**
   * Creates the object.
   *
   * @param url - `shm:name`, or the name
   * @throws ERR_MEM_SEGMENT_EXISTS, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_INVALID_ARGUMENT, ERR_MEM_INVALID_SIZE
   * @throws ERR_MEM_NATIVE, ERR_MEM_UNSUPPORTED_PLATFORM on Windows
   */
  static create(url: string, options: NewSegment): PosixShmBackend {
    return new PosixShmBackend(createSegment('posix-shm', sharedMemoryStore(url), options));
  }

  /**
   * Attaches to an object that a PosixShmBackend, or one for a GPU, has created.
   *
   * @throws ERR_MEM_SEGMENT_ABSENT, ERR_MEM_BAD_SEGMENT, ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE
   */
  static attach(url: string, options?: AttachOptions): PosixShmBackend {
    return new PosixShmBackend(attachSegment(sharedMemoryStore(url), TYPES, options));
  }
}
