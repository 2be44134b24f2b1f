import { type BlockTable, ensure, NONE } from './block-table.js';
import { bestFitInTree, checkTree, insertIntoTree, lowestOf, removeFromTree, successorOf } from './block-tree.js';

// A constant of the module's own: an imported one costs a memory read at each use.
const NO_BLOCK: number = NONE;

// Bins of sizes: the position of the highest binary digit and the five digits behind it; below 64 each size has its own.
const HIGH_SHIFT = 24;
const BINS = 1600;
const WORDS = BINS / 32;
/** Steps along the list of a bin after which it becomes a tree. */
const LONG_WALK = 16;

/**
 * Free blocks in the order of size, then address: exact best fit.
 *
 * Blocks lie in bins by size, 32 to each power of two; bits tell which bins hold any. A bin is a sorted list, which
 * turns into a tree when a walk along it was long, until it is empty. Every operation: O(log n), O(1) while bins are short.
 *
 * A block is in one index at most. While it is in, its size and address change only in step with {@link replace}.
 */
export class FreeBlockIndex {
  readonly #blocks: BlockTable;
  // Of a bin: the first block of its list, treeOf(root of its tree), or NONE.
  readonly #heads = new Int32Array(BINS).fill(NO_BLOCK);
  // Bit b of #filled[w] == bin 32 * w + b holds blocks; bit w of #filledWords[g] == #filled[32 * g + w] != 0.
  readonly #filled = new Int32Array(WORDS);
  readonly #filledWords = new Int32Array(2);
  #count = 0;

  constructor(blocks: BlockTable) {
    this.#blocks = blocks;
  }

  get count(): number {
    return this.#count;
  }

  /** Bytes of the index itself; the links lie in the block table. */
  get metadataBytes(): number {
    return this.#heads.byteLength + this.#filled.byteLength + this.#filledWords.byteLength;
  }

  /** The smallest block of at least `bytes`, at the lowest address among equals, or {@link NONE}. */
  findBestFit(bytes: number): number {
    const bin = binFor(bytes);
    const head = this.#heads[bin]!;
    if (head !== NO_BLOCK) {
      const fit = this.#bestFitIn(bin, head, bytes);
      if (fit !== NO_BLOCK) return fit;
    }
    return this.#lowestBehind(bin);
  }

  /**
   * Removes the block that {@link findBestFit} finds, and returns it. Cheaper than both in turn: as a rule it is the only
   * one of its bin.
   */
  takeBestFit(bytes: number): number {
    const bin = binFor(bytes);
    const head = this.#heads[bin]!;
    if (head !== NO_BLOCK) {
      const fit = this.#bestFitIn(bin, head, bytes);
      if (fit !== NO_BLOCK) {
        this.remove(fit);
        return fit;
      }
    }
    let word = bin >>> 5;
    let bits = this.#filled[word]! & (-2 << bin);
    if (bits === 0) {
      word = this.#filledWordBehind(word);
      if (word === WORDS) return NO_BLOCK;
      bits = this.#filled[word]!;
    }
    const bit = bits & -bits;
    const found = (word << 5) + 31 - Math.clz32(bit);
    const block = this.#heads[found]!;
    if (block < 0 || this.#blocks.higherOf(block) !== NO_BLOCK) return this.#takeLowestOf(found);
    this.#count--;
    this.#heads[found] = NO_BLOCK;
    const left = this.#filled[word]! ^ bit;
    this.#filled[word] = left;
    if (left === 0) this.#filledWords[word >>> 5]! ^= 1 << word;
    return block;
  }

  insert(block: number): void {
    const blocks = this.#blocks;
    const bin = binFor(blocks.bytesOf(block));
    const head = this.#heads[bin]!;
    this.#count++;
    if (head !== NO_BLOCK) {
      this.#join(block, bin, head);
      return;
    }
    blocks.enterBin(block, bin, NO_BLOCK, NO_BLOCK);
    this.#heads[bin] = block;
    const word = bin >>> 5;
    this.#filled[word]! |= 1 << bin;
    this.#filledWords[word >>> 5]! |= 1 << word;
  }

  remove(block: number): void {
    const bin = this.#blocks.binOf(block);
    this.#count--;
    if (this.#blocks.isUnlinked(block) && this.#heads[bin] === block) this.#clear(bin);
    else this.#leave(block, bin);
  }

  /**
   * Puts `block` in the place of `old`, which may be the same block with another size or address than when it came in.
   * Cheaper than removing and inserting where the order allows it; that is rare with sizes that change by much.
   */
  replace(old: number, block: number): void {
    const blocks = this.#blocks;
    const bin = blocks.binOf(old);
    if (!isTree(this.#heads[bin]!) && binFor(blocks.bytesOf(block)) === bin) {
      const lower = blocks.lowerOf(old);
      const higher = blocks.higherOf(old);
      if ((lower === NO_BLOCK || blocks.isBefore(lower, block)) && (higher === NO_BLOCK || blocks.isBefore(block, higher))) {
        if (old !== block) this.#link(block, bin, lower, higher);
        return;
      }
    }
    this.remove(old);
    this.insert(block);
  }

  /** The first block in the order, or {@link NONE}. */
  first(): number {
    return this.#filled[0]! & 1 ? this.#lowestIn(0) : this.#lowestBehind(0);
  }

  /** The block behind another one in the order, or {@link NONE}. */
  after(block: number): number {
    const bin = this.#blocks.binOf(block);
    const next = isTree(this.#heads[bin]!) ? successorOf(this.#blocks, block) : this.#blocks.higherOf(block);
    return next === NO_BLOCK ? this.#lowestBehind(bin) : next;
  }

  /** Checks order, bins and bits, in O(n). @throws ERR_MEM_INVARIANT */
  checkInvariants(): void {
    const blocks = this.#blocks;
    let count = 0;
    for (let block = this.first(); block !== NO_BLOCK; block = this.after(block)) {
      count++;
      const next = this.after(block);
      ensure(blocks.exists(block) && blocks.isFree(block), `indexed block ${block} is free`);
      ensure(blocks.binOf(block) === binFor(blocks.bytesOf(block)), `block ${block} is in the bin of its size`);
      ensure(next === NO_BLOCK || blocks.isBefore(block, next), `block ${block} stands before block ${next}`);
    }
    ensure(count === this.#count, `${count} indexed blocks are counted as ${this.#count}`);
    for (let bin = 0; bin < BINS; bin++) {
      const isFilled = ((this.#filled[bin >>> 5]! >>> (bin & 31)) & 1) === 1;
      ensure(isFilled === (this.#heads[bin] !== NO_BLOCK), `the bit of bin ${bin} tells whether it holds blocks`);
      if (isTree(this.#heads[bin]!)) checkTree(blocks, treeOf(this.#heads[bin]!));
    }
  }

  /** The best fit in a bin that is not empty, or {@link NONE}. */
  #bestFitIn(bin: number, head: number, bytes: number): number {
    const blocks = this.#blocks;
    if (isTree(head)) return bestFitInTree(blocks, treeOf(head), bytes);
    let at = head;
    let steps = 0;
    while (at !== NO_BLOCK && blocks.bytesOf(at) < bytes) {
      at = blocks.higherOf(at);
      steps++;
    }
    if (steps > LONG_WALK) this.#becomeTree(bin);
    return at;
  }

  /** Inserts a block into a bin that is not empty. */
  #join(block: number, bin: number, head: number): void {
    const blocks = this.#blocks;
    if (isTree(head)) {
      blocks.enterBin(block, bin, NO_BLOCK, NO_BLOCK);
      this.#heads[bin] = treeOf(insertIntoTree(blocks, treeOf(head), block));
      return;
    }
    let lower = NO_BLOCK;
    let higher = head;
    let steps = 0;
    while (higher !== NO_BLOCK && blocks.isBefore(higher, block)) {
      lower = higher;
      higher = blocks.higherOf(higher);
      steps++;
    }
    this.#link(block, bin, lower, higher);
    if (steps > LONG_WALK) this.#becomeTree(bin);
  }

  #link(block: number, bin: number, lower: number, higher: number): void {
    const blocks = this.#blocks;
    blocks.enterBin(block, bin, lower, higher);
    if (higher !== NO_BLOCK) blocks.setLower(higher, block);
    if (lower !== NO_BLOCK) blocks.setHigher(lower, block);
    else this.#heads[bin] = block;
  }

  /** Removes a block from a bin that is in a tree or not alone. */
  #leave(block: number, bin: number): void {
    const blocks = this.#blocks;
    const head = this.#heads[bin]!;
    if (isTree(head)) {
      const root = removeFromTree(blocks, treeOf(head), block);
      if (root === NO_BLOCK) this.#clear(bin);
      else this.#heads[bin] = treeOf(root);
      return;
    }
    const lower = blocks.lowerOf(block);
    const higher = blocks.higherOf(block);
    if (higher !== NO_BLOCK) blocks.setLower(higher, lower);
    if (lower !== NO_BLOCK) blocks.setHigher(lower, higher);
    else this.#heads[bin] = higher;
  }

  #becomeTree(bin: number): void {
    let root = NO_BLOCK;
    for (let block = this.#heads[bin]!; block !== NO_BLOCK; ) {
      const next = this.#blocks.higherOf(block);
      root = insertIntoTree(this.#blocks, root, block);
      block = next;
    }
    this.#heads[bin] = treeOf(root);
  }

  #clear(bin: number): void {
    const word = bin >>> 5;
    const bits = this.#filled[word]! & ~(1 << bin);
    this.#heads[bin] = NO_BLOCK;
    this.#filled[word] = bits;
    if (bits === 0) this.#filledWords[word >>> 5]! &= ~(1 << word);
  }

  #takeLowestOf(bin: number): number {
    const block = this.#lowestIn(bin);
    this.remove(block);
    return block;
  }

  #lowestIn(bin: number): number {
    const head = this.#heads[bin]!;
    return isTree(head) ? lowestOf(this.#blocks, treeOf(head)) : head;
  }

  /** The lowest block of all bins behind one, or {@link NONE}. */
  #lowestBehind(bin: number): number {
    let word = bin >>> 5;
    let bits = this.#filled[word]! & (-2 << bin);
    if (bits === 0) {
      word = this.#filledWordBehind(word);
      if (word === WORDS) return NO_BLOCK;
      bits = this.#filled[word]!;
    }
    const head = this.#heads[(word << 5) + 31 - Math.clz32(bits & -bits)]!;
    return head >= 0 ? head : lowestOf(this.#blocks, treeOf(head));
  }

  /** The next word behind one that has bits, or WORDS. */
  #filledWordBehind(word: number): number {
    const words = this.#filledWords[word >>> 5]! & (-2 << word);
    if (words !== 0) return (word & 32) + lowestBit(words);
    const high = word < 32 ? this.#filledWords[1]! : 0;
    return high === 0 ? WORDS : 32 + lowestBit(high);
  }
}

/** Tells whether a bin's head is the root of a tree. */
function isTree(head: number): boolean {
  return head < NO_BLOCK;
}

/** Turns a root into a bin's head, and back. */
function treeOf(root: number): number {
  return -2 - root;
}

/** The bin of a size; it never falls as sizes rise. */
function binFor(bytes: number): number {
  return bytes < 2147483648 ? lowBinFor(bytes) : 32 * HIGH_SHIFT + lowBinFor(bytes / 2 ** HIGH_SHIFT);
}

/** @param bytes - below 2^31, where the bitwise operators work on it; a fraction is dropped */
function lowBinFor(bytes: number): number {
  const shift = 26 - Math.clz32(bytes | 32);
  return (shift << 5) + (bytes >>> shift);
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}
