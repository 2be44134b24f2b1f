import { type BlockTable, ensure } from './block-table.js';

// Of this module: an imported constant costs a memory read at each use.
const NO_BLOCK = -1;

/** Sizes are told apart in units of it. */
const UNIT_BYTES = 512;
const INT32_LIMIT = 2 ** 31;
// Second level: 32 classes to each power of two; below 32 units each size has its own.
const CLASSES = 32;
const HIGH_SHIFT = 24;
const FIRST_LEVELS = 64;

/**
 * Free blocks by size class, found by good fit: two-level segregated lists with a bit for each class, the last block that
 * came in first. A block that is found wastes less than 1/32 of the bytes asked for, or lies in the next class that is not
 * empty. Every operation: O(1), whatever is in.
 *
 * A block is in one index at most, and keeps its size while it is in.
 *
 * @see Source: Masmano, Ripoll, Crespo, Real: TLSF, a new dynamic memory allocator for real-time systems, 2004
 */
export class TlsfIndex {
  readonly #blocks: BlockTable;
  readonly #heads = new Int32Array(FIRST_LEVELS * CLASSES).fill(NO_BLOCK);
  // Bit c of #filled[l] == class c of level l holds blocks.
  readonly #filled = new Int32Array(FIRST_LEVELS);
  // Bit l & 31 of #filledLevels[l >> 5] == #filled[l] != 0.
  #lowLevels = 0;
  #highLevels = 0;
  #count = 0;

  constructor(blocks: BlockTable) {
    this.#blocks = blocks;
  }

  get count(): number {
    return this.#count;
  }

  /** Bytes of the index itself; the links lie in the block table. */
  get metadataBytes(): number {
    return this.#heads.byteLength + this.#filled.byteLength;
  }

  /** A block of at least `bytes`, or NONE: one of the same class if its first block fits, else of a higher class. */
  findGoodFit(bytes: number): number {
    const bin = binFor(bytes);
    const head = this.#heads[bin]!;
    if (head !== NO_BLOCK && this.#blocks.bytesOf(head) >= bytes) return head;
    let level = bin >>> 5;
    let bits = this.#filled[level]! & (-2 << (bin & 31));
    if (bits === 0) {
      level = this.#levelBehind(level);
      if (level === NO_BLOCK) return NO_BLOCK;
      bits = this.#filled[level]!;
    }
    return this.#heads[CLASSES * level + lowestBit(bits)]!;
  }

  insert(block: number): void {
    const blocks = this.#blocks;
    const bin = binFor(blocks.bytesOf(block));
    const head = this.#heads[bin]!;
    blocks.setLower(block, NO_BLOCK);
    blocks.setHigher(block, head);
    this.#heads[bin] = block;
    this.#count++;
    if (head !== NO_BLOCK) {
      blocks.setLower(head, block);
    } else {
      const level = bin >>> 5;
      this.#filled[level]! |= 1 << (bin & 31);
      if (level < 32) this.#lowLevels |= 1 << level;
      else this.#highLevels |= 1 << (level & 31);
    }
  }

  remove(block: number): void {
    const blocks = this.#blocks;
    const lower = blocks.lowerOf(block);
    const higher = blocks.higherOf(block);
    this.#count--;
    if (higher !== NO_BLOCK) blocks.setLower(higher, lower);
    if (lower !== NO_BLOCK) blocks.setHigher(lower, higher);
    else this.#unhead(binFor(blocks.bytesOf(block)), higher);
  }

  /** The blocks that are in; a copy, so that blocks may be removed meanwhile. */
  toArray(): number[] {
    const found: number[] = [];
    for (const head of this.#heads) {
      for (let block = head; block !== NO_BLOCK; block = this.#blocks.higherOf(block)) found.push(block);
    }
    return found;
  }

  /** Checks lists, classes and bits, in O(n). @throws ERR_MEM_INVARIANT */
  checkInvariants(): void {
    const blocks = this.#blocks;
    let count = 0;
    for (let bin = 0; bin < this.#heads.length; bin++) {
      const level = bin >>> 5;
      const isFilled = ((this.#filled[level]! >>> (bin & 31)) & 1) === 1;
      ensure(isFilled === (this.#heads[bin] !== NO_BLOCK), `the bit of class ${bin} tells whether it holds blocks`);
      const levels = level < 32 ? this.#lowLevels : this.#highLevels;
      ensure(((levels >>> (level & 31)) & 1) === (this.#filled[level] === 0 ? 0 : 1), `the bit of level ${level} tells the same`);
      let lower: number = NO_BLOCK;
      for (let block = this.#heads[bin]!; block !== NO_BLOCK; block = blocks.higherOf(block)) {
        count++;
        ensure(blocks.exists(block) && blocks.isFree(block), `indexed block ${block} is free`);
        ensure(binFor(blocks.bytesOf(block)) === bin, `block ${block} is in the class of its size`);
        ensure(blocks.lowerOf(block) === lower, `block ${block} knows the block before it`);
        lower = block;
      }
    }
    ensure(count === this.#count, `${count} indexed blocks are counted as ${this.#count}`);
  }

  #unhead(bin: number, head: number): void {
    this.#heads[bin] = head;
    if (head !== NO_BLOCK) return;
    const level = bin >>> 5;
    const rest = this.#filled[level]! & ~(1 << (bin & 31));
    this.#filled[level] = rest;
    if (rest !== 0) return;
    if (level < 32) this.#lowLevels &= ~(1 << level);
    else this.#highLevels &= ~(1 << (level & 31));
  }

  /** The next level behind one that holds blocks, or NONE. */
  #levelBehind(level: number): number {
    if (level < 32) {
      const levels = level === 31 ? 0 : this.#lowLevels & (-2 << level);
      if (levels !== 0) return lowestBit(levels);
      return this.#highLevels === 0 ? NO_BLOCK : 32 + lowestBit(this.#highLevels);
    }
    const levels = level === 63 ? 0 : this.#highLevels & (-2 << (level & 31));
    return levels === 0 ? NO_BLOCK : 32 + lowestBit(levels);
  }
}

/** The class of a size; it never falls as sizes rise. */
function binFor(bytes: number): number {
  const units = bytes / UNIT_BYTES;
  if (units < INT32_LIMIT) return lowBinFor(units | 0);
  return CLASSES * HIGH_SHIFT + lowBinFor((units / 2 ** HIGH_SHIFT) | 0);
}

function lowBinFor(units: number): number {
  const shift = Math.max(0, 26 - Math.clz32(units));
  return CLASSES * shift + (units >>> shift);
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}
