import { checkRange, checkUsable } from '../core/errors.js';
import { INSPECT, inspected } from '../core/inspect.js';
import { type DevicePtr, formatBytes, GiB } from '../core/units.js';

/** What one window of a region spans: a typed array over native memory cannot span more. */
export const WINDOW_BYTES = 4 * GiB;
const WORD_BYTES = 4;
const WORD = 2 ** 32;

/** What a region lies in. */
export interface RegionMemory {
  /** Its address in this process. */
  readonly base: DevicePtr;
  readonly bytes: number;
  /** Gives a part as bytes, without a copy. The array stays safe to touch whatever becomes of the memory. */
  bytesAt(offset: number, bytes: number): Uint8Array;
}

/**
 * The part of a backend's memory that allocators use: a range that starts at another address in every process, so that
 * all that is kept in it are offsets, from 0 to `bytes`.
 *
 * Arrays over it work with Atomics, between threads and between processes. One array spans 4 GiB at most; the first
 * window is `int32` and `uint8`, and a word at any offset is `words(offset)[wordIndex(offset)]`. Allocators that keep
 * what they write most in the first window need nothing else.
 *
 * When the backend is detached, `closed` becomes true and arrays taken earlier show zeros.
 */
export class SharedRegion {
  /** Its address in this process: at a multiple of 4096, less where the caller owns the memory. */
  readonly base: DevicePtr;
  readonly bytes: number;
  /** The first 4 GiB as words. */
  readonly int32: Int32Array;
  /** The first 4 GiB as bytes. */
  readonly uint8: Uint8Array;
  readonly #windows: (Int32Array | undefined)[];
  #closed = false;

  /** @param memory - starts at a multiple of 8 */
  constructor(protected readonly memory: RegionMemory) {
    this.base = memory.base;
    this.bytes = memory.bytes;
    this.uint8 = memory.bytesAt(0, Math.min(memory.bytes, WINDOW_BYTES));
    this.int32 = wordsOf(this.uint8);
    this.#windows = [this.int32];
  }

  /** Whether its backend was detached. */
  get closed(): boolean {
    return this.#closed;
  }

  /** The window that holds the word at `offset`. Nothing is checked but the region's end. @throws ERR_MEM_OUT_OF_RANGE */
  words(offset: number): Int32Array {
    const index = Math.floor(offset / WINDOW_BYTES);
    return this.#windows[index] ?? this.#openWindow(index);
  }

  /**
   * Gives a part of the region as bytes, without a copy. Cost: an array; across a border of 4 GiB a view more.
   *
   * @throws ERR_MEM_OUT_OF_RANGE, ERR_MEM_DISPOSED, ERR_MEM_INVALID_ARGUMENT above 4 GiB
   */
  view(offset: number, bytes: number): Uint8Array {
    this.checkOpen();
    checkRange(offset, bytes, this.bytes);
    if (bytes === 0) return new Uint8Array(0);
    const first = Math.floor(offset / WINDOW_BYTES);
    if (Math.floor((offset + bytes - 1) / WINDOW_BYTES) !== first) return this.memory.bytesAt(offset, bytes);
    const { buffer, byteOffset } = this.words(offset);
    return new Uint8Array(buffer, byteOffset + (offset - first * WINDOW_BYTES), bytes);
  }

  /** Throws once the backend was detached. @throws ERR_MEM_DISPOSED */
  checkOpen(): void {
    checkUsable(!this.#closed, 'shared region');
  }

  /** `SharedRegion { 0x7f12c0000000, 64.00 MiB }`, `SharedRegion { closed }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => (this.#closed ? ['closed'] : [`0x${this.base.toString(16)}`, formatBytes(this.bytes)]));
  }

  /** Marks it closed: for its backend. @internal */
  close(): void {
    this.#closed = true;
  }

  #openWindow(index: number): Int32Array {
    const start = index * WINDOW_BYTES;
    checkRange(start, WORD_BYTES, this.bytes);
    this.checkOpen();
    const window = wordsOf(this.memory.bytesAt(start, Math.min(this.bytes - start, WINDOW_BYTES)));
    this.#windows[index] = window;
    return window;
  }
}

/** The index of the word at `offset` in its window. @param offset - a multiple of 4 */
export function wordIndex(offset: number): number {
  return (offset % WINDOW_BYTES) / WORD_BYTES;
}

/** Reads a number of up to 53 bits, or -1, from two words. Not atomic. */
export function loadWide(words: Int32Array, index: number): number {
  return ((words[index] as number) >>> 0) + (words[index + 1] as number) * WORD;
}

/** Writes an integer of up to 53 bits, or -1, to two words. Not atomic. */
export function storeWide(words: Int32Array, index: number, value: number): void {
  words[index] = value | 0;
  words[index + 1] = Math.floor(value / WORD);
}

function wordsOf(bytes: Uint8Array): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.length / WORD_BYTES));
}
