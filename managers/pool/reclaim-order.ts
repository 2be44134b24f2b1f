import { NONE } from '../../src/blocks/block-table.js';
import type { FreeBlockIndex } from '../../src/blocks/free-block-index.js';

/** Blocks looked at from one side of the order: whole pages differ from bytes by less than two pages, so few are missed. */
const TRIES = 8;
const UNIT_BYTES = 16;

/**
 * Finds the free block to give back: the smallest that suffices, or else the one with the most.
 *
 * Cost: O(log n) for each of at most 17 blocks looked at.
 *
 * @param neededBytes - how much should be given back
 * @param edgeBytes - how much less than its size a block can give at most
 * @param sizeOf - bytes of a free block
 * @param givesOf - bytes that a block can give back now
 * @param topBytes - no block is larger
 * @returns a block that gives at least 1 byte, or NONE
 */
export function findReclaimable(
  index: FreeBlockIndex,
  neededBytes: number,
  edgeBytes: number,
  topBytes: number,
  sizeOf: (block: number) => number,
  givesOf: (block: number) => number,
): number {
  let block = index.findBestFit(neededBytes);
  for (let tries = 0; block !== NONE && tries < TRIES; tries++) {
    if (givesOf(block) >= neededBytes) return block;
    block = index.findBestFit(sizeOf(block) + UNIT_BYTES);
  }
  block = index.findBestFit(neededBytes + edgeBytes);
  if (block !== NONE && givesOf(block) >= neededBytes) return block;
  let most = NONE;
  block = largestBelow(index, topBytes + UNIT_BYTES, sizeOf);
  for (let tries = 0; block !== NONE && tries < TRIES; tries++) {
    if (givesOf(block) > (most === NONE ? 0 : givesOf(most))) most = block;
    block = largestBelow(index, sizeOf(block), sizeOf);
  }
  return most;
}

/** The largest block of less than `limitBytes`, by halving the range of sizes: O(log limitBytes) searches; or NONE. */
function largestBelow(index: FreeBlockIndex, limitBytes: number, sizeOf: (block: number) => number): number {
  let found = NONE;
  let low = 0;
  let high = Math.ceil(limitBytes / UNIT_BYTES);
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const block = index.findBestFit(middle * UNIT_BYTES);
    if (block !== NONE && sizeOf(block) < limitBytes) {
      found = block;
      low = Math.floor(sizeOf(block) / UNIT_BYTES) + 1;
    } else {
      high = middle;
    }
  }
  return found;
}
