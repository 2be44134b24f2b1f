import { MemoryError } from '../core/errors.js';

/** The manager's own lock. */
export const MANAGER_LOCK = 1;
/** The user's lock. */
export const USER_LOCK = 2;
/** Held while a block's reference count is above 0. */
export const REFERENCE_LOCK = 4;

/** No block. */
export const NONE = -1;

const INITIAL_CAPACITY = 256;

// A block is a row of 56 bytes: three doubles, then eight integers. Both arrays below are views of the same rows.
const DOUBLES = 7;
const ADDRESS = 0;
const BYTES = 1;
const REQUESTED = 2;
const INTEGERS = 14;
const PREVIOUS = 6;
// The next block in the segment, or, for an unused row, the next unused row.
const NEXT = 7;
const LOCKS = 8;
// device * 256 + pool, or UNUSED.
const PLACE = 9;
const LOWER = 10;
const HIGHER = 11;
const PARENT = 12;
const BIN = 13;

const UNUSED = -1;

/**
 * All blocks of a manager: live and free, each a part of a segment and linked to its neighbours there.
 *
 * A block is a small integer; its properties lie in a row of a table, so that blocks cost no objects and
 * one or two cache lines each.
 * `requestedOf(block) <= bytesOf(block)`; a block is live while it has a lock, free otherwise.
 * `addressOf(next) == addressOf(block) + bytesOf(block)` inside a segment.
 */
export class BlockTable {
  #capacity = INITIAL_CAPACITY;
  #doubles = new Float64Array(INITIAL_CAPACITY * DOUBLES);
  #integers = new Int32Array(this.#doubles.buffer);
  #unusedRow = NONE;
  #rows = 0;
  #count = 0;

  /** Blocks that exist. */
  get count(): number {
    return this.#count;
  }

  /** Rows that were ever used: every block is below it. */
  get rows(): number {
    return this.#rows;
  }

  /** Bytes of the table itself. */
  get metadataBytes(): number {
    return this.#doubles.byteLength;
  }

  /** Makes a free block without neighbours. Amortised O(1). */
  create(address: number, bytes: number, device: number): number {
    const block = this.#takeRow();
    const doubles = this.#doubles;
    doubles[block * DOUBLES + ADDRESS] = address;
    doubles[block * DOUBLES + BYTES] = bytes;
    doubles[block * DOUBLES + REQUESTED] = 0;
    const integers = this.#integers;
    integers[block * INTEGERS + PREVIOUS] = NONE;
    integers[block * INTEGERS + NEXT] = NONE;
    integers[block * INTEGERS + LOCKS] = 0;
    integers[block * INTEGERS + PLACE] = device << 8;
    return block;
  }

  /** Cuts a block in two and returns the second part, which is free and in the same pool. Amortised O(1). */
  split(block: number, bytes: number): number {
    const rest = this.#takeRow();
    const doubles = this.#doubles;
    doubles[rest * DOUBLES + ADDRESS] = doubles[block * DOUBLES + ADDRESS]! + bytes;
    doubles[rest * DOUBLES + BYTES] = doubles[block * DOUBLES + BYTES]! - bytes;
    doubles[rest * DOUBLES + REQUESTED] = 0;
    doubles[block * DOUBLES + BYTES] = bytes;
    const integers = this.#integers;
    const next = integers[block * INTEGERS + NEXT]!;
    integers[rest * INTEGERS + PREVIOUS] = block;
    integers[rest * INTEGERS + NEXT] = next;
    integers[rest * INTEGERS + LOCKS] = 0;
    integers[rest * INTEGERS + PLACE] = integers[block * INTEGERS + PLACE]!;
    integers[block * INTEGERS + NEXT] = rest;
    if (next !== NONE) integers[next * INTEGERS + PREVIOUS] = rest;
    return rest;
  }

  /** Joins a block with the one behind it, which ceases to exist. */
  absorbNext(block: number): void {
    this.remove(this.joinNext(block));
  }

  /** Joins a block with the one behind it and returns that one, which the caller is to {@link remove}. */
  joinNext(block: number): number {
    const doubles = this.#doubles;
    const integers = this.#integers;
    const gone = integers[block * INTEGERS + NEXT]!;
    const next = integers[gone * INTEGERS + NEXT]!;
    doubles[block * DOUBLES + BYTES]! += doubles[gone * DOUBLES + BYTES]!;
    integers[block * INTEGERS + NEXT] = next;
    if (next !== NONE) integers[next * INTEGERS + PREVIOUS] = block;
    return gone;
  }

  /** Ends a block's existence; its row is used again. Neighbours are not told. */
  remove(block: number): void {
    const integers = this.#integers;
    integers[block * INTEGERS + PLACE] = UNUSED;
    integers[block * INTEGERS + LOCKS] = 0;
    integers[block * INTEGERS + NEXT] = this.#unusedRow;
    this.#unusedRow = block;
    this.#count--;
  }

  exists(block: number): boolean {
    return block < this.#rows && this.#integers[block * INTEGERS + PLACE] !== UNUSED;
  }

  addressOf(block: number): number {
    return this.#doubles[block * DOUBLES + ADDRESS]!;
  }

  bytesOf(block: number): number {
    return this.#doubles[block * DOUBLES + BYTES]!;
  }

  /** The bytes the holder asked for. */
  requestedOf(block: number): number {
    return this.#doubles[block * DOUBLES + REQUESTED]!;
  }

  deviceOf(block: number): number {
    return this.#integers[block * INTEGERS + PLACE]! >>> 8;
  }

  /** The block before it in its segment, or {@link NONE}. */
  previousOf(block: number): number {
    return this.#integers[block * INTEGERS + PREVIOUS]!;
  }

  /** The block behind it in its segment, or {@link NONE}. */
  nextOf(block: number): number {
    return this.#integers[block * INTEGERS + NEXT]!;
  }

  /** Which of its manager's pools a block is in: 0 to 255. */
  poolOf(block: number): number {
    return this.#integers[block * INTEGERS + PLACE]! & 255;
  }

  setPool(block: number, pool: number): void {
    const at = block * INTEGERS + PLACE;
    this.#integers[at] = (this.#integers[at]! & ~255) | pool;
  }

  locksOf(block: number): number {
    return this.#integers[block * INTEGERS + LOCKS]!;
  }

  setLocks(block: number, locks: number): void {
    this.#integers[block * INTEGERS + LOCKS] = locks;
  }

  isFree(block: number): boolean {
    return this.#integers[block * INTEGERS + LOCKS] === 0;
  }

  /** True when a block is a segment of its own. */
  isWholeSegment(block: number): boolean {
    return this.previousOf(block) === NONE && this.nextOf(block) === NONE;
  }

  /** Hands a free block out. */
  take(block: number, requested: number, locks: number): void {
    this.#doubles[block * DOUBLES + REQUESTED] = requested;
    this.#integers[block * INTEGERS + LOCKS] = locks;
  }

  /** Tells whether `block` stands before `other` in the order of size, then address. */
  isBefore(block: number, other: number): boolean {
    const doubles = this.#doubles;
    const bytes = doubles[block * DOUBLES + BYTES]!;
    const otherBytes = doubles[other * DOUBLES + BYTES]!;
    if (bytes !== otherBytes) return bytes < otherBytes;
    return doubles[block * DOUBLES + ADDRESS]! < doubles[other * DOUBLES + ADDRESS]!;
  }

  // What follows belongs to the index that holds a free block: a block is in one index at a time.

  /** The index's link to a block that stands before this one. */
  lowerOf(block: number): number {
    return this.#integers[block * INTEGERS + LOWER]!;
  }

  setLower(block: number, lower: number): void {
    this.#integers[block * INTEGERS + LOWER] = lower;
  }

  /** The index's link to a block that stands behind this one. */
  higherOf(block: number): number {
    return this.#integers[block * INTEGERS + HIGHER]!;
  }

  setHigher(block: number, higher: number): void {
    this.#integers[block * INTEGERS + HIGHER] = higher;
  }

  /** The block above this one in the index's tree. */
  parentOf(block: number): number {
    return this.#integers[block * INTEGERS + PARENT]!;
  }

  setParent(block: number, parent: number): void {
    this.#integers[block * INTEGERS + PARENT] = parent;
  }

  /** The index's bin that a block is in. */
  binOf(block: number): number {
    return this.#integers[block * INTEGERS + BIN]!;
  }

  setBin(block: number, bin: number): void {
    this.#integers[block * INTEGERS + BIN] = bin;
  }

  /** Every block, in no particular order. */
  *[Symbol.iterator](): IterableIterator<number> {
    for (let block = 0; block < this.#rows; block++) if (this.exists(block)) yield block;
  }

  /**
   * Checks the links of every block, in O(blocks).
   *
   * @throws ERR_MEM_INVARIANT
   */
  checkInvariants(): void {
    let count = 0;
    for (const block of this) {
      count++;
      const next = this.nextOf(block);
      const bytes = this.bytesOf(block);
      if (next !== NONE) {
        ensure(this.exists(next) && this.previousOf(next) === block, `previous(next(${block})) == ${block}`);
        ensure(this.addressOf(next) === this.addressOf(block) + bytes, `block ${next} begins where ${block} ends`);
        ensure(this.deviceOf(next) === this.deviceOf(block), `blocks ${block} and ${next} are on one device`);
      }
      ensure(bytes > 0, `block ${block} has bytes`);
      ensure(this.isFree(block) || this.requestedOf(block) <= bytes, `requested <= bytes of block ${block}`);
    }
    ensure(count === this.#count, `${count} blocks are counted as ${this.#count}`);
  }

  #takeRow(): number {
    this.#count++;
    const unused = this.#unusedRow;
    if (unused !== NONE) {
      this.#unusedRow = this.#integers[unused * INTEGERS + NEXT]!;
      return unused;
    }
    if (this.#rows === this.#capacity) this.#grow();
    return this.#rows++;
  }

  #grow(): void {
    this.#capacity *= 2;
    this.#doubles = widened(this.#doubles, new Float64Array(this.#capacity * DOUBLES));
    this.#integers = new Int32Array(this.#doubles.buffer);
  }
}

/** Copies a column into a larger one. */
export function widened<T extends { set(from: ArrayLike<number>): void } & ArrayLike<number>>(from: T, into: T): T {
  into.set(from);
  return into;
}

/** @throws ERR_MEM_INVARIANT when `holds` is false */
export function ensure(holds: boolean, invariant: string): void {
  if (!holds) throw new MemoryError('ERR_MEM_INVARIANT', { invariant });
}
