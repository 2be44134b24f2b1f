import { addressOf, fillBytes } from '../../../adapters/os/bytes.js';
import { discardPages, pageBytes } from '../../../adapters/os/mapping.js';
import { NativeMemory } from '../../../adapters/os/native-memory.js';
import { nativeView } from '../../../adapters/os/native-view.js';
import { mapThreadPages, THREAD_HEAP, unmapThreadPages } from '../../../adapters/os/thread-memory.js';
import { checkArgument } from '../../core/errors.js';
import { checkBytes, type DevicePtr, devicePtr, GiB } from '../../core/units.js';
import { checkSegment, noRoomOr, outOfRoom } from './backend-errors.js';
import { HEADER_BYTES, readHeader } from './backend-header.js';
import { type BackendMemory, headerOf, headNewMemory, MemoryBackend, mappedBytesFor, newFacts } from './memory-backend.js';

/** Memory that the caller owns. It has to outlive the backend and all arrays over its region. */
export type CallersMemory = ArrayBufferLike | ArrayBufferView | { readonly ptr: DevicePtr; readonly bytes: number };

const ALIGNMENT_BYTES = 8;
const CLEAR_STEP_BYTES = GiB;

/**
 * A region in memory that the caller owns: a buffer, a part of one, or a range of addresses. Over a SharedArrayBuffer, the
 * threads of a process share it: one creates, the others attach to the same buffer.
 */
export class ArrayBackend extends MemoryBackend {
  /**
   * Takes the memory over: clears it, and writes a header of 4 KiB to its start.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT when it is too small or does not start at a multiple of 8
   */
  static create(id: number, memory: CallersMemory): ArrayBackend {
    const callers = callersMemory(memory);
    const facts = newFacts('array', id, callers.bytes);
    for (let offset = 0; offset < callers.bytes; offset += CLEAR_STEP_BYTES) {
      callers.bytesAt(offset, Math.min(CLEAR_STEP_BYTES, callers.bytes - offset)).fill(0);
    }
    return new ArrayBackend(headNewMemory(callers, facts, `array:${id}`));
  }

  /**
   * Uses memory in which a backend was created: by another thread, or earlier.
   *
   * @throws ERR_MEM_BAD_SEGMENT when there is none in it, ERR_MEM_INVALID_ARGUMENT as {@link create}
   */
  static attach(memory: CallersMemory): ArrayBackend {
    const callers = callersMemory(memory);
    const header = headerOf(callers);
    const found = readHeader(header.slice(), callers.bytes);
    const url = `array:${callers.base}`;
    checkSegment(found.kind !== 'damaged', url, 'reason' in found ? found.reason : '');
    checkSegment(found.kind === 'ready', url, 'no backend was created in it');
    checkSegment(found.facts.type === 'array', url, `it is of type ${found.facts.type}, not array`);
    return new ArrayBackend({ memory: callers, header, facts: found.facts, url: `array:${found.facts.id}`, isCreator: false });
  }
}

function callersMemory(memory: CallersMemory): BackendMemory {
  const callers = 'ptr' in memory ? rangeMemory(memory.ptr, memory.bytes) : bufferMemory(memory);
  checkArgument(
    callers.base % ALIGNMENT_BYTES === 0,
    'the memory',
    `starts at ${callers.base}`,
    `a multiple of ${ALIGNMENT_BYTES}`,
  );
  checkArgument(callers.bytes > HEADER_BYTES, 'the memory', `${callers.bytes} bytes`, `more than ${HEADER_BYTES} bytes`);
  return callers;
}

function bufferMemory(memory: ArrayBufferLike | ArrayBufferView): BackendMemory {
  const [buffer, start] = ArrayBuffer.isView(memory) ? [memory.buffer, memory.byteOffset] : [memory, 0];
  return {
    base: devicePtr(addressOf(buffer) + start),
    bytes: memory.byteLength,
    bytesAt: (offset, bytes) => new Uint8Array(buffer, start + offset, bytes),
    retire: () => undefined,
  };
}

function rangeMemory(ptr: DevicePtr, bytes: number): BackendMemory {
  checkBytes(bytes);
  return {
    base: devicePtr(ptr),
    bytes,
    bytesAt: (offset, length) => new Uint8Array(nativeView(ptr + offset, length)),
    retire: () => undefined,
  };
}

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
    return new MallocBackend(headNewMemory(memory, facts, `malloc:${id}`));
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
    return new PosixMmapBackend(headNewMemory(memory, facts, `mmap:${id}`));
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
