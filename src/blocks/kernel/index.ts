// What the kernel offers to JavaScript: two functions that every allocation and every free calls, and those by which
// policies work with blocks. Sizes and addresses are doubles there, blocks and structures are addresses in the kernel's
// memory, and 0 is none. Arguments of all but the first three functions are the caller's to check.

import { blockIn, enter, initIndex, slotOf } from './address-index';
import { absorbNext, countBlocks, createBlock, idOf, isBlockAt, nextBlock, removeBlock, splitBlock } from './block-rows';
import { areBinsSound, countFree, findFit, firstFree, freeAfter } from './free-bins';
import * as free from './free-blocks';
import * as layout from './layout';
import { allot, Block, EDGE, FreeBlocks, Heap, LIVE, DETACHED, Statistics, setStatus, UNUSED, zeroed } from './layout';
import {
  countDeferred,
  countFreed,
  countHeldAgain,
  countRequested,
  countReserved as countReservedIn,
  countTaken,
} from './statistics';

export { areBlocksSound, countInBins, firstUnjoined, sumLive, sumMemory } from './block-checks';
export {
  addressOf,
  bytesOf,
  deviceOf,
  groupOf,
  locksOf,
  markOf,
  nextOf,
  previousOf,
  requestedOf,
  rowOf,
  setHasUsers,
  setLocks,
  setMark,
  setState,
  stateOf,
} from './block-fields';
export { addFront, createFreeBlocks, cutTail, flushFront as flush, moveAll } from './free-blocks';
export {
  createHoles,
  fill,
  findGap,
  firstPage,
  giveHole,
  holeCount,
  keepHole,
  punch,
  reclaimable,
  gapAddress,
  gapBytes,
  gapRoom,
  wholePages,
} from './holes';
export { HOLE, INDEXED, DETACHED } from './layout';
export { findSpot, spotAddress } from './spots';

// The row of null: what makes it the end of every list and segment.
const edge = changetype<Block>(EDGE);
edge.bytes = f64.POSITIVE_INFINITY;
edge.status = UNUSED;

// What `release` answers beside a block.
/** Others hold the block. */
export const HELD: i32 = 0;
/** It was taken back. */
export const FREED: i32 = 1;
/** No live block is there. */
export const NOT_LIVE: i32 = -1;

/** Hands out a block of free blocks. @returns its address; 0 when none fits, or for a number that is no size */
export function allocate(source: FreeBlocks, requested: f64, locks: i32): f64 {
  if (changetype<usize>(source) == 0) return 0;
  const block = free.takeOne(source, requested, locks);
  if (block === null) return 0;
  countTaken(source.statistics, requested, block.bytes);
  return block.address;
}

/**
 * Clears locks of the block at an address and takes it back when none is left.
 *
 * @returns {@link HELD}, {@link FREED}, {@link NOT_LIVE}, or the block: the caller is to take that back
 */
export function release(heap: Heap, pointer: f64, locks: i32): i32 {
  const slot = slotOf(heap, pointer);
  const block = blockIn(slot);
  const owner = block.owner;
  if (block.status != layout.statusOf(LIVE, <u32>locks)) return releaseOther(locks, slot);
  if (owner.isManual != 0) return releaseOther(locks, slot);
  countFreed(owner.statistics, block);
  free.giveBack(block, slot);
  return FREED;
}

/** As {@link release}, for what is not simply held by just these locks and taken back into free blocks. */
function releaseOther(locks: i32, slot: usize): i32 {
  const block = blockIn(slot);
  const held = layout.locksOf(block);
  if (held == 0) return NOT_LIVE;
  const left = held & ~<u32>locks;
  if (left != 0) {
    block.status ^= (held ^ left) << 8;
    return HELD;
  }
  const owner = block.owner;
  if (layout.hasUsers(block)) countDeferred(owner.statistics, block.bytes);
  countFreed(owner.statistics, block);
  if (!layout.hasUsers(block) && owner.isManual == 0) {
    free.giveBack(block, slot);
    return FREED;
  }
  block.status = (block.status & 0xff0000) | DETACHED;
  return <i32>changetype<usize>(block);
}

/** The live block at an address, or 0. */
export function liveBlock(heap: Heap, pointer: f64): i32 {
  const block = blockIn(slotOf(heap, pointer));
  return layout.locksOf(block) != 0 ? idOf(block) : 0;
}

/** Tells whether a block that is free begins at an address. O(blocks). */
export function isFreeAt(heap: Heap, address: f64): bool {
  return isBlockAt(heap, address) && liveBlock(heap, address) == 0;
}

/** The block at an address, or 0: if it is live, deferred, used by streams, or left to the policy. */
export function blockAt(heap: Heap, address: f64): i32 {
  return idOf(blockIn(slotOf(heap, address)));
}

// Structures

export function createHeap(device: i32): Heap {
  const heap = changetype<Heap>(zeroed(offsetof<Heap>()));
  heap.device = device;
  heap.statistics = changetype<Statistics>(allot(heap, offsetof<Statistics>()));
  initIndex(heap);
  return heap;
}

/** Gives back all memory of a heap, and of what was made for it. */
export function destroyHeap(gone: Heap): void {
  for (let free = gone.freeBlocks; free !== null; ) {
    const earlier = free.earlier;
    if (free.front !== null) heap.free(changetype<usize>(free.front));
    if (free.holes !== null) heap.free(changetype<usize>(free.holes));
    heap.free(changetype<usize>(free));
    free = earlier;
  }
  for (let chunk = gone.chunks; chunk !== null; ) {
    const next = chunk.next;
    heap.free(chunk.memory);
    heap.free(changetype<usize>(chunk));
    chunk = next;
  }
  heap.free(gone.bucketMemory);
  heap.free(changetype<usize>(gone.statistics));
  heap.free(changetype<usize>(gone));
}

/** Where the counters of a heap are. */
export function statisticsOf(heap: Heap): Statistics {
  return heap.statistics;
}

/** Counts native memory that was got, or given back: its bytes are negative. */
export function countReserved(heap: Heap, bytes: f64): void {
  countReservedIn(heap.statistics, bytes);
}

export function setManual(source: FreeBlocks): void {
  source.isManual = 1;
}

export function setExact(source: FreeBlocks): void {
  source.isExact = 1;
}

export function setLeastRest(source: FreeBlocks, bytes: f64): void {
  source.leastRest = bytes;
}

/** Infinity is no limit. */
export function setLimits(source: FreeBlocks, recyclingBytes: f64, splitBytes: f64): void {
  source.recyclingLimit = recyclingBytes;
  source.splitLimit = splitBytes;
}

/** Makes two sets of free blocks one: blocks of up to `limitBytes` go to the first. */
export function pair(small: FreeBlocks, large: FreeBlocks, limitBytes: f64): void {
  small.small = small;
  small.large = large;
  large.small = small;
  large.large = large;
  small.smallLimit = limitBytes;
  large.smallLimit = limitBytes;
}

export function metadataBytes(heap: Heap): f64 {
  return <f64>heap.metadataBytes;
}

export function blockCount(heap: Heap): i32 {
  return countBlocks(heap);
}

// Blocks

export function createBlockAt(owner: FreeBlocks, address: f64, bytes: f64): Block {
  const block = createBlock(owner, address, bytes);
  if (owner.isManual != 0) enter(owner.heap, block);
  return block;
}

export function remove(block: Block): void {
  leaveIndex(block);
  removeBlock(block.owner.heap, block);
}

export function split(block: Block, bytes: f64): Block {
  const rest = splitBlock(block, bytes);
  if (block.owner.isManual != 0) enter(block.owner.heap, rest);
  return rest;
}

export function absorb(block: Block): void {
  leaveIndex(block.next!);
  absorbNext(block);
}

export function first(heap: Heap): i32 {
  return idOf(nextBlock(heap, null));
}

export function after(heap: Heap, block: Block): i32 {
  return idOf(nextBlock(heap, block));
}

export function setOwner(block: Block, owner: FreeBlocks): void {
  changeOwner(block, owner);
}

/**
 * Lets a block belong to other free blocks. Those of a policy are found by their addresses also while they are free, so
 * that a live block can only go to free blocks of the same kind.
 */
function changeOwner(block: Block, owner: FreeBlocks): void {
  if (owner.isManual == 0) leaveIndex(block);
  else if (block.owner.isManual == 0) enter(owner.heap, block);
  free.setOwner(block, owner);
}

/** Lets a free block be found no more. */
function leaveIndex(block: Block): void {
  const owner = block.owner;
  if (owner.isManual != 0) free.leave(block);
}

/** Hands a block out that is in no bins. @returns its address */
export function handOut(block: Block, requested: f64, locks: i32): f64 {
  return free.handOut(block, requested, locks);
}

/** Changes what the holder of a live block asks for. */
export function setRequested(block: Block, requested: f64): void {
  countRequested(block.owner.statistics, requested - block.requested);
  block.requested = requested;
}

/** Takes a block back that {@link release} left to the caller because streams used it. */
export function retire(block: Block): void {
  const owner = block.owner;
  countDeferred(owner.statistics, -block.bytes);
  free.giveBack(block, slotOf(owner.heap, block.address));
}

/** Undoes {@link release} of a block that could not be taken back after all. */
export function holdAgain(block: Block, locks: i32): void {
  block.status = (block.status & 0xff0000) | LIVE | (<u32>locks << 8);
  const statistics = block.owner.statistics;
  countHeldAgain(statistics, block);
  if (layout.hasUsers(block)) countDeferred(statistics, -block.bytes);
}

// Free blocks

/** Takes a block of at least `requested` bytes out, cut to size, or gives 0. */
export function take(source: FreeBlocks, requested: f64): i32 {
  const block = free.takeOne(source, requested, 0);
  if (block === null) return 0;
  free.leave(block);
  setStatus(block, DETACHED, 0);
  return idOf(block);
}

/** A free block that an allocation of `bytes` may be cut from, deferred ones aside, or 0 when there is none. */
export function usable(source: FreeBlocks, bytes: f64): i32 {
  return bytes > 0 && bytes <= free.MAX_BYTES ? idOf(free.findUsable(free.partFor(source, bytes), max(bytes, 1))) : 0;
}

/** A free block of at least `bytes`, or 0 when there is none. O(blocks of one bin) for a good fit. */
export function fit(source: FreeBlocks, bytes: f64): i32 {
  return bytes <= free.MAX_BYTES ? idOf(findFit(source, max(bytes, 1))) : 0;
}

/** Takes a free block out, cut to `bytes` where what is left is worth a block. */
export function carve(block: Block, bytes: f64): void {
  free.carve(block.owner, block, bytes);
  setStatus(block, DETACHED, 0);
}

/** As {@link carve}, so that the block's address is a multiple of `alignment`: it has `bytes + alignment` at least. */
export function carveAligned(block: Block, bytes: f64, alignment: f64): Block {
  const owner = block.owner;
  const front = ceil(block.address / alignment) * alignment - block.address;
  free.takeOut(block);
  setStatus(block, DETACHED, 0);
  const aligned = front > 0 ? splitBlock(block, front) : block;
  free.cutTail(owner, aligned, bytes);
  // A policy may have divided a free block right before it, to have one begin there.
  if (front > 0) free.join(owner, block);
  return aligned;
}

export function putIn(owner: FreeBlocks, block: Block): void {
  changeOwner(block, owner);
  free.putIn(owner, block);
}

export function takeOut(block: Block): void {
  free.takeOut(block);
  setStatus(block, DETACHED, 0);
}

export function join(owner: FreeBlocks, block: Block): Block {
  changeOwner(block, owner);
  return free.join(owner, block);
}

export function flushFor(source: FreeBlocks, bytes: f64): i32 {
  return idOf(free.flushFor(source, bytes));
}

export function deferredBytes(source: FreeBlocks): f64 {
  return source.front === null ? 0 : source.front!.bytes;
}

export function setFrontBounds(source: FreeBlocks, largestBytes: f64, boundBytes: f64): void {
  const front = source.front!;
  front.largestBytes = largestBytes;
  front.boundBytes = boundBytes;
}

/** How many blocks the bins hold. O(blocks). */
export function freeCount(source: FreeBlocks): i32 {
  return countFree(source);
}

export function hasFree(source: FreeBlocks): bool {
  return source.filledWords != 0;
}

export function firstFreeOf(source: FreeBlocks): i32 {
  return idOf(firstFree(source));
}

export function freeBehind(source: FreeBlocks, block: Block): i32 {
  return idOf(freeAfter(source, block));
}

/** Tells whether bins are as they should be, in O(n). For tests. */
export function isSound(source: FreeBlocks): bool {
  return areBinsSound(source);
}
