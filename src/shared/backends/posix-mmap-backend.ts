import { discardPages, pageBytes } from '../../../adapters/os/mapping.js';
import { NativeMemory } from '../../../adapters/os/native-memory.js';
import { mapThreadPages, unmapThreadPages } from '../../../adapters/os/thread-memory.js';
import { alignUp } from '../../core/units.js';
import { HEADER_BYTES } from './backend-header.js';
import { checkRegionBytes, headNewMemory, MemoryBackend, newFacts } from './memory-backend.js';
import { noRoomOr } from './system-error.js';

/** A region of pages mapped for one process; a page takes memory when it is touched first. */
export class PosixMmapBackend extends MemoryBackend {
  /**
   * Maps the pages.
   *
   * @throws ERR_MEM_OUT_OF_MEMORY, ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT, ERR_MEM_UNSUPPORTED_PLATFORM on Windows
   */
  static create(id: number, bytes: number): PosixMmapBackend {
    checkRegionBytes(bytes);
    const mappedBytes = alignUp(bytes + HEADER_BYTES, pageBytes());
    const facts = newFacts('posix-mmap', id, mappedBytes);
    const memory = new NativeMemory(map(mappedBytes), mappedBytes, { empty: discardPages, release: unmapThreadPages });
    return new PosixMmapBackend({ memory, header: headNewMemory(memory, facts), facts, url: `mmap:${id}`, isCreator: true });
  }
}

function map(bytes: number): number {
  try {
    return mapThreadPages(bytes);
  } catch (error) {
    throw noRoomOr(error, bytes, 'what the system promises');
  }
}
