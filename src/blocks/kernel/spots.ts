import { findFit, firstFree, freeAfter } from './free-bins';
import { MAX_BYTES } from './free-blocks';
import { Block, EDGE, FreeBlocks, Holes, isJoinable } from './layout';

// Where a block is to lie so that live blocks touch few pages: not where memory is already, since whole pages without a live
// block can be given back elsewhere, and no others. Of places that touch as few, the lowest: what lives long gathers there.

const UNIT_BYTES: f64 = 16;
/** Holes, and free blocks, that are looked at once there is a place: the smallest ones. */
const MOST_TRIES: i32 = 64;

/**
 * Finds the place for a block that touches the fewest pages in which nothing is live, of these the lowest: the spot, until the next
 * search. It begins where a free part begins, or at the last page from which the block fits. What memory has to come to it is the gap.
 * Of many free parts the smallest alone are looked at: O({@link MOST_TRIES}), O(holes) where those are too small.
 *
 * @returns the hole that the gap lies in, or the free block where no memory has to come; null when there is no place
 */
export function findSpot(source: FreeBlocks, bytes: f64): Block | null {
  const holes = source.holes!;
  holes.hole = null;
  holes.left = null;
  holes.right = null;
  const size = ceil(bytes / UNIT_BYTES) * UNIT_BYTES;
  if (!(size <= MAX_BYTES)) return null;
  let tries = 0;
  for (let hole = firstFree(source); hole !== null; hole = freeAfter(source, hole!)) {
    if (++tries > MOST_TRIES && holes.hole !== null) break;
    const left = hole.previous!;
    const right = hole.next!;
    const end = hole.address + hole.bytes;
    const from = isJoinable(left, holes.idle.group) ? left.address : hole.address;
    const to = isJoinable(right, holes.idle.group) ? end + right.bytes : end;
    considerSpots(holes, hole, from, to, size, hole.address, end);
  }
  // A long walk along a bin makes it a tree, in which others that fit may come before the one that was found.
  findFit(holes.idle, size);
  tries = 0;
  for (let block = findFit(holes.idle, size); block !== null && tries < MOST_TRIES; block = freeAfter(holes.idle, block!)) {
    tries++;
    considerSpots(holes, block, block.address, block.address + block.bytes, size, 0, 0);
  }
  return holes.hole;
}

export function spotAddress(source: FreeBlocks): f64 {
  return source.holes!.spotAt;
}

/** Looks at the places in a free part from `from` to `to`, of which `holeFrom` to `holeTo` has no memory; none of it has when both are 0. */
function considerSpots(holes: Holes, block: Block, from: f64, to: f64, size: f64, holeFrom: f64, holeTo: f64): void {
  if (to - from < size) return;
  considerSpot(holes, block, from, from, to, size, holeFrom, holeTo);
  // Behind the last hole of a range there is nothing to lie close to.
  if (changetype<usize>(block.next) == EDGE) return;
  const last = pageBelow(holes, to - size);
  if (last > from) considerSpot(holes, block, last, from, to, size, holeFrom, holeTo);
}

function considerSpot(holes: Holes, block: Block, at: f64, from: f64, to: f64, size: f64, holeFrom: f64, holeTo: f64): void {
  const pageBytes = holes.pageBytes;
  const firstPage = pageBelow(holes, at);
  const endPage = ceil((at + size) / pageBytes) * pageBytes;
  const gapFrom = max(firstPage, holeFrom);
  const gapTo = min(endPage, holeTo);
  // What lies in a free block beside the hole is looked at with that block.
  if (holeTo > 0 && gapTo <= gapFrom) return;
  let touched = endPage - firstPage;
  const isFirstLive = firstPage < from;
  if (isFirstLive) touched -= pageBytes;
  if (endPage > to && !(isFirstLive && endPage - firstPage == pageBytes)) touched -= pageBytes;
  if (holes.hole !== null && (touched > holes.touched || (touched == holes.touched && at >= holes.spotAt))) return;
  holes.hole = block;
  holes.touched = touched;
  holes.spotAt = at;
  holes.gapAt = gapFrom;
  holes.gapBytes = holeTo > 0 ? gapTo - gapFrom : 0;
}

@inline
function pageBelow(holes: Holes, address: f64): f64 {
  return floor(address / holes.pageBytes) * holes.pageBytes;
}
