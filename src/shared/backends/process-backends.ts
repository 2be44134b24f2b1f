import { fillBytes } from '../../../adapters/os/bytes.js';
import { discardPages, pageBytes } from '../../../adapters/os/mapping.js';
import { NativeMemory } from '../../../adapters/os/native-memory.js';
import { mapThreadPages, THREAD_HEAP, unmapThreadPages } from '../../../adapters/os/thread-memory.js';
import { noRoomOr, outOfRoom } from './backend-errors.js';
import { headNewMemory, MemoryBackend, mappedBytesFor, newFacts } from './memory-backend.js';

/** A region from the C library's heap, for one process. */
export class MallocBackend extends MemoryBackend {
  /**
   * Allocates whole pages.
   *
   * @throws ERR_MEM_OUT_OF_MEMORY, ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT
   */
  static create(id: number, bytes: number): MallocBackend {
    const mappedBytes = mappedBytesFor(bytes);
    const facts = newFacts('malloc', id, mappedBytes);
    const base = THREAD_HEAP.allocate(mappedBytes, pageBytes());
    if (base === 0) throw outOfRoom(bytes, 'what the C library has');
    const memory = new NativeMemory(base, mappedBytes, { empty, release: THREAD_HEAP.free });
    // What the heap gave may hold old bytes.
    empty(base, mappedBytes);
    return new MallocBackend({ memory, header: headNewMemory(memory, facts), facts, url: `malloc:${id}`, isCreator: true });
  }
}

/** A region of pages mapped for one process; a page takes memory when it is touched first. */
export class PosixMmapBackend extends MemoryBackend {
  /**
   * Maps the pages.
   *
   * @throws ERR_MEM_OUT_OF_MEMORY, ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT, ERR_MEM_UNSUPPORTED_PLATFORM on Windows
   */
  static create(id: number, bytes: number): PosixMmapBackend {
    const mappedBytes = mappedBytesFor(bytes);
    const facts = newFacts('posix-mmap', id, mappedBytes);
    const memory = new NativeMemory(map(mappedBytes), mappedBytes, { empty: discardPages, release: unmapThreadPages });
    return new PosixMmapBackend({ memory, header: headNewMemory(memory, facts), facts, url: `mmap:${id}`, isCreator: true });
  }
}

function empty(base: number, bytes: number): void {
  if (process.platform === 'win32') fillBytes(base, 0, bytes);
  else discardPages(base, bytes);
}

function map(bytes: number): number {
  try {
    return mapThreadPages(bytes);
  } catch (error) {
    throw noRoomOr(error, bytes, 'what the system promises');
  }
}
