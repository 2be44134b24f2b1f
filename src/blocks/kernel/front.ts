import { allot, Block, DEFERRED, Front, hashOf, Heap, setStatus } from './layout';

// Blocks that came back and are not joined with their neighbours yet, by exact size, last in first out: programs soon ask
// for the same sizes again. A size has one place, where blocks of another size may be already: then it is not deferred.
// When more bytes wait than should, a clock hand goes round the places and clears those that no request has used since it
// last came by. Every operation is O(1), but for that.
// @see Source: Corbató, A paging experiment with the Multics system, 1969 (the clock hand)

const PLACE_BITS: i32 = 10;
const PLACES: i32 = 1 << PLACE_BITS;
// A place: the size of its blocks, NO_SIZE while it is empty, the first of them, and whether a request came since the clock hand did.
const PLACE_SHIFT: usize = 4;
// No request comes to this size: only whole ones get here.
const NO_SIZE: f64 = -0.5;
const HEAD: usize = 8;
const IS_USED: usize = 12;
const FIRST_PLACE: usize = (offsetof<Front>() + 15) & ~15;
/** Bit p & 63 of word p >> 6 is set while blocks wait at place p, and longer: the clock hand clears it. */
const FILLED: usize = FIRST_PLACE + (<usize>PLACES << PLACE_SHIFT);
const WORDS: i32 = PLACES >> 6;
/** Bytes of a front with all its places. */
const FRONT_BYTES: usize = FILLED + 8 * <usize>WORDS;

export function createFront(heap: Heap, largestBytes: f64, boundBytes: f64): Front {
  const front = changetype<Front>(allot(heap, FRONT_BYTES));
  front.largestBytes = largestBytes;
  front.boundBytes = boundBytes;
  for (let number = 0; number < PLACES; number++) store<f64>(placeOf(front, number), NO_SIZE);
  return front;
}

/** Takes the block of exactly `bytes` that came last, or gives null. @param scaled - `bytes` plus the rounder of their free blocks */
@inline
export function popFront(front: Front, bytes: f64, scaled: f64): Block | null {
  const place = placeOf(front, numberOf(scaled));
  if (load<f64>(place) != bytes) return null;
  store<u32>(place, 1, IS_USED);
  return popAt(front, place);
}

/** Takes a block in. @returns false when its place is taken by blocks of another size */
@inline
export function pushFront(front: Front, block: Block, rounder: f64): bool {
  const bytes = block.bytes;
  const number = numberOf(bytes + rounder);
  const place = placeOf(front, number);
  if (load<f64>(place) != bytes) {
    if (!isEmpty(place)) return false;
    store<f64>(place, bytes);
    const word = wordOf(front, number);
    store<u64>(word, load<u64>(word, FILLED) | (<u64>1 << (number & 63)), FILLED);
  }
  setStatus(block, DEFERRED, 0);
  block.lower = changetype<Block>(<usize>load<u32>(place, HEAD));
  store<u32>(place, <u32>changetype<usize>(block), HEAD);
  front.bytes += bytes;
  return true;
}

/** Moves the clock hand on to a place where blocks wait, and gives it, or 0 when none waits. O(places / 64) at most. */
export function placeAtClockHand(front: Front, sparesUsed: bool): usize {
  while (front.bytes != 0) {
    const clockHand = front.clockHand;
    const bits = load<u64>(wordOf(front, clockHand), FILLED) & (<u64>-1 << (clockHand & 63));
    if (bits == 0) {
      front.clockHand = ((clockHand | 63) + 1) & (PLACES - 1);
      continue;
    }
    const number = (clockHand & ~63) + <i32>ctz(bits);
    const place = placeOf(front, number);
    front.clockHand = number;
    if (sparesUsed && load<u32>(place, IS_USED) != 0) {
      store<u32>(place, 0, IS_USED);
      front.clockHand = (number + 1) & (PLACES - 1);
      continue;
    }
    if (isEmpty(place)) {
      const word = wordOf(front, number);
      store<u64>(word, load<u64>(word, FILLED) & ~(<u64>1 << (number & 63)), FILLED);
      continue;
    }
    return place;
  }
  return 0;
}

/** Tells whether no block waits at a place. */
@inline
export function isEmpty(place: usize): bool {
  return load<f64>(place) == NO_SIZE;
}

/** Takes the first block of a place out; one waits there. */
@inline
export function popAt(front: Front, place: usize): Block {
  const bytes = load<f64>(place);
  const block = changetype<Block>(<usize>load<u32>(place, HEAD));
  const next = <u32>changetype<usize>(block.lower);
  store<u32>(place, next, HEAD);
  store<f64>(place, select(bytes, NO_SIZE, next != 0));
  front.bytes -= bytes;
  return block;
}

/** The number of a size's place. The size plus the rounder has its units in the low bits. */
@inline
function numberOf(scaled: f64): i32 {
  return hashOf(<u32>reinterpret<u64>(scaled), PLACE_BITS);
}

@inline
function placeOf(front: Front, number: i32): usize {
  return changetype<usize>(front) + FIRST_PLACE + (<usize>number << PLACE_SHIFT);
}

@inline
function wordOf(front: Front, number: i32): usize {
  return changetype<usize>(front) + (<usize>(number >>> 6) << 3);
}
