import { checkArgument, MemoryError } from '../../src/core/errors.js';
import type { BufferPart } from '../../src/core/typed-array.js';
import { GiB } from '../../src/core/units.js';
import { koffi } from '../ffi/koffi.js';

/** The most that one view spans: a byte more aborts the process. Measured with koffi 3.3.4 on Node 20.20. */
const MAX_VIEW_BYTES = 4 * GiB;

/**
 * Gives native memory as a buffer, without a copy. Atomics on its arrays are real, also between processes; only
 * `Atomics.wait` refuses them. Nothing keeps the memory mapped: touching it afterwards ends the process.
 *
 * Cost: 1 us to some ms, because V8 counts the bytes as its own; make one for each range and slice it.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT above 4 GiB
 * @throws ERR_MEM_UNSUPPORTED_PLATFORM where V8 forbids buffers over memory that is not its own, as in Electron
 */
export function nativeView(address: number, bytes: number): ArrayBuffer {
  checkArgument(bytes <= MAX_VIEW_BYTES, 'bytes', bytes, 'at most 4 GiB in one view');
  try {
    return koffi().view(address, bytes);
  } catch (error) {
    if (!(error instanceof Error) || !/external buffers/i.test(error.message)) throw error;
    const facts = { what: 'a view of native memory', platform: 'a runtime that forbids external buffers' };
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', facts, error);
  }
}

// Windows overlap by half: a range of up to 2 GiB lies in one of them wherever it starts.
const WINDOW_STEP_BYTES = MAX_VIEW_BYTES / 2;

/**
 * Shows parts of a range of any size. A view of native memory spans 4 GiB at most and costs up to some ms, so a
 * few large ones are made once and sliced.
 */
export class ViewWindows {
  readonly #windows: (ArrayBufferLike | undefined)[] = [];

  /** @param make - makes a buffer over a part, with {@link nativeView} */
  constructor(
    readonly bytes: number,
    readonly make: (offset: number, bytes: number) => ArrayBufferLike,
  ) {}

  /**
   * Tells where a part of the range lies in a buffer. Cost: a small object, once the window was made.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT above 4 GiB
   */
  at(offset: number, bytes: number): BufferPart {
    const window = this.bytes <= MAX_VIEW_BYTES ? 0 : Math.floor(offset / WINDOW_STEP_BYTES);
    const start = window * WINDOW_STEP_BYTES;
    const end = Math.min(start + MAX_VIEW_BYTES, this.bytes);
    if (offset + bytes > end) return { buffer: this.make(offset, bytes), byteOffset: 0 };
    const buffer = (this.#windows[window] ??= this.make(start, end - start));
    return { buffer, byteOffset: offset - start };
  }

  /** Lets go of the windows. */
  clear(): void {
    this.#windows.length = 0;
  }
}
