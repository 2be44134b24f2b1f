import { NONE } from '../../src/blocks/block-rows.js';
import type { DeviceHeap } from '../../src/blocks/device-heap.js';
import { alignUp } from '../../src/core/units.js';
import type { StreamBlocks } from './block-pools.js';

/** The address range of an expandable segment has room for so much more than the device has. */
export const RANGE_SHARE = 9 / 8;

/** What a free block can grow to: its own size, and that of the hole behind it. */
export function growableBytes(heap: DeviceHeap, block: number): number {
  const next = heap.nextOf(block);
  return heap.bytesOf(block) + (heap.isHole(next) ? heap.bytesOf(next) : 0);
}

/**
 * Of free blocks that fit, the one to take: the first whose successor could not grow to less. Without that rule the part of a
 * segment that can grow would be taken first.
 */
export function leastGrowable(heap: DeviceHeap, { free }: StreamBlocks, fitting: number): number {
  for (let block = fitting; ; ) {
    const next = free.after(block);
    if (next === NONE || growableBytes(heap, next) >= growableBytes(heap, block)) return block;
    block = next;
  }
}

/**
 * Maps pages until there is a free block of at least `bytes`: at the lowest address where free blocks and holes lie one behind
 * the other with that much room.
 *
 * @returns it, or NONE; what was mapped until then stays
 */
export function mapBlock(
  heap: DeviceHeap,
  blocks: StreamBlocks,
  bytes: number,
  capacityBytes: number,
  failure: { cause: unknown },
): number {
  const pages = blocks.pages!;
  let grownBytes = 0;
  for (;;) {
    let start = firstRoom(heap, blocks, bytes);
    if (start === NONE) {
      const { pageBytes } = pages;
      const room = Math.max(alignUp(capacityBytes * RANGE_SHARE, pageBytes), alignUp(bytes, pageBytes));
      if (!pages.reserve(room, alignUp(bytes, pageBytes), failure)) return NONE;
      start = firstRoom(heap, blocks, bytes);
    }
    const isHole = heap.isHole(start);
    const hole = isHole ? start : heap.nextOf(start);
    const missing = isHole ? bytes : bytes - heap.bytesOf(start);
    // The call that reserved may have come back with frees.
    if (missing <= 0) return start;
    if (!isHole) grownBytes = Math.max(grownBytes, heap.bytesOf(start));
    const mapped = Math.min(alignUp(missing, pages.pageBytes), heap.bytesOf(hole));
    const block = pages.commit(hole, heap.addressOf(hole), mapped, failure);
    if (block === NONE || heap.bytesOf(block) >= bytes) return block;
    // Whoever was asked for pages may have had those taken back that these were to join, as a budget does: again and again.
    if (heap.bytesOf(block) <= grownBytes) return NONE;
    grownBytes = heap.bytesOf(block);
  }
}

/** Where free blocks and holes with room for `bytes` begin: a hole, or the free block before one. */
function firstRoom(heap: DeviceHeap, { free, pages }: StreamBlocks, bytes: number): number {
  const holes = pages!.holes.toArray().sort((a, b) => heap.addressOf(a) - heap.addressOf(b));
  for (const hole of holes) {
    const previous = heap.previousOf(hole);
    const start = free.has(previous) ? previous : hole;
    let room = 0;
    for (let block = start; room < bytes && (heap.isHole(block) || free.has(block)); block = heap.nextOf(block)) {
      room += heap.bytesOf(block);
    }
    if (room >= bytes) return start;
  }
  return NONE;
}
