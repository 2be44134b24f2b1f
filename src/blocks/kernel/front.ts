import { allot, Block, DEFERRED, Front, hashOf, Heap, setStanding } from './layout';

// Blocks that came back and are not joined with their neighbours yet, by exact size, last in first out: programs soon ask
// for the same sizes again. A size has one place, where blocks of another size may be already: then it is not deferred.
// When more bytes wait than should, a hand goes round the places and clears those that no request has used since it
// last came by. Every operation is O(1), but for that.
// @see Source: Corbató, A paging experiment with the Multics system, 1969 (the hand)

const PLACE_BITS: i32 = 10;
const PLACES: i32 = 1 << PLACE_BITS;
// A place: behind 4 bytes that are not used the first block, and whether a request came since the hand did.
const PLACE_SHIFT: usize = 4;
const HEAD: usize = 4;
const IS_USED: usize = 8;
const FIRST_PLACE: usize = (offsetof<Front>() + 15) & ~15;
/** Bit p & 63 of word p >> 6 is set while blocks wait at place p, and longer: the hand clears it. */
const FILLED: usize = FIRST_PLACE + (<usize>PLACES << PLACE_SHIFT);
const WORDS: i32 = PLACES >> 6;

export function createFront(heap: Heap, largestBytes: f64, boundBytes: f64): Front {
  const front = changetype<Front>(allot(heap, FILLED + 8 * <usize>WORDS));
  front.largestBytes = largestBytes;
  front.boundBytes = boundBytes;
  return front;
}

/** Takes the block of exactly `bytes` that came last, or gives null. @param scaled - `bytes` plus the rounder of their free blocks */
@inline
export function popFront(front: Front, bytes: f64, scaled: f64): Block | null {
  const place = placeOf(front, numberOf(scaled));
  const block = changetype<Block>(<usize>load<u32>(place, HEAD));
  if (block.bytes != bytes) return null;
  if (changetype<usize>(block) == 0) return null;
  store<u32>(place, 1, IS_USED);
  unlink(front, place, block);
  return block;
}

/** Takes a block in. @returns false when its place is taken by blocks of another size */
@inline
export function pushFront(front: Front, block: Block, rounder: f64): bool {
  const number = numberOf(block.bytes + rounder);
  const place = placeOf(front, number);
  const head = changetype<Block>(<usize>load<u32>(place, HEAD));
  if (head.bytes != block.bytes) {
    if (changetype<usize>(head) != 0) return false;
    const word = wordOf(front, number);
    store<u64>(word, load<u64>(word, FILLED) | (<u64>1 << (number & 63)), FILLED);
  }
  setStanding(block, DEFERRED, 0);
  block.lower = head;
  store<u32>(place, <u32>changetype<usize>(block), HEAD);
  front.bytes += block.bytes;
  return true;
}

/** Takes a block out at the hand, or gives null when none waits. O(places / 64) at most. */
export function popAtHand(front: Front, sparesUsed: bool): Block | null {
  while (front.bytes != 0) {
    const hand = front.hand;
    const bits = load<u64>(wordOf(front, hand), FILLED) & (<u64>-1 << (hand & 63));
    if (bits == 0) {
      front.hand = ((hand | 63) + 1) & (PLACES - 1);
      continue;
    }
    const number = (hand & ~63) + <i32>ctz(bits);
    const place = placeOf(front, number);
    front.hand = number;
    if (sparesUsed && load<u32>(place, IS_USED) != 0) {
      store<u32>(place, 0, IS_USED);
      front.hand = (number + 1) & (PLACES - 1);
      continue;
    }
    const block = changetype<Block | null>(<usize>load<u32>(place, HEAD));
    if (block === null) {
      const word = wordOf(front, number);
      store<u64>(word, load<u64>(word, FILLED) & ~(<u64>1 << (number & 63)), FILLED);
      continue;
    }
    unlink(front, place, block);
    return block;
  }
  return null;
}

/** Takes the first block of a place out. */
@inline
function unlink(front: Front, place: usize, block: Block): void {
  store<u32>(place, <u32>changetype<usize>(block.lower), HEAD);
  front.bytes -= block.bytes;
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
