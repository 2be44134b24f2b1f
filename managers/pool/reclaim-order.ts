import { NONE } from '../../src/blocks/block-table.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';

/** Blocks looked at from one side of the order: whole pages differ from bytes by less than two pages, so few are missed. */
const TRIES = 8;
const UNIT_BYTES = 16;

/**
 * Finds the free block to give back: the smallest that suffices, or else the one with the most.
 *
 * Cost: O(log n) for each of at most 17 blocks looked at, amortised.
 *
 * @param neededBytes - how much should be given back
 * @param edgeBytes - how much less than its size a block can give at most
 * @param sizeOf - bytes of a free block
 * @param givesOf - bytes that a block can give back now
 * @param topBytes - no block is larger
 * @returns a block that gives at least 1 byte, or NONE
 */
export function findReclaimable(
  idle: FreeBlocks,
  neededBytes: number,
  edgeBytes: number,
  topBytes: number,
  sizeOf: (block: number) => number,
  givesOf: (block: number) => number,
): number {
  let block = idle.fit(neededBytes);
  for (let tries = 0; block !== NONE && tries < TRIES; tries++) {
    if (givesOf(block) >= neededBytes) return block;
    block = idle.fit(sizeOf(block) + UNIT_BYTES);
  }
  block = idle.fit(neededBytes + edgeBytes);
  if (block !== NONE && givesOf(block) >= neededBytes) return block;
  let most = NONE;
  block = idle.below(topBytes + UNIT_BYTES);
  for (let tries = 0; block !== NONE && tries < TRIES; tries++) {
    if (givesOf(block) > (most === NONE ? 0 : givesOf(most))) most = block;
    block = idle.below(sizeOf(block));
  }
  return most;
}
