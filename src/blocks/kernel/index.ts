// What the kernel offers to JavaScript: two functions that every allocation and every free calls, and those by which
// policies work with blocks. Sizes and addresses are doubles there, blocks and structures are addresses in the kernel's
// memory, and 0 is none. Arguments of all but the first three functions are the caller's to check.

import { find, initHash } from './address-hash';
import { absorbNext, blockAfter, createBlock, firstBlock, removeBlock, splitBlock } from './block-rows';
import { areBinsSound, findBelow, findFit, firstFree, freeAfter } from './free-bins';
import * as free from './free-blocks';
import { allot, Block, FreeBlocks, Heap, HOLE, LIVE, LOOSE, Statistics, zeroed } from './layout';
import * as openBlocks from './open-blocks';
import { countFreed } from './statistics';

/** Given back, or still held by another lock. */
const DONE: i32 = 0;
const UNKNOWN: i32 = -1;
const DOUBLE_FREE: i32 = -2;
const FREED: i32 = 1;

/** Hands out a block of free blocks. @returns its address; 0 when none fits, or for a number that is no size */
export function allocate(source: FreeBlocks, requested: f64, locks: i32): f64 {
  if (changetype<usize>(source) == 0) return 0;
  const block = free.takeFree(source, requested);
  return block === null ? 0 : free.handOut(block, requested, locks);
}

/**
 * Clears locks of the block at an address and takes it back when none is left.
 *
 * @returns 0: others hold it; 1: it was taken back; -1: no block is there; -2: it was free;
 * a block: the caller is to take that back
 */
export function release(heap: Heap, pointer: f64, locks: i32): i32 {
  const address = <i64>pointer;
  const block = find(heap, address);
  if (block === null || <f64>address != pointer) return UNKNOWN;
  const held = block.locks;
  if (held == 0) return DOUBLE_FREE;
  const left = held & ~<u8>locks;
  block.locks = left;
  if (left != 0) return DONE;
  const home = block.home;
  const bytes = <f64>block.bytes;
  if (block.hasUsers != 0) home.statistics.deferred += bytes;
  countFreed(home.statistics, <f64>block.requested, bytes);
  if (home.isManual != 0 || block.hasUsers != 0) {
    block.state = LOOSE;
    return <i32>changetype<usize>(block);
  }
  free.giveBack(block);
  return FREED;
}

/** The live block at an address, or 0. */
export function liveBlock(heap: Heap, pointer: f64): i32 {
  const address = <i64>pointer;
  const block = find(heap, address);
  return block !== null && block.locks != 0 && <f64>address == pointer ? <i32>changetype<usize>(block) : 0;
}

/** The block at an address, live or not, or 0. */
export function blockAt(heap: Heap, address: f64): i32 {
  return idOf(find(heap, <i64>address));
}

// Structures

export function createHeap(): Heap {
  const heap = changetype<Heap>(zeroed(offsetof<Heap>()));
  initHash(heap);
  return heap;
}

/** Gives all memory of a heap back that its tables take. What {@link createFreeBlocks} made is the caller's to give back. */
export function destroyHeap(gone: Heap): void {
  for (let chunk = gone.chunks; chunk !== null; ) {
    const next = chunk.next;
    heap.free(chunk.memory);
    heap.free(changetype<usize>(chunk));
    chunk = next;
  }
  heap.free(gone.entries);
  heap.free(changetype<usize>(gone));
}

export function destroyFreeBlocks(gone: FreeBlocks): void {
  const open = gone.open;
  if (open !== null) {
    heap.free(open.sorted);
    heap.free(changetype<usize>(open));
  }
  if (gone.front !== null) heap.free(changetype<usize>(gone.front));
  heap.free(changetype<usize>(gone));
}

export function destroyStatistics(gone: Statistics): void {
  heap.free(changetype<usize>(gone));
}

export function createStatistics(heap: Heap): Statistics {
  return changetype<Statistics>(allot(heap, offsetof<Statistics>()));
}

export function createFreeBlocks(heap: Heap, statistics: Statistics, device: i32, group: i32, unitBytes: f64): FreeBlocks {
  return free.createFreeBlocks(heap, statistics, device, group, <i64>unitBytes);
}

export function setManual(source: FreeBlocks): void {
  source.isManual = 1;
}

/** Makes the blocks inside holes: addresses without memory. */
export function setHoles(source: FreeBlocks): void {
  source.inside = HOLE;
}

export function setExact(source: FreeBlocks): void {
  source.isExact = 1;
}

export function setLeastRest(source: FreeBlocks, bytes: f64): void {
  source.leastRest = <i64>bytes;
}

/** Infinity is no limit. */
export function setLimits(source: FreeBlocks, recyclingBytes: f64, splitBytes: f64): void {
  source.recyclingLimit = <i64>recyclingBytes;
  source.splitLimit = <i64>splitBytes;
}

/** Makes two sets of free blocks one: blocks of up to `limitBytes` go to the first. */
export function pair(small: FreeBlocks, large: FreeBlocks, limitBytes: f64): void {
  small.small = small;
  small.large = large;
  large.small = small;
  large.large = large;
  small.smallLimit = <i64>limitBytes;
  large.smallLimit = <i64>limitBytes;
}

export function addFront(source: FreeBlocks, largestBytes: f64, boundBytes: f64): void {
  free.addFront(source, <i64>largestBytes, <i64>boundBytes);
}

export function addOpenBlocks(source: FreeBlocks, hasHoles: i32): void {
  free.addOpenBlocks(source, hasHoles);
}

export function metadataBytes(heap: Heap): f64 {
  return <f64>heap.metadataBytes;
}

export function blockCount(heap: Heap): i32 {
  return heap.blockCount;
}

// Blocks

export function createBlockAt(home: FreeBlocks, address: f64, bytes: f64): Block {
  return createBlock(home, <i64>address, <i64>bytes);
}

export function remove(block: Block): void {
  removeBlock(block.home.heap, block);
}

export function split(block: Block, bytes: f64): Block {
  return splitBlock(block, <i64>bytes);
}

export function absorb(block: Block): void {
  absorbNext(block);
}

export function first(heap: Heap): i32 {
  return idOf(firstBlock(heap));
}

export function after(heap: Heap, block: Block): i32 {
  return idOf(blockAfter(heap, block));
}

export function addressOf(block: Block): f64 {
  return <f64>block.address;
}

export function bytesOf(block: Block): f64 {
  return <f64>block.bytes;
}

export function requestedOf(block: Block): f64 {
  return <f64>block.requested;
}

export function previousOf(block: Block): i32 {
  return idOf(block.previous);
}

export function nextOf(block: Block): i32 {
  return idOf(block.next);
}

export function homeOf(block: Block): FreeBlocks {
  return block.home;
}

export function setHome(block: Block, home: FreeBlocks): void {
  block.home = home;
}

export function deviceOf(block: Block): i32 {
  return block.home.device;
}

export function groupOf(block: Block): i32 {
  return block.home.group;
}

export function stateOf(block: Block): i32 {
  return block.state;
}

export function setState(block: Block, state: i32): void {
  block.state = <u8>state;
}

export function locksOf(block: Block): i32 {
  return block.locks;
}

export function setLocks(block: Block, locks: i32): void {
  block.locks = <u8>locks;
}

export function setHasUsers(block: Block, hasUsers: i32): void {
  block.hasUsers = <u8>hasUsers;
}

export function rowOf(block: Block): i32 {
  return block.row;
}

export function markOf(block: Block): i32 {
  return block.mark;
}

export function setMark(block: Block, mark: i32): void {
  block.mark = mark;
}

/** Hands a block out that is in no bins. @returns its address */
export function handOut(block: Block, requested: f64, locks: i32): f64 {
  return free.handOut(block, requested, locks);
}

/** Takes a block back that {@link release} left to the caller because streams used it. */
export function retire(block: Block): void {
  block.home.statistics.deferred -= <f64>block.bytes;
  block.hasUsers = 0;
  free.giveBack(block);
}

/** Undoes {@link release} of a block that could not be taken back after all. */
export function holdAgain(block: Block, locks: i32): void {
  block.locks = <u8>locks;
  block.state = LIVE;
  const statistics = block.home.statistics;
  statistics.requested += <f64>block.requested;
  statistics.allocated += <f64>block.bytes;
  statistics.blocks += 1;
  if (block.hasUsers != 0) statistics.deferred -= <f64>block.bytes;
}

// Free blocks

/** Takes a block of at least `requested` bytes out, cut to size, or gives 0. */
export function take(source: FreeBlocks, requested: f64): i32 {
  const block = free.takeFree(source, requested);
  if (block !== null) block.state = LOOSE;
  return idOf(block);
}

/** The free block that an allocation of `bytes` would be cut from, deferred ones aside, or 0. */
export function usable(source: FreeBlocks, bytes: f64): i32 {
  const size = (<i64>bytes + source.unitMask) & ~source.unitMask;
  return idOf(free.findUsable(size <= source.smallLimit ? source.small : source.large, size));
}

/** A free block of at least `bytes`, or 0. */
export function fit(source: FreeBlocks, bytes: f64): i32 {
  return idOf(findFit(source, <i64>bytes));
}

/** The largest free block of less than `bytes`, or 0. */
export function below(source: FreeBlocks, bytes: f64): i32 {
  return idOf(findBelow(source, <i64>bytes));
}

export function cutTail(home: FreeBlocks, block: Block, bytes: f64): void {
  free.cutTail(home, block, <i64>bytes);
}

/** Takes a free block out, cut to `bytes` where what is left is worth a block. */
export function carve(block: Block, bytes: f64): void {
  free.carve(block.home, block, <i64>bytes);
  block.state = LOOSE;
}

export function putIn(home: FreeBlocks, block: Block): void {
  free.putIn(home, block);
}

export function takeOut(block: Block): void {
  free.takeOut(block);
  block.state = LOOSE;
}

export function join(home: FreeBlocks, block: Block): Block {
  return free.join(home, block);
}

export function giveBack(block: Block): void {
  free.giveBack(block);
}

export function moveAll(from: FreeBlocks, to: FreeBlocks): void {
  free.moveAll(from, to);
}

export function flush(source: FreeBlocks): void {
  free.flushFront(source);
}

export function deferredBytes(source: FreeBlocks): f64 {
  return source.front === null ? 0 : <f64>source.front!.bytes;
}

export function setFrontBounds(source: FreeBlocks, largestBytes: f64, boundBytes: f64): void {
  const front = source.front!;
  front.largestBytes = <i64>largestBytes;
  front.boundBytes = <i64>boundBytes;
}

export function freeCount(source: FreeBlocks): i32 {
  return source.count;
}

export function firstFreeOf(source: FreeBlocks): i32 {
  return idOf(firstFree(source));
}

export function freeBehind(source: FreeBlocks, block: Block): i32 {
  return idOf(freeAfter(source, block));
}

export function openCount(source: FreeBlocks): i32 {
  return source.open!.count;
}

export function openAt(source: FreeBlocks, position: i32): Block {
  return openBlocks.openAt(source.open!, position);
}

export function openPositionOf(source: FreeBlocks, bytes: f64): i32 {
  return openBlocks.openPositionOf(source.open!, <i64>bytes);
}

/** Tells whether bins and open blocks are as they should be, in O(n). For tests. */
export function isSound(source: FreeBlocks): bool {
  if (!areBinsSound(source)) return false;
  const open = source.open;
  if (open === null) return true;
  let count = 0;
  for (let block = firstFree(source); block !== null; block = freeAfter(source, block!)) {
    const listed = block.state == 1;
    if (listed != free.isOpen(block, open.hasHoles)) return false;
    count += <i32>listed;
  }
  return count == open.count && openBlocks.areOpenBlocksSound(open);
}

@inline
function idOf(block: Block | null): i32 {
  return <i32>changetype<usize>(block);
}
