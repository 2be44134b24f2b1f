import { bestFitInTree, insertIntoTree, isTreeSound, lowestOf, removeFromTree, successorOf } from './free-tree';
import { Block, FreeBlocks, isBefore, OPEN } from './layout';

// Free blocks lie in bins by size, 32 to each power of two, each size below 64 its own; bits tell which bins hold any.
// Exact: a bin is a list in the order of size, then address, which turns into a tree when a walk along it was long, until
// it is empty. Not exact: a bin is a list, last in, first out. Every operation is O(log n), O(1) while bins are short or
// for good fit, whatever is in.
// @see Source: Masmano, Ripoll, Crespo, Real: TLSF, a new dynamic memory allocator for real-time systems, 2004

export const BINS: i32 = 1600;
const WORDS: i32 = BINS / 64;
/** Steps along the list of a bin after which it becomes a tree. */
const LONG_WALK: i32 = 16;
/** Marks the root of a tree in a bin's head: blocks lie at multiples of 64. */
const TREE: usize = 1;

const FILLED: usize = (offsetof<FreeBlocks>() + 7) & ~7;
const HEADS: usize = FILLED + 8 * <usize>WORDS;
/** Bytes of free blocks with all their bins. */
export const FREE_BLOCKS_BYTES: usize = HEADS + 4 * <usize>BINS;

@inline
function headOf(free: FreeBlocks, bin: i32): usize {
  return load<u32>(changetype<usize>(free) + (<usize>bin << 2), HEADS);
}

@inline
function setHead(free: FreeBlocks, bin: i32, head: usize): void {
  store<u32>(changetype<usize>(free) + (<usize>bin << 2), <u32>head, HEADS);
}

@inline
function filledWord(free: FreeBlocks, word: i32): u64 {
  return load<u64>(changetype<usize>(free) + (<usize>word << 3), FILLED);
}

@inline
function setFilledWord(free: FreeBlocks, word: i32, bits: u64): void {
  store<u64>(changetype<usize>(free) + (<usize>word << 3), bits, FILLED);
}

/** The bin of a size; it never falls as sizes rise. */
@inline
function binFor(bytes: i64): i32 {
  const shift = 58 - <i32>clz<i64>(bytes | 32);
  return (shift << 5) + <i32>(bytes >>> shift);
}

/** A free block of at least `bytes`, or null: the smallest at the lowest address, or a good one when fit is not exact. */
@inline
export function findFit(free: FreeBlocks, bytes: i64): Block | null {
  const bin = binFor(bytes);
  const head = headOf(free, bin);
  if (head != 0) {
    const fit = fitIn(free, bin, head, bytes);
    if (fit !== null) return fit;
  }
  return lowestBehind(free, bin);
}

/** Enters a block into its bin. */
@inline
export function enterBin(free: FreeBlocks, block: Block): void {
  const bin = binFor(block.bytes);
  const head = headOf(free, bin);
  free.count++;
  block.state = <u8>free.inside;
  block.bin = bin;
  if (head != 0) {
    joinBin(free, block, bin, head);
    return;
  }
  block.lower = null;
  block.higher = null;
  setHead(free, bin, changetype<usize>(block));
  fill(free, bin);
}

/** Takes a block out of its bin. */
@inline
export function leaveBin(free: FreeBlocks, block: Block): void {
  const bin = block.bin;
  free.count--;
  const head = headOf(free, bin);
  if (head == changetype<usize>(block) && block.higher === null) clear(free, bin);
  else leaveOthers(free, block, bin, head);
}

/** Puts `rest`, which is smaller, in the place of `block`: at no cost when that is its place in the order, too. */
@inline
export function replaceInBin(free: FreeBlocks, block: Block, rest: Block): void {
  const bin = block.bin;
  if (binFor(rest.bytes) == bin && headOf(free, bin) == changetype<usize>(block)) {
    // The first of a list stays the first when it shrinks.
    const higher = block.higher;
    rest.state = <u8>free.inside;
    rest.bin = bin;
    rest.lower = null;
    rest.higher = higher;
    if (higher !== null) higher.lower = rest;
    setHead(free, bin, changetype<usize>(rest));
    return;
  }
  leaveBin(free, block);
  enterBin(free, rest);
}

/** The largest free block of less than `bytes`, or null. O(blocks of one bin). */
export function findBelow(free: FreeBlocks, bytes: i64): Block | null {
  const bin = binFor(bytes);
  const below = lastBelow(headOf(free, bin), bytes);
  if (below !== null) return below;
  let word = bin >>> 6;
  let bits = filledWord(free, word) & ((<u64>1 << (bin & 63)) - 1);
  if (bits == 0) {
    const words = free.filledWords & ((1 << word) - 1);
    if (words == 0) return null;
    word = 31 - clz(words);
    bits = filledWord(free, word);
  }
  return lastBelow(headOf(free, (word << 6) + 63 - <i32>clz(bits)), bytes);
}

/** The largest block of a bin that has less than `bytes`, or null. */
function lastBelow(head: usize, bytes: i64): Block | null {
  let last: Block | null = null;
  if ((head & TREE) != 0) {
    let at: Block | null = changetype<Block>(head ^ TREE);
    while (at !== null) {
      if (at.bytes < bytes) {
        last = at;
        at = at.higher;
      } else {
        at = at.lower;
      }
    }
    return last;
  }
  for (let at = changetype<Block | null>(head); at !== null; at = at!.higher) {
    if (at.bytes < bytes && (last === null || at.bytes >= last.bytes)) last = at;
  }
  return last;
}

/** The first block in the order of bins, or null. */
export function firstFree(free: FreeBlocks): Block | null {
  return (filledWord(free, 0) & 1) != 0 ? lowestIn(headOf(free, 0)) : lowestBehind(free, 0);
}

/** The block behind another one in the order of bins, or null. */
export function freeAfter(free: FreeBlocks, block: Block): Block | null {
  const isTree = (headOf(free, block.bin) & TREE) != 0;
  const next = isTree ? successorOf(block) : block.higher;
  return next === null ? lowestBehind(free, block.bin) : next;
}

/** Tells whether order, bins, bits and count are as they should be, in O(n). */
export function areBinsSound(free: FreeBlocks): bool {
  let count = 0;
  for (let block = firstFree(free); block !== null; block = freeAfter(free, block!)) {
    count++;
    const next = freeAfter(free, block);
    if ((block.state != OPEN && block.state != <u8>free.inside) || block.locks != 0) return false;
    if (block.home !== free || block.bin != binFor(block.bytes)) return false;
    if (next !== null && free.isExact != 0 && !isBefore(block, next)) return false;
  }
  if (count != free.count) return false;
  for (let bin = 0; bin < BINS; bin++) {
    const head = headOf(free, bin);
    if (((filledWord(free, bin >>> 6) >>> (bin & 63)) & 1) != <u64>(head != 0)) return false;
    if ((head & TREE) != 0 && !isTreeSound(changetype<Block>(head ^ TREE))) return false;
  }
  for (let word = 0; word < WORDS; word++) {
    if (((free.filledWords >>> word) & 1) != <i32>(filledWord(free, word) != 0)) return false;
  }
  return true;
}

/** The fit in a bin that is not empty, or null. */
function fitIn(free: FreeBlocks, bin: i32, head: usize, bytes: i64): Block | null {
  if ((head & TREE) != 0) return bestFitInTree(changetype<Block>(head ^ TREE), bytes);
  const first = changetype<Block>(head);
  if (first.bytes >= bytes) return first;
  if (free.isExact == 0) return null;
  let steps = 1;
  let at = first.higher;
  while (at !== null && at.bytes < bytes) {
    at = at.higher;
    steps++;
  }
  if (steps > LONG_WALK) becomeTree(free, bin);
  return at;
}

/** Enters a block into a bin that is not empty. */
function joinBin(free: FreeBlocks, block: Block, bin: i32, head: usize): void {
  if ((head & TREE) != 0) {
    setHead(free, bin, changetype<usize>(insertIntoTree(changetype<Block>(head ^ TREE), block)) | TREE);
    return;
  }
  let lower: Block | null = null;
  let higher: Block | null = changetype<Block>(head);
  let steps = 0;
  if (free.isExact != 0) {
    while (higher !== null && isBefore(higher, block)) {
      lower = higher;
      higher = higher.higher;
      steps++;
    }
  }
  block.lower = lower;
  block.higher = higher;
  if (higher !== null) higher.lower = block;
  if (lower !== null) lower.higher = block;
  else setHead(free, bin, changetype<usize>(block));
  if (steps > LONG_WALK) becomeTree(free, bin);
}

/** Takes a block out of a bin that is a tree or has others. */
function leaveOthers(free: FreeBlocks, block: Block, bin: i32, head: usize): void {
  if ((head & TREE) != 0) {
    const root = removeFromTree(changetype<Block>(head ^ TREE), block);
    if (root === null) clear(free, bin);
    else setHead(free, bin, changetype<usize>(root) | TREE);
    return;
  }
  const lower = block.lower;
  const higher = block.higher;
  if (higher !== null) higher.lower = lower;
  if (lower !== null) lower.higher = higher;
  else setHead(free, bin, changetype<usize>(higher));
}

function becomeTree(free: FreeBlocks, bin: i32): void {
  let root: Block | null = null;
  let block: Block | null = changetype<Block>(headOf(free, bin));
  while (block !== null) {
    const next = block.higher;
    root = insertIntoTree(root, block);
    block = next;
  }
  setHead(free, bin, changetype<usize>(root!) | TREE);
}

@inline
function fill(free: FreeBlocks, bin: i32): void {
  const word = bin >>> 6;
  setFilledWord(free, word, filledWord(free, word) | (<u64>1 << (bin & 63)));
  free.filledWords |= 1 << word;
}

@inline
function clear(free: FreeBlocks, bin: i32): void {
  const word = bin >>> 6;
  const bits = filledWord(free, word) & ~(<u64>1 << (bin & 63));
  setHead(free, bin, 0);
  setFilledWord(free, word, bits);
  // Without a branch, since none could be foretold.
  free.filledWords &= ~(<i32>(bits == 0) << word);
}

/** The lowest block of all bins behind one, or null. */
@inline
function lowestBehind(free: FreeBlocks, bin: i32): Block | null {
  let word = bin >>> 6;
  let bits = filledWord(free, word) & (<u64>-2 << (bin & 63));
  if (bits == 0) {
    const words = free.filledWords & (-2 << word);
    if (words == 0) return null;
    word = ctz(words);
    bits = filledWord(free, word);
  }
  return lowestIn(headOf(free, (word << 6) + <i32>ctz(bits)));
}

@inline
function lowestIn(head: usize): Block {
  return (head & TREE) != 0 ? lowestOf(changetype<Block>(head ^ TREE)) : changetype<Block>(head);
}
