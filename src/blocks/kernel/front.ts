import { allot, Block, DEFERRED, Front, hashOf, Heap, setStatus } from './layout';

// Blocks that came back and are not joined with their neighbours yet, by exact size, last in first out: programs soon ask
// for the same sizes again. A size has one cell, where blocks of another size may be already: then it is not deferred.
// When more bytes wait than should, a clock hand goes round the cells and clears those that no request has used since it
// last came by. Every operation is O(1), but for that.
// @see Source: Corbató, A paging experiment with the Multics system, 1969 (the clock hand)

const CELL_BITS: i32 = 10;
const CELLS: i32 = 1 << CELL_BITS;
// A cell: the size of its blocks, NO_SIZE while it is empty, the first of them, and whether a request came since the clock hand did.
const PLACE_SHIFT: usize = 4;
// No request comes to this size: only whole ones get here.
const NO_SIZE: f64 = -0.5;
const HEAD: usize = 8;
const IS_USED: usize = 12;
const FIRST_PLACE: usize = (offsetof<Front>() + 15) & ~15;
/** Bit p & 63 of word p >> 6 is set while blocks wait at cell p, and longer: the clock hand clears it. */
const FILLED: usize = FIRST_PLACE + (<usize>CELLS << PLACE_SHIFT);
const WORDS: i32 = CELLS >> 6;
/** Bytes of a front with all its cells. */
const FRONT_BYTES: usize = FILLED + 8 * <usize>WORDS;

export function createFront(heap: Heap, largestBytes: f64, boundBytes: f64): Front {
  const front = changetype<Front>(allot(heap, FRONT_BYTES));
  front.largestBytes = largestBytes;
  front.boundBytes = boundBytes;
  for (let number = 0; number < CELLS; number++) store<f64>(cellOf(front, number), NO_SIZE);
  return front;
}

/** Takes the block of exactly `bytes` that came last, or gives null. @param scaled - `bytes` plus the rounder of their free blocks */
@inline
export function popFront(front: Front, bytes: f64, scaled: f64): Block | null {
  const cell = cellOf(front, numberOf(scaled));
  if (load<f64>(cell) != bytes) return null;
  store<u32>(cell, 1, IS_USED);
  return popAt(front, cell);
}

/** Takes a block in. @returns false when its cell is taken by blocks of another size */
@inline
export function pushFront(front: Front, block: Block, rounder: f64): bool {
  const bytes = block.bytes;
  const number = numberOf(bytes + rounder);
  const cell = cellOf(front, number);
  if (load<f64>(cell) != bytes) {
    if (!isEmpty(cell)) return false;
    store<f64>(cell, bytes);
    const word = wordOf(front, number);
    store<u64>(word, load<u64>(word, FILLED) | (<u64>1 << (number & 63)), FILLED);
  }
  setStatus(block, DEFERRED, 0);
  block.lower = changetype<Block>(<usize>load<u32>(cell, HEAD));
  store<u32>(cell, <u32>changetype<usize>(block), HEAD);
  front.bytes += bytes;
  return true;
}

/** Moves the clock hand on to a cell where blocks wait, and gives it, or 0 when none waits. O(cells / 64) at most. */
export function cellAtClockHand(front: Front, sparesUsed: bool): usize {
  while (front.bytes != 0) {
    const clockHand = front.clockHand;
    const bits = load<u64>(wordOf(front, clockHand), FILLED) & (<u64>-1 << (clockHand & 63));
    if (bits == 0) {
      front.clockHand = ((clockHand | 63) + 1) & (CELLS - 1);
      continue;
    }
    const number = (clockHand & ~63) + <i32>ctz(bits);
    const cell = cellOf(front, number);
    front.clockHand = number;
    if (sparesUsed && load<u32>(cell, IS_USED) != 0) {
      store<u32>(cell, 0, IS_USED);
      front.clockHand = (number + 1) & (CELLS - 1);
      continue;
    }
    if (isEmpty(cell)) {
      const word = wordOf(front, number);
      store<u64>(word, load<u64>(word, FILLED) & ~(<u64>1 << (number & 63)), FILLED);
      continue;
    }
    return cell;
  }
  return 0;
}

/** Tells whether no block waits at a cell. */
@inline
export function isEmpty(cell: usize): bool {
  return load<f64>(cell) == NO_SIZE;
}

/** Takes the first block of a cell out; one waits there. */
@inline
export function popAt(front: Front, cell: usize): Block {
  const bytes = load<f64>(cell);
  const block = changetype<Block>(<usize>load<u32>(cell, HEAD));
  const next = <u32>changetype<usize>(block.lower);
  store<u32>(cell, next, HEAD);
  store<f64>(cell, select(bytes, NO_SIZE, next != 0));
  front.bytes -= bytes;
  return block;
}

/** The number of a size's cell. The size plus the rounder has its units in the low bits. */
@inline
function numberOf(scaled: f64): i32 {
  return hashOf(<u32>reinterpret<u64>(scaled), CELL_BITS);
}

@inline
function cellOf(front: Front, number: i32): usize {
  return changetype<usize>(front) + FIRST_PLACE + (<usize>number << PLACE_SHIFT);
}

@inline
function wordOf(front: Front, number: i32): usize {
  return changetype<usize>(front) + (<usize>(number >>> 6) << 3);
}
