import { addressOf } from '../../../adapters/os/bytes.js';
import { nativeView } from '../../../adapters/os/native-view.js';
import { checkArgument } from '../../core/errors.js';
import { checkBytes, type DevicePtr, devicePtr, GiB } from '../../core/units.js';
import { checkSegment } from './backend-errors.js';
import { HEADER_BYTES, readHeader } from './backend-header.js';
import { type BackendMemory, headerOf, headNewMemory, MemoryBackend, newFacts } from './memory-backend.js';

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
    return new ArrayBackend({
      memory: callers,
      header: headNewMemory(callers, facts),
      facts,
      url: `array:${id}`,
      isCreator: true,
    });
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
