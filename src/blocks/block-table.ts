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

// A block is a row of 64 bytes: three doubles, then eight integers. Two arrays are views of the same rows: those of a
// block begin at (block << 3) and (block << 4). In "place" lies device * 256 + pool, or -1 for an unused row; in "next"
// the next block in the segment, or, for an unused row, the next unused row.
// The columns' numbers, and -1 for NONE, are written out: V8 inlines a word of up to 27 bytes of bytecode wherever it is
// used, and a named constant takes six of them. With names, allocating and freeing took a twentieth longer.
const ROW_DOUBLES = 8;

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
  #doubles = new Float64Array(INITIAL_CAPACITY * ROW_DOUBLES);
  #integers = new Int32Array(this.#doubles.buffer);
  #unusedRow = -1;
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
    doubles[(block << 3) | /* address */ 0] = address;
    doubles[(block << 3) | /* bytes */ 1] = bytes;
    doubles[(block << 3) | /* requested */ 2] = 0;
    const integers = this.#integers;
    integers[(block << 4) | /* previous */ 6] = -1;
    integers[(block << 4) | /* next */ 7] = -1;
    integers[(block << 4) | /* locks */ 8] = 0;
    integers[(block << 4) | /* place */ 9] = device << 8;
    return block;
  }

  /** Cuts a block in two and returns the second part, which is free and in the same pool. Amortised O(1). */
  split(block: number, bytes: number): number {
    const rest = this.#takeRow();
    const doubles = this.#doubles;
    doubles[(rest << 3) | /* address */ 0] = doubles[(block << 3) | /* address */ 0]! + bytes;
    doubles[(rest << 3) | /* bytes */ 1] = doubles[(block << 3) | /* bytes */ 1]! - bytes;
    doubles[(rest << 3) | /* requested */ 2] = 0;
    doubles[(block << 3) | /* bytes */ 1] = bytes;
    const integers = this.#integers;
    const next = integers[(block << 4) | /* next */ 7]!;
    integers[(rest << 4) | /* previous */ 6] = block;
    integers[(rest << 4) | /* next */ 7] = next;
    integers[(rest << 4) | /* locks */ 8] = 0;
    integers[(rest << 4) | /* place */ 9] = integers[(block << 4) | /* place */ 9]!;
    integers[(block << 4) | /* next */ 7] = rest;
    if (next !== -1) integers[(next << 4) | /* previous */ 6] = rest;
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
    const gone = integers[(block << 4) | /* next */ 7]!;
    const next = integers[(gone << 4) | /* next */ 7]!;
    doubles[(block << 3) | /* bytes */ 1]! += doubles[(gone << 3) | /* bytes */ 1]!;
    integers[(block << 4) | /* next */ 7] = next;
    if (next !== -1) integers[(next << 4) | /* previous */ 6] = block;
    return gone;
  }

  /** Ends a block's existence; its row is used again. Neighbours are not told. */
  remove(block: number): void {
    const integers = this.#integers;
    integers[(block << 4) | /* place */ 9] = -1;
    integers[(block << 4) | /* locks */ 8] = 0;
    integers[(block << 4) | /* next */ 7] = this.#unusedRow;
    this.#unusedRow = block;
    this.#count--;
  }

  exists(block: number): boolean {
    return block < this.#rows && this.#integers[(block << 4) | /* place */ 9] !== -1;
  }

  addressOf(block: number): number {
    return this.#doubles[(block << 3) | /* address */ 0]!;
  }

  bytesOf(block: number): number {
    return this.#doubles[(block << 3) | /* bytes */ 1]!;
  }

  /** The bytes the holder asked for. */
  requestedOf(block: number): number {
    return this.#doubles[(block << 3) | /* requested */ 2]!;
  }

  deviceOf(block: number): number {
    return this.#integers[(block << 4) | /* place */ 9]! >>> 8;
  }

  /** The block before it in its segment, or {@link NONE}. */
  previousOf(block: number): number {
    return this.#integers[(block << 4) | /* previous */ 6]!;
  }

  /** The block behind it in its segment, or {@link NONE}. */
  nextOf(block: number): number {
    return this.#integers[(block << 4) | /* next */ 7]!;
  }

  /** Where a block belongs: `device * 256 + pool`. */
  placeOf(block: number): number {
    return this.#integers[(block << 4) | /* place */ 9]!;
  }

  /** Which of its manager's pools a block is in: 0 to 255. */
  poolOf(block: number): number {
    return this.#integers[(block << 4) | /* place */ 9]! & 255;
  }

  setPool(block: number, pool: number): void {
    const at = (block << 4) | /* place */ 9;
    this.#integers[at] = (this.#integers[at]! & ~255) | pool;
  }

  locksOf(block: number): number {
    return this.#integers[(block << 4) | /* locks */ 8]!;
  }

  setLocks(block: number, locks: number): void {
    this.#integers[(block << 4) | /* locks */ 8] = locks;
  }

  isFree(block: number): boolean {
    return this.#integers[(block << 4) | /* locks */ 8] === 0;
  }

  /** The block before it in its segment if that is free, or {@link NONE}. */
  freePreviousOf(block: number): number {
    const integers = this.#integers;
    const previous = integers[(block << 4) | /* previous */ 6]!;
    return previous !== -1 && integers[(previous << 4) | /* locks */ 8] === 0 ? previous : -1;
  }

  /** The block behind it in its segment if that is free, or {@link NONE}. */
  freeNextOf(block: number): number {
    const integers = this.#integers;
    const next = integers[(block << 4) | /* next */ 7]!;
    return next !== -1 && integers[(next << 4) | /* locks */ 8] === 0 ? next : -1;
  }

  /** True when a block is a segment of its own. */
  isWholeSegment(block: number): boolean {
    return this.previousOf(block) === -1 && this.nextOf(block) === -1;
  }

  /** Hands a free block out. */
  take(block: number, requested: number, locks: number): void {
    this.#doubles[(block << 3) | /* requested */ 2] = requested;
    this.#integers[(block << 4) | /* locks */ 8] = locks;
  }

  /** Tells whether `block` stands before `other` in the order of size, then address. */
  isBefore(block: number, other: number): boolean {
    const doubles = this.#doubles;
    const bytes = doubles[(block << 3) | /* bytes */ 1]!;
    const otherBytes = doubles[(other << 3) | /* bytes */ 1]!;
    if (bytes !== otherBytes) return bytes < otherBytes;
    return doubles[(block << 3) | /* address */ 0]! < doubles[(other << 3) | /* address */ 0]!;
  }

  // What follows belongs to the index that holds a free block: a block is in one index at a time.

  /** The index's link to a block that stands before this one. */
  lowerOf(block: number): number {
    return this.#integers[(block << 4) | /* lower */ 10]!;
  }

  setLower(block: number, lower: number): void {
    this.#integers[(block << 4) | /* lower */ 10] = lower;
  }

  /** The index's link to a block that stands behind this one. */
  higherOf(block: number): number {
    return this.#integers[(block << 4) | /* higher */ 11]!;
  }

  setHigher(block: number, higher: number): void {
    this.#integers[(block << 4) | /* higher */ 11] = higher;
  }

  /** The block above this one in the index's tree. */
  parentOf(block: number): number {
    return this.#integers[(block << 4) | /* parent */ 12]!;
  }

  setParent(block: number, parent: number): void {
    this.#integers[(block << 4) | /* parent */ 12] = parent;
  }

  /** The index's bin that a block is in. */
  binOf(block: number): number {
    return this.#integers[(block << 4) | /* bin */ 13]!;
  }

  setBin(block: number, bin: number): void {
    this.#integers[(block << 4) | /* bin */ 13] = bin;
  }

  /** Puts a block into a bin of the index, between two others or {@link NONE}; they are not told. */
  enterBin(block: number, bin: number, lower: number, higher: number): void {
    const integers = this.#integers;
    integers[(block << 4) | /* bin */ 13] = bin;
    integers[(block << 4) | /* lower */ 10] = lower;
    integers[(block << 4) | /* higher */ 11] = higher;
  }

  /** True when a block has no link to another one of its bin. */
  isUnlinked(block: number): boolean {
    const integers = this.#integers;
    const lower = integers[(block << 4) | /* lower */ 10]!;
    return (lower & integers[(block << 4) | /* higher */ 11]!) === -1;
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
      if (next !== -1) {
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
    if (unused !== -1) {
      this.#unusedRow = this.#integers[(unused << 4) | /* next */ 7]!;
      return unused;
    }
    if (this.#rows === this.#capacity) this.#grow();
    return this.#rows++;
  }

  #grow(): void {
    this.#capacity *= 2;
    this.#doubles = widened(this.#doubles, new Float64Array(this.#capacity * ROW_DOUBLES));
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
