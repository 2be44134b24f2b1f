import { attempt, orUndo, unlessRefused } from '../../../src/core/attempt.js';
import { MemoryError } from '../../../src/core/errors.js';
import type { ManagerSlot } from '../../../src/core/manager-slot.js';
import { checkBytes, type DevicePtr, KiB, NULL_PTR } from '../../../src/core/units.js';
import type { CNumber } from '../../ffi/callback.js';
import { addressOf, fillBytes, moveBytes } from '../../os/bytes.js';
import { lazy } from '../../os/libc.js';
import type { AlignedBlocks } from '../aligned-blocks.js';
import type { GivenUpBlocks } from '../given-up-blocks.js';

/** What `max_align_t` needs on every platform that Node runs on. */
export const C_ALIGNMENT = 16;
/** A block that shrinks is moved when more than half of it and at least this much would lie idle. */
const WORTH_MOVING_BYTES = 4 * KiB;

/** What a {@link CHeap} is made of. */
export interface CHeapOptions {
  readonly slot: ManagerSlot;
  /** Allocates the slot's blocks. */
  readonly blocks: AlignedBlocks;
  /** Frees them. */
  readonly givenUp: GivenUpBlocks;
  /** Whether each block's requested size stands in memory before it. */
  readonly sizeHeader: boolean;
  /** Makes the error for a request that no memory could serve. */
  readonly outOfMemory: (requestedBytes: number) => MemoryError;
}

/**
 * C's allocation functions over a manager's slot, for memory that this process can touch. They throw; what C is told
 * is the host's matter. A throw leaves every block as it was.
 *
 * A block goes back to the manager that made it, whichever is active.
 */
export class CHeap {
  readonly #slot: ManagerSlot;
  readonly #blocks: AlignedBlocks;
  readonly #givenUp: GivenUpBlocks;
  readonly #headerBytes: number;
  readonly #outOfMemory: (requestedBytes: number) => MemoryError;

  constructor(options: CHeapOptions) {
    this.#slot = options.slot;
    this.#blocks = options.blocks;
    this.#givenUp = options.givenUp;
    this.#headerBytes = options.sizeHeader ? HEADER_BYTES : 0;
    this.#outOfMemory = options.outOfMemory;
  }

  /**
   * Allocates a block, also for 0 bytes: C takes null for "no memory".
   *
   * @returns a multiple of 16
   * @throws as {@link ManagerSlot.alloc}; ERR_MEM_OUT_OF_MEMORY for a size above 2^53
   */
  malloc(bytes: CNumber): DevicePtr {
    const size = this.#checkSize(bytes);
    const base = this.#blocks.alloc(Math.max(1, size + this.#headerBytes), C_ALIGNMENT);
    if (this.#headerBytes > 0) writeHeader(base, size);
    return (base + this.#headerBytes) as DevicePtr;
  }

  /** Allocates an array of zeros. @throws as {@link malloc}; ERR_MEM_OUT_OF_MEMORY when the product is no size */
  calloc(count: CNumber, elementBytes: CNumber): DevicePtr {
    const bytes = Number(count) * Number(elementBytes);
    const ptr = this.malloc(bytes);
    if (bytes > 0) fillBytes(ptr, 0, bytes);
    return ptr;
  }

  /**
   * Changes the size of a block: where it lies when it is large enough, else by alloc, copy and free.
   * Making it smaller never fails when memory is out.
   *
   * @param ptr - null allocates
   * @param bytes - 0 frees and gives null, as in glibc
   * @throws as {@link malloc} and {@link free}; ERR_MEM_CORRUPTED when the size header was overwritten
   */
  realloc(ptr: CNumber, bytes: CNumber): DevicePtr {
    if (ptr === 0) return this.malloc(bytes);
    if (bytes === 0) {
      this.free(ptr);
      return NULL_PTR;
    }
    const capacity = this.#capacityOf(ptr);
    const held = this.#sizeOf(ptr as DevicePtr, capacity);
    const size = this.#checkSize(bytes);
    if (size > capacity) return this.#move(ptr as DevicePtr, size, held);
    if (capacity - size > size && capacity - size >= WORTH_MOVING_BYTES) {
      const moved = unlessRefused(isOutOfMemory, () => this.#move(ptr as DevicePtr, size, size));
      if (moved !== undefined) return moved;
    }
    if (this.#headerBytes > 0) writeHeader(Number(ptr) - this.#headerBytes, size);
    return ptr as DevicePtr;
  }

  /**
   * Gives a block back; does nothing for null. One that the device refuses is tried again at later frees.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_DOUBLE_FREE, and what the device throws
   */
  free(ptr: CNumber): void {
    if (ptr === 0) return;
    const base = this.#baseOf(ptr);
    try {
      this.#givenUp.free(base);
    } catch (error) {
      throw namingPointer(error, base, Number(ptr));
    }
  }

  /** Tells whether `ptr` heads a live block of this heap. */
  owns(ptr: CNumber): boolean {
    return typeof ptr === 'number' && ptr > this.#headerBytes && this.#slot.allocated((ptr - this.#headerBytes) as DevicePtr) > 0;
  }

  /**
   * The bytes that a block's user may touch: as requested with a size header, else those of the manager's block.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_CORRUPTED
   */
  sizeOf(ptr: CNumber): number {
    return this.#sizeOf(ptr as DevicePtr, this.#capacityOf(ptr));
  }

  #move(ptr: DevicePtr, bytes: number, copiedBytes: number): DevicePtr {
    const moved = this.malloc(bytes);
    moveBytes(moved, ptr, Math.min(copiedBytes, bytes));
    orUndo(
      () => this.free(ptr),
      () => {
        this.#givenUp.forget(this.#baseOf(ptr));
        attempt(() => this.free(moved));
      },
    );
    return moved;
  }

  #sizeOf(ptr: DevicePtr, capacity: number): number {
    return this.#headerBytes > 0 ? readHeader(ptr - this.#headerBytes, capacity) : capacity;
  }

  /** The bytes of the manager's block behind the header. Asked before the header is read: only live blocks have one. */
  #capacityOf(ptr: CNumber): number {
    const block = this.#slot.allocated(this.#baseOf(ptr));
    if (block === 0) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: Number(ptr) });
    return block - this.#headerBytes;
  }

  #baseOf(ptr: CNumber): DevicePtr {
    // A BigInt is an address above 2^53: none of ours.
    if (typeof ptr === 'bigint' || ptr <= this.#headerBytes) {
      throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: Number(ptr) });
    }
    return (ptr - this.#headerBytes) as DevicePtr;
  }

  #checkSize(bytes: CNumber): number {
    if (typeof bytes === 'number' && bytes <= Number.MAX_SAFE_INTEGER - HEADER_BYTES) {
      checkBytes(bytes);
      return bytes;
    }
    throw this.#outOfMemory(Number(bytes));
  }
}

const isOutOfMemory = (error: unknown) => MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY');

/** Gives a manager's refusal the pointer that C knows, instead of the block's. */
function namingPointer(error: unknown, base: DevicePtr, pointer: number): unknown {
  for (const code of ['ERR_MEM_UNKNOWN_POINTER', 'ERR_MEM_DOUBLE_FREE'] as const) {
    if (MemoryError.is(error, code) && error.facts.pointer === base) return new MemoryError(code, { pointer }, error);
  }
  return error;
}

/** Bytes before each C block: as many as its alignment, so that what follows is aligned, too. */
const HEADER_BYTES = 16;

const WORD = 2 ** 32;
/** "STOW". */
const MARK = 0x574f5453;

// Copied by the C library: a view of a block would keep its segment from ever going back there. From and to an address: for an
// array such a call takes 20 ns more.
const words = new Uint32Array(new ArrayBuffer(HEADER_BYTES));
const wordsAddress = lazy(() => addressOf(words.buffer));

/** Writes the requested size of a block: a 64-bit integer, its low word inverted, and a mark. Cost: one native call. */
function writeHeader(base: number, bytes: number): void {
  words[0] = bytes;
  words[1] = bytes / WORD;
  words[2] = ~bytes;
  words[3] = MARK;
  moveBytes(base, wordsAddress(), HEADER_BYTES);
}

/**
 * Reads the requested size of a live block. Cost: one native call.
 *
 * @param capacity - bytes behind the header, for the error
 * @throws ERR_MEM_CORRUPTED when something wrote over the header: this block's user before its start, or another's behind its end
 */
function readHeader(base: number, capacity: number): number {
  moveBytes(wordsAddress(), base, HEADER_BYTES);
  const [low = 0, high = 0, inverted = 0, mark = 0] = words;
  const size = high * WORD + low;
  if (mark === MARK && inverted === ~low >>> 0 && size <= capacity) return size;
  throw new MemoryError('ERR_MEM_CORRUPTED', {
    pointer: base + HEADER_BYTES,
    bytes: capacity,
    side: 'before',
    offsetBytes: -HEADER_BYTES,
    damagedBytes: HEADER_BYTES,
  });
}
