import { absorbNext, splitBlock } from './block-rows';
import { enterBin, FREE_BLOCKS_BYTES, findFit, firstFree, freeAfter, leaveBin, replaceInBin } from './free-bins';
import { createFront, popAtHand, popFront, pushFront } from './front';
import { allot, Block, FreeBlocks, Front, Heap, HOLE, LIVE, OPEN, Statistics, setLocksAndState } from './layout';
import { createOpenBlocks, enterOpen, leaveOpen } from './open-blocks';
import { countTaken } from './statistics';

/** No size and no address is larger: numbers above are not exact in JavaScript. */
const MAX_BYTES: u64 = 1 << 53;

export function createFreeBlocks(heap: Heap, statistics: Statistics, device: i32, group: i32, unitBytes: i64): FreeBlocks {
  const free = changetype<FreeBlocks>(allot(heap, FREE_BLOCKS_BYTES));
  free.heap = heap;
  free.statistics = statistics;
  free.device = device;
  free.group = group;
  free.unitMask = unitBytes - 1;
  free.leastRest = unitBytes;
  free.splitLimit = i64.MAX_VALUE;
  free.recyclingLimit = i64.MAX_VALUE;
  free.small = free;
  free.large = free;
  return free;
}

export function addFront(free: FreeBlocks, largestBytes: i64, boundBytes: i64): void {
  free.front = createFront(free.heap, largestBytes, boundBytes);
}

export function addOpenBlocks(free: FreeBlocks, hasHoles: i32): void {
  free.open = createOpenBlocks(free.heap, hasHoles);
}

/** Takes a block of at least `requested` bytes, cut to size. @returns null when none fits, or for a number that is no size */
@inline
export function takeFree(free: FreeBlocks, requested: f64): Block | null {
  const bytes = <i64>requested;
  if (<f64>bytes != requested || <u64>(bytes - 1) >= MAX_BYTES) return null;
  const size = (bytes + free.unitMask) & ~free.unitMask;
  const source = size <= free.smallLimit ? free.small : free.large;
  const front = source.front;
  if (front !== null) {
    const block = popFront(front, size);
    if (block !== null) return block;
  }
  const block = findUsable(source, size);
  if (block === null) return null;
  carve(source, block, size);
  return block;
}

/** Takes a free block out and leaves what it has more than `size` bytes in, if that is worth a block. */
@inline
export function carve(free: FreeBlocks, block: Block, size: i64): void {
  if (block.state == OPEN) leaveOpen(free.open!, block);
  if (!isSplit(free, block, size)) {
    leaveBin(free, block);
    return;
  }
  const rest = splitBlock(block, size);
  rest.home = free;
  replaceInBin(free, block, rest);
  if (free.open !== null) noteOpen(free, rest);
}

/** Tells whether what a block has more than `size` bytes becomes a block. */
@inline
function isSplit(free: FreeBlocks, block: Block, size: i64): bool {
  return block.bytes - size >= free.leastRest && block.bytes < free.splitLimit;
}

/** Leaves what a block in no bins has more than `size` bytes in, if that is worth a block. */
export function cutTail(free: FreeBlocks, block: Block, size: i64): void {
  if (isSplit(free, block, size)) putIn(free, splitBlock(block, size));
}

/** The smallest or a good free block of at least `size` bytes that may be used again, or null. */
@inline
export function findUsable(free: FreeBlocks, size: i64): Block | null {
  const block = findFit(free, size);
  return block === null || block.bytes >= free.recyclingLimit ? null : block;
}

/** Hands a block out that is in no bins. */
@inline
export function handOut(block: Block, requested: f64, locks: i32): f64 {
  block.requested = <i64>requested;
  setLocksAndState(block, LIVE, locks);
  countTaken(block.home.statistics, requested, <f64>block.bytes);
  return <f64>block.address;
}

/** Takes a block back that nobody holds: into the front, or joined with its free neighbours. */
@inline
export function giveBack(block: Block): void {
  const home = block.home;
  // By the size before it is joined with its neighbours, as in Flashlight.
  const target = block.bytes <= home.smallLimit ? home.small : home.large;
  const front = target.front;
  if (front !== null && block.bytes <= front.largestBytes && pushFront(front, block)) {
    block.home = target;
    if (front.bytes > front.boundBytes) easeFront(target, front);
  } else {
    join(target, block);
  }
}

/** Makes a block free that is in no bins, joined with the free neighbours of its group. @returns the whole */
export function join(free: FreeBlocks, block: Block): Block {
  let whole = block;
  const previous = block.previous;
  if (previous !== null && previous.state <= OPEN && previous.home.group == free.group) {
    takeOut(previous);
    absorbNext(previous);
    whole = previous;
  }
  const next = whole.next;
  if (next !== null && next.state <= OPEN && next.home.group == free.group) {
    takeOut(next);
    absorbNext(whole);
  }
  putIn(free, whole);
  return whole;
}

/** Enters a block that has no free neighbours of its group. */
@inline
export function putIn(free: FreeBlocks, block: Block): void {
  block.home = free;
  enterBin(free, block);
  if (free.open !== null) noteOpen(free, block);
}

/** Takes a free block out. */
@inline
export function takeOut(block: Block): void {
  const free = block.home;
  if (block.state == OPEN) leaveOpen(free.open!, block);
  leaveBin(free, block);
}

/** Joins all deferred blocks with their free neighbours. O(deferred blocks). */
export function flushFront(free: FreeBlocks): void {
  const front = free.front;
  if (front === null) return;
  for (let block = popAtHand(front, false); block !== null; block = popAtHand(front, false)) join(free, block);
}

/** Joins deferred blocks until a quarter less wait than may. */
function easeFront(free: FreeBlocks, front: Front): void {
  const most = front.boundBytes - (front.boundBytes >> 2);
  while (front.bytes > most) join(free, popAtHand(front, true)!);
}

/** Moves every free block into others of another group, joined with their neighbours there. O(free blocks). */
export function moveAll(from: FreeBlocks, to: FreeBlocks): void {
  flushFront(from);
  for (let block = firstFree(from); block !== null; block = firstFree(from)) {
    takeOut(block);
    join(block.bytes <= to.smallLimit ? to.small : to.large, block);
  }
}

/** Tells whether a free block should be among the open ones. */
export function isOpen(block: Block, hasHoles: i32): bool {
  const previous = block.previous;
  const next = block.next;
  if (hasHoles != 0) return (next !== null && next.state == HOLE) || (previous !== null && previous.state == HOLE);
  return previous === null && next === null;
}

@inline
function noteOpen(free: FreeBlocks, block: Block): void {
  const open = free.open!;
  if (!isOpen(block, open.hasHoles)) return;
  block.state = OPEN;
  enterOpen(free.heap, open, block);
}
