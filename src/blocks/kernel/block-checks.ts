// What must hold of the blocks of a heap, and the sums over them. For tests, which ask after every call: a walk from
// JavaScript takes ten times as long.

import { blockIn, slotOf } from './address-index';
import { Block, Chunk, Heap, HOLE, INDEXED, locksOf, stateOf, UNUSED } from './layout';

const ROW_BYTES: usize = offsetof<Block>();

/** Tells whether a link leads to a block of the heap. O(chunks). */
function isBlock(heap: Heap, link: usize): bool {
  for (let chunk = heap.chunks; chunk !== null; chunk = chunk!.next) {
    if (link < chunk.rows || link >= endOf(chunk)) continue;
    return (link - chunk.rows) % ROW_BYTES == 0 && stateOf(changetype<Block>(link)) != UNUSED;
  }
  return false;
}

function isBlockSound(heap: Heap, block: Block): bool {
  const previous = changetype<usize>(block.previous);
  if (previous != 0 && !isBlock(heap, previous)) return false;
  const next = changetype<usize>(block.next);
  if (next != 0) {
    if (!isBlock(heap, next)) return false;
    const behind = changetype<Block>(next);
    if (behind.previous !== block || behind.address != block.address + block.bytes) return false;
  }
  if (block.owner.heap.device != heap.device || !(block.bytes > 0)) return false;
  const isFree = locksOf(block) == 0;
  if (!isFree && !(block.requested <= block.bytes)) return false;
  const isFound = blockIn(slotOf(heap, block.address)) === block;
  return isFree ? stateOf(block) != INDEXED || !isFound : isFound;
}

/** Tells whether links, sizes and addresses of every block are as they should be. O(blocks). */
export function areBlocksSound(heap: Heap): bool {
  for (let chunk = heap.chunks; chunk !== null; chunk = chunk!.next) {
    for (let at = chunk.rows; at < endOf(chunk); at += ROW_BYTES) {
      const row = changetype<Block>(at);
      if (stateOf(row) != UNUSED && !isBlockSound(heap, row)) return false;
    }
  }
  return true;
}

/** The bytes of all blocks that are memory. O(blocks). */
export function sumMemory(heap: Heap): f64 {
  let bytes: f64 = 0;
  for (let chunk = heap.chunks; chunk !== null; chunk = chunk!.next) {
    for (let at = chunk.rows; at < endOf(chunk); at += ROW_BYTES) {
      const state = stateOf(changetype<Block>(at));
      if (state != UNUSED && state != HOLE) bytes += changetype<Block>(at).bytes;
    }
  }
  return bytes;
}

/** The bytes of all blocks that are held. O(blocks). */
export function sumLive(heap: Heap): f64 {
  let bytes: f64 = 0;
  for (let chunk = heap.chunks; chunk !== null; chunk = chunk!.next) {
    for (let at = chunk.rows; at < endOf(chunk); at += ROW_BYTES) {
      if (locksOf(changetype<Block>(at)) != 0) bytes += changetype<Block>(at).bytes;
    }
  }
  return bytes;
}

/** How many blocks are in bins. O(blocks). */
export function countInBins(heap: Heap): i32 {
  let count = 0;
  for (let chunk = heap.chunks; chunk !== null; chunk = chunk!.next) {
    for (let at = chunk.rows; at < endOf(chunk); at += ROW_BYTES) {
      count += <i32>(stateOf(changetype<Block>(at)) == INDEXED);
    }
  }
  return count;
}

/** A block in bins whose neighbour, of the same group, is too: the two were not joined. O(blocks). @returns 0 when there is none */
export function firstUnjoined(heap: Heap): i32 {
  for (let chunk = heap.chunks; chunk !== null; chunk = chunk!.next) {
    for (let at = chunk.rows; at < endOf(chunk); at += ROW_BYTES) {
      const row = changetype<Block>(at);
      if (stateOf(row) != INDEXED) continue;
      const next = row.next;
      if (next !== null && stateOf(next) == INDEXED && next.group == row.group) return <i32>at;
    }
  }
  return 0;
}

@inline
function endOf(chunk: Chunk): usize {
  return chunk.rows + <usize>chunk.rowCount * ROW_BYTES;
}
