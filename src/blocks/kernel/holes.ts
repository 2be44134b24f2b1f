import { absorbNext, splitBlock } from './block-rows';
import { findBelow, findFit, leaveBin } from './free-bins';
import { join, MAX_BYTES, putIn } from './free-blocks';
import { allot, Block, FreeBlocks, HOLE, Holes, isJoinable, DETACHED, setStatus, stateOf } from './layout';

// Parts of address ranges that have no memory behind them, as blocks of their own: they begin and end at page boundaries,
// and no two are neighbours. Memory comes into a part of a hole, the gap, and whole pages of free blocks become holes.

/** Free blocks, the largest first, that are looked at for a hole beside them before a hole is taken for itself. */
const GAP_TRIES: i32 = 32;
/** Free blocks looked at from one side of the order: whole pages differ from bytes by less than two pages, so few are missed. */
const RECLAIM_TRIES: i32 = 8;
const UNIT_BYTES: f64 = 16;

/** Lets free blocks hold the holes beside those of `idle`. @param pageBytes - a multiple of {@link UNIT_BYTES} */
export function createHoles(source: FreeBlocks, idle: FreeBlocks, pageBytes: f64): void {
  const holes = changetype<Holes>(allot(source.heap, offsetof<Holes>()));
  holes.idle = idle;
  holes.pageBytes = pageBytes;
  source.inside = HOLE;
  source.holes = holes;
}

export function holeCount(source: FreeBlocks): i32 {
  return source.holes!.count;
}

/** Puts a block in no bins among the holes, joined with those beside it. */
export function keepHole(source: FreeBlocks, hole: Block): void {
  let whole = hole;
  if (stateOf(hole.next!) == HOLE) {
    giveHole(source, hole.next!);
    absorbNext(hole);
  }
  const previous = hole.previous!;
  if (stateOf(previous) == HOLE) {
    giveHole(source, previous);
    absorbNext(previous);
    whole = previous;
  }
  putIn(source, whole);
  source.holes!.count++;
}

/** Takes a hole out. */
export function giveHole(source: FreeBlocks, hole: Block): void {
  leaveBin(source, hole);
  setStatus(hole, DETACHED, 0);
  source.holes!.count--;
}

/**
 * Finds the part of a hole that makes room for `bytes` with the fewest new pages, as far as a few free blocks tell: the
 * gap, until the next search. O(log n) for each of at most {@link GAP_TRIES} blocks.
 *
 * @returns the hole, or null when none has the room
 */
export function findGap(source: FreeBlocks, bytes: f64): Block | null {
  const holes = source.holes!;
  holes.hole = null;
  let block = findBelow(holes.idle, min(holes.idle.statistics.reserved + 1, MAX_BYTES));
  for (let tries = 0; block !== null && tries < GAP_TRIES; tries++) {
    consider(holes, block.next!, bytes);
    consider(holes, block.previous!, bytes);
    if (holes.hole !== null) return holes.hole;
    block = findBelow(holes.idle, block.bytes);
  }
  const hole = findFit(source, pageAt(holes, bytes));
  if (hole !== null) consider(holes, hole, bytes);
  return holes.hole;
}

/** Makes a part of a hole the gap when it makes room with fewer pages than the gap so far. */
function consider(holes: Holes, hole: Block, bytes: f64): void {
  if (stateOf(hole) != HOLE) return;
  const left = isJoinable(hole.previous!, holes.idle.group) ? hole.previous : null;
  const right = isJoinable(hole.next!, holes.idle.group) ? hole.next : null;
  const leftBytes = left === null ? 0 : left.bytes;
  const rightBytes = right === null ? 0 : right.bytes;
  const room = hole.bytes;
  if (leftBytes + room + rightBytes < bytes) return;
  const behindLeft = pageAt(holes, max(bytes - leftBytes, 1));
  const beforeRight = pageAt(holes, max(bytes - rightBytes, 1));
  const isAtRight = beforeRight < behindLeft && beforeRight <= room;
  const needed = isAtRight ? beforeRight : min(behindLeft, room);
  if (holes.hole !== null && holes.gapBytes <= needed) return;
  holes.hole = hole;
  holes.gapBytes = needed;
  holes.gapAt = isAtRight ? hole.address + room - needed : hole.address;
  holes.left = isAtRight ? null : left;
  holes.right = isAtRight || behindLeft > room ? right : null;
}

export function gapAddress(source: FreeBlocks): f64 {
  return source.holes!.gapAt;
}

/** What has to come to the gap at least. */
export function gapBytes(source: FreeBlocks): f64 {
  return source.holes!.gapBytes;
}

/** The most bytes that memory may come to at the gap: a part at the end of a hole has no room behind it. */
export function gapRoom(source: FreeBlocks): f64 {
  const holes = source.holes!;
  const hole = holes.hole!;
  return holes.gapAt == hole.address ? hole.bytes : holes.gapBytes;
}

/** Notes that memory has come to a part of a hole that was taken out. @returns the free block that holds it */
export function fill(source: FreeBlocks, hole: Block, address: f64, bytes: f64): Block {
  let part = hole;
  if (address > hole.address) {
    part = splitBlock(hole, address - hole.address);
    keepHole(source, hole);
  }
  if (part.bytes > bytes) keepHole(source, splitBlock(part, bytes));
  return join(source.holes!.idle, part);
}

/**
 * The free block whose whole pages are to be given back: the smallest that gives `bytes`, or else the one that gives most;
 * never one beside the gap. O(log n) for each of at most 17 blocks.
 *
 * @param leastBytes - what a block has to give at least
 * @returns null when none gives any
 */
export function reclaimable(source: FreeBlocks, bytes: f64, leastBytes: f64): Block | null {
  const holes = source.holes!;
  const idle = holes.idle;
  let block = fitOf(idle, bytes);
  for (let tries = 0; block !== null && tries < RECLAIM_TRIES; tries++) {
    if (givenBy(holes, block, leastBytes) >= bytes) return block;
    block = fitOf(idle, block.bytes + UNIT_BYTES);
  }
  block = fitOf(idle, bytes + 2 * holes.pageBytes);
  if (block !== null && givenBy(holes, block, leastBytes) >= bytes) return block;
  let best: Block | null = null;
  let most: f64 = 0;
  block = findBelow(idle, min(idle.statistics.reserved + UNIT_BYTES, MAX_BYTES));
  for (let tries = 0; block !== null && tries < RECLAIM_TRIES; tries++) {
    const given = givenBy(holes, block, leastBytes);
    if (given > most) {
      most = given;
      best = block;
    }
    block = findBelow(idle, block.bytes);
  }
  return best;
}

/** Makes the whole pages of a free block that was taken out a hole. */
export function punch(source: FreeBlocks, block: Block): void {
  const holes = source.holes!;
  const from = firstPage(source, block);
  const bytes = wholePages(source, block);
  const hole = from > block.address ? splitBlock(block, from - block.address) : block;
  const tail = hole.bytes > bytes ? splitBlock(hole, bytes) : null;
  if (hole !== block) join(holes.idle, block);
  if (tail !== null) join(holes.idle, tail);
  keepHole(source, hole);
}

/** Where the first whole page of a block begins. */
export function firstPage(source: FreeBlocks, block: Block): f64 {
  return pageAt(source.holes!, block.address);
}

/** Bytes of the whole pages in a block. */
export function wholePages(source: FreeBlocks, block: Block): f64 {
  return pagesIn(source.holes!, block);
}

function pagesIn(holes: Holes, block: Block): f64 {
  const end = floor((block.address + block.bytes) / holes.pageBytes) * holes.pageBytes;
  return max(end - pageAt(holes, block.address), 0);
}

/** What a block gives back, 0 if that is less than it has to. */
function givenBy(holes: Holes, block: Block, leastBytes: f64): f64 {
  if (block === holes.left || block === holes.right) return 0;
  const bytes = pagesIn(holes, block);
  return bytes < leastBytes ? 0 : bytes;
}

/** The smallest free block of at least `bytes`, or null. */
function fitOf(idle: FreeBlocks, bytes: f64): Block | null {
  return bytes <= MAX_BYTES ? findFit(idle, max(bytes, 1)) : null;
}

/** A number of bytes, or an address, rounded up to pages. Exact, since what it rounds is a multiple of a unit and below 2^53. */
@inline
function pageAt(holes: Holes, bytes: f64): f64 {
  return ceil(bytes / holes.pageBytes) * holes.pageBytes;
}
