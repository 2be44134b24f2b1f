import { fillBytes } from '../../../adapters/os/bytes.js';
import { discardPages, pageBytes } from '../../../adapters/os/mapping.js';
import { NativeMemory } from '../../../adapters/os/native-memory.js';
import { THREAD_HEAP } from '../../../adapters/os/thread-memory.js';
import { alignUp } from '../../core/units.js';
import { HEADER_BYTES } from './backend-header.js';
import { checkRegionBytes, headNewMemory, MemoryBackend, newFacts } from './memory-backend.js';
import { outOfRoom } from './system-error.js';

/** A region from the C library's heap, for one process. */
export class MallocBackend extends MemoryBackend {
  /**
   * Allocates whole pages.
   *
   * @throws ERR_MEM_OUT_OF_MEMORY, ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT
   */
  static create(id: number, bytes: number): MallocBackend {
    checkRegionBytes(bytes);
    const page = pageBytes();
    const mappedBytes = alignUp(bytes + HEADER_BYTES, page);
    const facts = newFacts('malloc', id, mappedBytes);
    const base = THREAD_HEAP.allocate(mappedBytes, page);
    if (base === 0) throw outOfRoom(bytes, 'what the C library has');
    const memory = new NativeMemory(base, mappedBytes, { empty, release: THREAD_HEAP.free });
    // What the heap gave may hold old bytes.
    empty(base, mappedBytes);
    return new MallocBackend({ memory, header: headNewMemory(memory, facts), facts, url: `malloc:${id}`, isCreator: true });
  }
}

function empty(base: number, bytes: number): void {
  if (process.platform === 'win32') fillBytes(base, 0, bytes);
  else discardPages(base, bytes);
}
