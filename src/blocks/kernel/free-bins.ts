import { removeBlock, takeRow } from './block-rows';
import { bestFitInTree, insertIntoTree, isTreeSound, lowestOf, removeFromTree, successorOf } from './free-tree';
import { Block, FreeBlocks, isBefore, setStatus } from './layout';

// Free blocks lie in bins by size, 32 to each power of two; bits tell which bins hold any.
// Exact: a bin is a list in the order of size, then address. Good fit: a bin is a list, last in, first out. When a walk
// along a list was long, it becomes a tree, until it is empty. Every operation is O(log n), O(1) while bins are short.
// @see Source: Masmano, Ripoll, Crespo, Real: TLSF, a new dynamic memory allocator for real-time systems, 2004

const BINS: i32 = 1728;
const WORDS: i32 = BINS / 64;
/** The bin of 1 byte, before it is moved to the first place. */
const FIRST: i32 = 1023 << 5;
/** Steps along the list of a bin after which it becomes a tree. */
const LONG_WALK: i32 = 16;

/** The word that is always 0: what counting the zeros of 0 gives. */
const NO_WORD: i32 = 32;

const FILLED: usize = (offsetof<FreeBlocks>() + 7) & ~7;
const HEADS: usize = FILLED + 8 * (<usize>NO_WORD + 1);
/** Bytes of free blocks with all their bins. */
export const FREE_BLOCKS_BYTES: usize = HEADS + 4 * <usize>BINS;

@inline
function headOf(free: FreeBlocks, bin: i32): Block {
  return changetype<Block>(<usize>load<u32>(changetype<usize>(free) + (<usize>bin << 2), HEADS));
}

@inline
function setHead(free: FreeBlocks, bin: i32, head: Block | null): void {
  store<u32>(changetype<usize>(free) + (<usize>bin << 2), <u32>changetype<usize>(head), HEADS);
}

@inline
function filledWord(free: FreeBlocks, word: i32): u64 {
  return load<u64>(changetype<usize>(free) + (<usize>word << 3), FILLED);
}

@inline
function setFilledWord(free: FreeBlocks, word: i32, bits: u64): void {
  store<u64>(changetype<usize>(free) + (<usize>word << 3), bits, FILLED);
}

/** The bin of a size, its exponent and the first five bits behind it; it never falls as sizes rise. */
@inline
function binFor(bytes: f64): i32 {
  return <i32>(reinterpret<u64>(bytes) >>> 47) - FIRST;
}

/**
 * A free block of at least `bytes`, or null when there is none: the smallest at the lowest address, or one of the lowest
 * bin that holds any. O(log n), O(blocks of a bin) at the first long walk along it.
 */
export function findFit(free: FreeBlocks, bytes: f64): Block | null {
  const bin = binFor(bytes);
  const found = firstFilled(free, bin);
  if (found < 0) return null;
  const head = headOf(free, found);
  return head.bytes >= bytes ? head : fitFrom(free, bin, bytes, i32.MAX_VALUE);
}

/**
 * Takes what {@link findFit} finds out, unless it has `limit` bytes or more, or gives null. Of a list that is not in order
 * it looks at {@link LONG_WALK} blocks: O(1).
 */
@inline
export function takeFit(free: FreeBlocks, bytes: f64, limit: f64): Block | null {
  const bin = binFor(bytes);
  const found = firstFilled(free, bin);
  if (found < 0) return null;
  const head = headOf(free, found);
  if (head.bytes >= bytes) {
    if (head.bytes >= limit) return null;
    unlink(free, head, found);
    return head;
  }
  return takeFrom(free, bin, bytes, limit);
}

/** As {@link takeFit}, from a bin on whose first block is none, or is a tree's head. */
function takeFrom(free: FreeBlocks, bin: i32, bytes: f64, limit: f64): Block | null {
  const block = fitFrom(free, bin, bytes, LONG_WALK);
  if (block === null || block.bytes >= limit) return null;
  leaveBin(free, block);
  return block;
}

/** The first bin from one on that holds any, or -1. */
@inline
function firstFilled(free: FreeBlocks, bin: i32): i32 {
  // Both words without a branch, since none could be foretold.
  const word = bin >>> 6;
  const bits = filledWord(free, word) & (<u64>-1 << (bin & 63));
  const next = ctz(free.filledWords & (-2 << word));
  const found = select(word, next, bits != 0);
  const foundBits = select(bits, filledWord(free, next), bits != 0);
  return foundBits == 0 ? -1 : (found << 6) + <i32>ctz(foundBits);
}

/** Enters a block into its bin. */
@inline
export function enterBin(free: FreeBlocks, block: Block): void {
  const bin = binFor(block.bytes);
  const head = headOf(free, bin);
  setStatus(block, free.inside, 0);
  if (free.isExact != 0) {
    if (isBefore(head, block)) {
      joinBin(free, block, bin, head);
      return;
    }
  } else if (isTree(head)) {
    joinBin(free, block, bin, head);
    return;
  }
  block.lower = beforeFirst(free, bin);
  block.higher = head;
  head.lower = block;
  setHead(free, bin, block);
  fill(free, bin);
}

/** Takes a block out of its bin. */
@inline
export function leaveBin(free: FreeBlocks, block: Block): void {
  const bin = binFor(block.bytes);
  if (isTree(headOf(free, bin))) leaveTree(free, block, bin);
  else unlink(free, block, bin);
}

/** Takes a block out of a bin that is a list. */
@inline
function unlink(free: FreeBlocks, block: Block, bin: i32): void {
  const lower = block.lower;
  const higher = block.higher;
  lower!.higher = higher;
  higher!.lower = lower;
  clearIf(changetype<usize>(headOf(free, bin)) == 0, free, bin);
}

/** The head of a bin as the block before its first: the link to the next one is where a block has it. */
@inline
function beforeFirst(free: FreeBlocks, bin: i32): Block {
  return changetype<Block>(changetype<usize>(free) + (<usize>bin << 2) + HEADS - offsetof<Block>('higher'));
}

/** The largest free block of less than `bytes`, or null. O(log n), O(blocks of a bin) at the first long walk along it. */
export function findBelow(free: FreeBlocks, bytes: f64): Block | null {
  const bin = binFor(bytes);
  const below = lastBelow(free, bin, bytes);
  if (below !== null) return below;
  let word = bin >>> 6;
  let bits = filledWord(free, word) & ((<u64>1 << (bin & 63)) - 1);
  if (bits == 0) {
    const words = free.filledWords & ((1 << word) - 1);
    if (words == 0) return null;
    word = 31 - clz(words);
    bits = filledWord(free, word);
  }
  return lastBelow(free, (word << 6) + 63 - <i32>clz(bits), bytes);
}

/** The largest block of a bin that has less than `bytes`, or null. */
function lastBelow(free: FreeBlocks, bin: i32, bytes: f64): Block | null {
  const head = headOf(free, bin);
  let last: Block | null = null;
  if (isTree(head)) {
    let at = head.parent;
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
  let steps = 0;
  for (let at: Block | null = head; at !== null; at = at!.higher) {
    if (at.bytes < bytes && (last === null || at.bytes >= last.bytes)) last = at;
    steps++;
  }
  if (steps > LONG_WALK) becomeTree(free, bin);
  return last;
}

/** The first block in the order of bins, or null. */
export function firstFree(free: FreeBlocks): Block | null {
  return lowestFrom(free, 0);
}

/** The block behind another one in the order of bins, or null. */
export function freeAfter(free: FreeBlocks, block: Block): Block | null {
  const bin = binFor(block.bytes);
  const next = isTree(headOf(free, bin)) ? successorOf(block) : block.higher;
  return next === null ? lowestFrom(free, bin + 1) : next;
}

/** How many blocks the bins hold, in O(n). */
export function countFree(free: FreeBlocks): i32 {
  let count = 0;
  for (let block = firstFree(free); block !== null; block = freeAfter(free, block!)) count++;
  return count;
}

/** Tells whether order, bins and bits are as they should be, in O(n). */
export function areBinsSound(free: FreeBlocks): bool {
  for (let word = 0; word < WORDS; word++) {
    const bits = filledWord(free, word);
    if (((free.filledWords >>> word) & 1) != <i32>(bits != 0)) return false;
    // Most are empty.
    if (bits == 0 && areEmpty(free, word)) continue;
    for (let bin = word * 64; bin < (word + 1) * 64; bin++) {
      const head = headOf(free, bin);
      const isFilled = changetype<usize>(head) != 0;
      if (((bits >>> (bin & 63)) & 1) != <u64>isFilled) return false;
      if (!isFilled) continue;
      if (isTree(head) && !isTreeSound(head.parent!)) return false;
      if (!isBinSound(free, bin, isTree(head) ? lowestOf(head.parent!) : head)) return false;
    }
  }
  return filledWord(free, NO_WORD) == 0;
}

/** Tells whether the 64 bins of a word have no heads. */
function areEmpty(free: FreeBlocks, word: i32): bool {
  const heads = changetype<usize>(free) + (<usize>word << 8);
  let any: u64 = 0;
  for (let at: usize = 0; at < 4 * 64; at += 8) any |= load<u64>(heads + at, HEADS);
  return any == 0;
}

/** Tells whether the blocks of a bin, from the lowest on, belong there. */
function isBinSound(free: FreeBlocks, bin: i32, lowest: Block): bool {
  let count = 0;
  let previous: Block | null = null;
  for (let block: Block | null = lowest; changetype<usize>(block) != 0; block = isTree(headOf(free, bin)) ? successorOf(block) : block.higher) {
    if (block!.status != free.inside || binFor(block!.bytes) != bin) return false;
    if (block!.owner !== free || block!.group != free.group) return false;
    if (!isTree(headOf(free, bin)) && block!.lower !== (previous === null ? beforeFirst(free, bin) : previous)) return false;
    if (previous !== null && free.isExact != 0 && !isBefore(previous, block!)) return false;
    // A list that leads back to itself would not end.
    if (++count > free.heap.rowCount) return false;
    previous = block;
  }
  return true;
}

// The head of a tree is a row that is no block and has less than any, so that it fits nothing and lies before all.

@inline
function isTree(head: Block): bool {
  return head.bytes < 0;
}

/** The fit from a bin on whose first block is none, or is a tree's head. Of a good fit, `most` blocks of the bin are looked at. */
function fitFrom(free: FreeBlocks, bin: i32, bytes: f64, most: i32): Block | null {
  const fit = fitIn(free, bin, headOf(free, bin), bytes, most);
  return fit === null ? lowestFrom(free, bin + 1) : fit;
}

/** The fit in a bin, or null. */
function fitIn(free: FreeBlocks, bin: i32, head: Block, bytes: f64, most: i32): Block | null {
  if (isTree(head)) return bestFitInTree(head.parent!, bytes);
  let steps = 0;
  let at: Block | null = head;
  while (at !== null && at.bytes < bytes) {
    at = at.higher;
    if (++steps == most && free.isExact == 0) return null;
  }
  if (steps > LONG_WALK) becomeTree(free, bin);
  return at;
}

/** Enters a block behind the first of a bin. */
function joinBin(free: FreeBlocks, block: Block, bin: i32, head: Block): void {
  if (isTree(head)) {
    head.parent = insertIntoTree(head.parent, block);
    return;
  }
  let lower = head;
  let higher = head.higher!;
  let steps = 0;
  while (isBefore(higher, block)) {
    lower = higher;
    higher = higher.higher!;
    steps++;
  }
  block.lower = lower;
  block.higher = higher;
  higher.lower = block;
  lower.higher = block;
  if (steps > LONG_WALK) becomeTree(free, bin);
}

/** Takes a block out of a bin that is a tree. */
function leaveTree(free: FreeBlocks, block: Block, bin: i32): void {
  const head = headOf(free, bin);
  head.parent = removeFromTree(head.parent!, block);
  if (head.parent !== null) return;
  removeBlock(free.heap, head);
  setHead(free, bin, null);
  clearIf(true, free, bin);
}

function becomeTree(free: FreeBlocks, bin: i32): void {
  let root: Block | null = null;
  let block: Block | null = headOf(free, bin);
  while (block !== null) {
    const next = block.higher;
    root = insertIntoTree(root, block);
    block = next;
  }
  const head = takeRow(free.heap);
  head.bytes = -1;
  head.parent = root;
  setHead(free, bin, head);
}

@inline
function fill(free: FreeBlocks, bin: i32): void {
  const word = bin >>> 6;
  setFilledWord(free, word, filledWord(free, word) | (<u64>1 << (bin & 63)));
  free.filledWords |= 1 << word;
}

/** Notes that a bin is empty if it is: without a branch, since none could be foretold. */
@inline
function clearIf(isEmpty: bool, free: FreeBlocks, bin: i32): void {
  const word = bin >>> 6;
  const bits = filledWord(free, word) & ~(<u64>isEmpty << (bin & 63));
  setFilledWord(free, word, bits);
  free.filledWords &= ~(<i32>(bits == 0) << word);
}

/** The lowest block of all bins from one on, or null. */
function lowestFrom(free: FreeBlocks, bin: i32): Block | null {
  if (bin == BINS) return null;
  const found = firstFilled(free, bin);
  if (found < 0) return null;
  const head = headOf(free, found);
  return isTree(head) ? lowestOf(head.parent!) : head;
}
