import { blockIn, clearSlot, enter, slotOf } from './address-index';
import { absorbNext, splitBlock } from './block-rows';
import { enterBin, FREE_BLOCKS_BYTES, findFit, firstFree, leaveBin, takeFit } from './free-bins';
import { createFront, isEmpty, cellAtClockHand, popAt, popFront, pushFront } from './front';
import { allot, Block, FreeBlocks, Front, Heap, isJoinable, LIVE, setStatus, WHOLE } from './layout';
import { countTaken } from './statistics';

/** No size and no address is larger: numbers above are not exact in JavaScript. */
export const MAX_BYTES: f64 = 9007199254740992.0;
/** What is larger could not be rounded up to units. */
const MAX_REQUEST_BYTES: f64 = WHOLE;

export function createFreeBlocks(heap: Heap, group: i32, unitBytes: f64): FreeBlocks {
  const free = changetype<FreeBlocks>(allot(heap, FREE_BLOCKS_BYTES));
  free.heap = heap;
  free.earlier = heap.freeBlocks;
  heap.freeBlocks = free;
  free.statistics = heap.statistics;
  free.group = group;
  free.roundUp = unitBytes / 2 - 0.5;
  free.rounder = unitBytes * WHOLE;
  free.leastRest = unitBytes;
  free.splitLimit = f64.POSITIVE_INFINITY;
  free.recyclingLimit = f64.POSITIVE_INFINITY;
  free.smallLimit = 0;
  free.small = free;
  free.large = free;
  return free;
}

export function addFront(free: FreeBlocks, largestBytes: f64, boundBytes: f64): void {
  free.front = createFront(free.heap, largestBytes, boundBytes);
}

/** Which of a pair blocks of a size belong to. */
@inline
export function partFor(free: FreeBlocks, bytes: f64): FreeBlocks {
  return bytes > free.smallLimit ? free.large : free.small;
}

/** Hands a block of at least `requested` bytes out, cut to size. @returns null when none fits, or for a number that is no size */
@inline
export function takeOne(free: FreeBlocks, requested: f64, locks: i32): Block | null {
  if (floor(requested) != requested) return null;
  const scaled = requested + free.roundUp + free.rounder;
  const size = scaled - free.rounder;
  const front = free.front;
  if (front !== null) {
    // No block there has what a number that is no size comes to.
    const block = popFront(front, size, scaled);
    if (block !== null) {
      setTaken(block, requested, locks);
      return block;
    }
  }
  if (!(requested > 0)) return null;
  if (requested > MAX_REQUEST_BYTES) return null;
  const source = partFor(free, requested);
  // By the size before it is rounded: blocks have rounded sizes, so that the same one fits, and the search begins sooner.
  const block = takeFit(source, requested, source.recyclingLimit);
  if (block === null) return null;
  enter(source.heap, block);
  setTaken(block, requested, locks);
  if (block.bytes - size < source.leastRest) return block;
  if (block.bytes >= source.splitLimit) return block;
  enterBin(source, splitBlock(block, size));
  return block;
}

/** Takes a free block out and leaves what it has more than `size` bytes in, if that is worth a block. */
export function carve(free: FreeBlocks, block: Block, size: f64): void {
  leaveBin(free, block);
  cutTail(free, block, size);
}

/** Leaves what a block in no bins has more than `size` bytes in, if that is worth a block. */
export function cutTail(free: FreeBlocks, block: Block, size: f64): void {
  if (block.bytes - size >= free.leastRest && block.bytes < free.splitLimit) putIn(free, splitBlock(block, size));
}

/** The smallest or a good free block of at least `bytes` that may be used again, or null when there is none. */
export function findUsable(free: FreeBlocks, bytes: f64): Block | null {
  const block = findFit(free, bytes);
  return block === null || block.bytes >= free.recyclingLimit ? null : block;
}

@inline
function setTaken(block: Block, requested: f64, locks: i32): void {
  block.requested = requested;
  setStatus(block, LIVE, <u32>locks);
}

/** Hands a block out that is in no bins. */
export function handOut(block: Block, requested: f64, locks: i32): f64 {
  const owner = block.owner;
  if (owner.isManual == 0) enter(owner.heap, block);
  setTaken(block, requested, locks);
  countTaken(owner.statistics, requested, block.bytes);
  return block.address;
}

/** Takes a live block back, which lies in a slot of the index: into the front, or joined with its free neighbours. */
@inline
export function giveBack(block: Block, slot: usize): void {
  const owner = block.owner;
  const front = owner.front;
  if (front !== null) {
    if (block.bytes <= front.largestBytes) {
      if (pushFront(front, block, owner.rounder)) {
        if (front.bytes > front.boundBytes) easeFront(owner, front);
        return;
      }
    }
  }
  clearSlot(owner.heap, slot);
  // By the size before it is joined with its neighbours, as in Flashlight.
  join(partFor(owner, block.bytes), block);
}

/** Joins the first block of a cell with its neighbours. Those in the front are found by address as live ones are. */
@inline
function joinAt(free: FreeBlocks, front: Front, cell: usize): Block {
  const block = popAt(front, cell);
  leave(block);
  return join(free, block);
}

/** Takes a block out of the index. */
export function leave(block: Block): void {
  const heap = block.owner.heap;
  const slot = slotOf(heap, block.address);
  if (blockIn(slot) === block) clearSlot(heap, slot);
}

/** Makes a block free that is in no bins, joined with the free neighbours of its group. @returns the whole */
@inline
export function join(free: FreeBlocks, block: Block): Block {
  const group = free.group;
  let whole = block;
  const previous = block.previous!;
  if (isJoinable(previous, group)) {
    leaveBin(previous.owner, previous);
    absorbNext(previous);
    whole = previous;
  }
  const next = whole.next!;
  if (isJoinable(next, group)) {
    leaveBin(next.owner, next);
    absorbNext(whole);
  }
  putIn(free, whole);
  return whole;
}

/** Enters a block that has no free neighbours of its group. */
@inline
export function putIn(free: FreeBlocks, block: Block): void {
  setOwner(block, free);
  enterBin(free, block);
}

/** Lets a block that is in no bins belong to free blocks. */
@inline
export function setOwner(block: Block, owner: FreeBlocks): void {
  block.owner = owner;
  block.group = owner.group;
}

/** Takes a free block out. */
@inline
export function takeOut(block: Block): void {
  leaveBin(block.owner, block);
}

/** Joins all deferred blocks with their free neighbours. O(deferred blocks). */
export function flushFront(free: FreeBlocks): void {
  const front = free.front;
  if (front === null) return;
  for (let cell = cellAtClockHand(front, false); cell != 0; cell = cellAtClockHand(front, false)) {
    while (!isEmpty(cell)) joinAt(free, front, cell);
  }
}

/** Joins deferred blocks until one of at least `bytes` is free. @returns it, or null when all are joined */
export function flushFor(free: FreeBlocks, bytes: f64): Block | null {
  const front = free.front;
  if (front === null) return null;
  for (let cell = cellAtClockHand(front, false); cell != 0; cell = cellAtClockHand(front, false)) {
    while (!isEmpty(cell)) {
      const whole = joinAt(free, front, cell);
      if (whole.bytes >= bytes) return whole;
    }
  }
  return null;
}

/** Joins deferred blocks until a quarter less wait than may. */
function easeFront(free: FreeBlocks, front: Front): void {
  const most = front.boundBytes * 0.75;
  while (front.bytes > most) {
    const cell = cellAtClockHand(front, true);
    while (!isEmpty(cell) && front.bytes > most) joinAt(free, front, cell);
  }
}

/** Moves every free block into others of another group, joined with their neighbours there. O(free blocks). */
export function moveAll(from: FreeBlocks, to: FreeBlocks): void {
  flushFront(from);
  for (let block = firstFree(from); block !== null; block = firstFree(from)) {
    takeOut(block);
    join(partFor(to, block.bytes), block);
  }
}
