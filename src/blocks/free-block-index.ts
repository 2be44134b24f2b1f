import { type BlockTable, ensure, NONE } from './block-table.js';
import { bestFitIn, checkTree, insertIntoTree, lowestOf, removeFromTree, successorOf } from './block-tree.js';

// Bins of sizes: the position of the highest binary digit and the five digits behind it; below 64 each size has its own.
const INT32_LIMIT = 2 ** 31;
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
  // The first block of a list, the root of a tree.
  readonly #heads = new Int32Array(BINS).fill(NONE);
  readonly #isTree = new Uint8Array(BINS);
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
    return this.#heads.byteLength + this.#isTree.byteLength + this.#filled.byteLength + this.#filledWords.byteLength;
  }

  /** The smallest block of at least `bytes`, at the lowest address among equals, or {@link NONE}. */
  findBestFit(bytes: number): number {
    const bin = binFor(bytes);
    const head = this.#heads[bin]!;
    if (head !== NONE) {
      const fit = this.#isTree[bin] === 1 ? bestFitIn(this.#blocks, head, bytes) : this.#walkTo(bytes, bin, head);
      if (fit !== NONE) return fit;
    }
    return this.#lowestBehind(bin);
  }

  insert(block: number): void {
    const blocks = this.#blocks;
    const bin = binFor(blocks.bytesOf(block));
    const head = this.#heads[bin]!;
    this.#count++;
    blocks.setBin(block, bin);
    if (head === NONE) {
      blocks.setLower(block, NONE);
      blocks.setHigher(block, NONE);
      this.#heads[bin] = block;
      this.#filled[bin >>> 5]! |= 1 << (bin & 31);
      this.#filledWords[bin >>> 10]! |= 1 << ((bin >>> 5) & 31);
    } else if (this.#isTree[bin] === 1) {
      this.#heads[bin] = insertIntoTree(blocks, head, block);
    } else {
      this.#insertIntoList(block, bin, head);
    }
  }

  remove(block: number): void {
    const blocks = this.#blocks;
    const bin = blocks.binOf(block);
    this.#count--;
    if (this.#isTree[bin] === 1) {
      this.#heads[bin] = removeFromTree(blocks, this.#heads[bin]!, block);
    } else {
      const lower = blocks.lowerOf(block);
      const higher = blocks.higherOf(block);
      if (higher !== NONE) blocks.setLower(higher, lower);
      if (lower !== NONE) blocks.setHigher(lower, higher);
      else this.#heads[bin] = higher;
    }
    if (this.#heads[bin] === NONE) this.#close(bin);
  }

  /**
   * Puts `block` in the place of `old`, which may be the same block with another size or address than when it came in.
   * O(1) where the order allows it: as when a part of a free block is handed out, or a block joins its free neighbour.
   */
  replace(old: number, block: number): void {
    const blocks = this.#blocks;
    const bin = blocks.binOf(old);
    if (this.#isTree[bin] === 0 && binFor(blocks.bytesOf(block)) === bin) {
      const lower = blocks.lowerOf(old);
      const higher = blocks.higherOf(old);
      if ((lower === NONE || blocks.isBefore(lower, block)) && (higher === NONE || blocks.isBefore(block, higher))) {
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
    const next = this.#isTree[bin] === 1 ? successorOf(this.#blocks, block) : this.#blocks.higherOf(block);
    return next === NONE ? this.#lowestBehind(bin) : next;
  }

  /** Checks order, bins and bits, in O(n). @throws ERR_MEM_INVARIANT */
  checkInvariants(): void {
    const blocks = this.#blocks;
    let count = 0;
    for (let block = this.first(); block !== NONE; block = this.after(block)) {
      count++;
      const next = this.after(block);
      ensure(blocks.exists(block) && blocks.isFree(block), `indexed block ${block} is free`);
      ensure(blocks.binOf(block) === binFor(blocks.bytesOf(block)), `block ${block} is in the bin of its size`);
      ensure(next === NONE || blocks.isBefore(block, next), `block ${block} stands before block ${next}`);
    }
    ensure(count === this.#count, `${count} indexed blocks are counted as ${this.#count}`);
    for (let bin = 0; bin < BINS; bin++) {
      const isFilled = ((this.#filled[bin >>> 5]! >>> (bin & 31)) & 1) === 1;
      ensure(isFilled === (this.#heads[bin] !== NONE), `the bit of bin ${bin} tells whether it holds blocks`);
      if (isFilled && this.#isTree[bin] === 1) checkTree(blocks, this.#heads[bin]!);
    }
  }

  /** The first block of at least `bytes` in a list, or {@link NONE}. */
  #walkTo(bytes: number, bin: number, head: number): number {
    const blocks = this.#blocks;
    let at = head;
    let steps = 0;
    while (at !== NONE && blocks.bytesOf(at) < bytes) {
      at = blocks.higherOf(at);
      steps++;
    }
    if (steps > LONG_WALK) this.#becomeTree(bin);
    return at;
  }

  #insertIntoList(block: number, bin: number, head: number): void {
    const blocks = this.#blocks;
    let lower = NONE;
    let higher = head;
    let steps = 0;
    while (higher !== NONE && blocks.isBefore(higher, block)) {
      lower = higher;
      higher = blocks.higherOf(higher);
      steps++;
    }
    this.#link(block, bin, lower, higher);
    if (steps > LONG_WALK) this.#becomeTree(bin);
  }

  #link(block: number, bin: number, lower: number, higher: number): void {
    const blocks = this.#blocks;
    blocks.setBin(block, bin);
    blocks.setLower(block, lower);
    blocks.setHigher(block, higher);
    if (higher !== NONE) blocks.setLower(higher, block);
    if (lower !== NONE) blocks.setHigher(lower, block);
    else this.#heads[bin] = block;
  }

  #becomeTree(bin: number): void {
    let root = NONE;
    for (let block = this.#heads[bin]!; block !== NONE; ) {
      const next = this.#blocks.higherOf(block);
      root = insertIntoTree(this.#blocks, root, block);
      block = next;
    }
    this.#heads[bin] = root;
    this.#isTree[bin] = 1;
  }

  #close(bin: number): void {
    const word = bin >>> 5;
    this.#isTree[bin] = 0;
    this.#filled[word]! &= ~(1 << (bin & 31));
    if (this.#filled[word] === 0) this.#filledWords[word >>> 5]! &= ~(1 << (word & 31));
  }

  #lowestIn(bin: number): number {
    const head = this.#heads[bin]!;
    return this.#isTree[bin] === 1 ? lowestOf(this.#blocks, head) : head;
  }

  /** The lowest block of all bins behind one, or {@link NONE}. */
  #lowestBehind(bin: number): number {
    let word = bin >>> 5;
    let bits = this.#filled[word]! & (-2 << (bin & 31));
    if (bits === 0) {
      let group = word >>> 5;
      let words = this.#filledWords[group]! & (-2 << (word & 31));
      if (words === 0) {
        if (group === 1) return NONE;
        group = 1;
        words = this.#filledWords[1]!;
        if (words === 0) return NONE;
      }
      word = 32 * group + lowestBit(words);
      bits = this.#filled[word]!;
    }
    return this.#lowestIn(32 * word + lowestBit(bits));
  }
}

/** The bin of a size; it never falls as sizes rise. */
function binFor(bytes: number): number {
  if (bytes < INT32_LIMIT) return smallBinFor(bytes | 0);
  return 32 * HIGH_SHIFT + smallBinFor((bytes / 2 ** HIGH_SHIFT) | 0);
}

function smallBinFor(bytes: number): number {
  const shift = Math.max(0, 26 - Math.clz32(bytes));
  return 32 * shift + (bytes >>> shift);
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}
