import type { DeviceHeap } from '../../src/blocks/device-heap.js';
import { checkArgument, MemoryError } from '../../src/core/errors.js';
import { alignUp, type DevicePtr } from '../../src/core/units.js';
import { MIN_BLOCK_BYTES } from '../policy/segment-sizes.js';
import type { StreamBlocks } from './block-pools.js';

/** A live block of a {@link RestoredSegment}. */
export interface RestoredBlock {
  /** From the start of the segment. */
  readonly offsetBytes: number;
  /** Of the block; a multiple of 512. */
  readonly bytes: number;
  readonly requestedBytes: number;
}

/** A segment as a snapshot tells of it. What its live blocks leave is cached. */
export interface RestoredSegment {
  /** 0, or a private pool. */
  readonly pool: number;
  readonly stream: number;
  readonly isSmall: boolean;
  /** The memory, which the device has given; of an expandable segment it is left out: it is mapped. */
  readonly address: number;
  readonly bytes: number;
  /** By offset. */
  readonly blocks: readonly RestoredBlock[];
}

/** @throws ERR_MEM_INVALID_ARGUMENT for blocks that do not lie in the segment, one behind the other */
export function checkSegment({ bytes, blocks }: RestoredSegment): void {
  let at = 0;
  for (const block of blocks) {
    const isInside = block.offsetBytes >= at && block.bytes > 0 && block.offsetBytes + block.bytes <= bytes;
    const isWhole = [block.offsetBytes, block.bytes].every((size) => Number.isSafeInteger(size) && size % MIN_BLOCK_BYTES === 0);
    const isAsked = block.requestedBytes > 0 && block.requestedBytes <= block.bytes;
    checkArgument(isInside && isWhole && isAsked, 'blocks', JSON.stringify(block), 'blocks of the segment, by offset');
    at = block.offsetBytes + block.bytes;
  }
}

/** Maps `bytes` of pages for a segment, apart from all that is mapped. @returns a free block of just that many bytes, in no bins */
export function mapSegment(heap: DeviceHeap, { free, pages }: StreamBlocks, bytes: number, capacityBytes: number): number {
  const { pageBytes, holes } = pages!;
  const failure = { cause: undefined as unknown };
  // One page before it stays unmapped, so that it is not joined with another.
  const hasRoom = () => holes.toArray().findLast((hole) => heap.bytesOf(hole) >= bytes + 2 * pageBytes);
  if (hasRoom() === undefined)
    pages!.reserve(alignUp(capacityBytes * 2 + bytes, pageBytes), alignUp(bytes, pageBytes) + 2 * pageBytes, failure);
  const hole = hasRoom();
  const block = hole === undefined ? 0 : pages!.commit(hole, heap.addressOf(hole) + pageBytes, bytes, failure);
  if (block === 0) {
    const { allocatedBytes, reservedBytes } = heap.stats;
    const facts = { requestedBytes: bytes, allocatedBytes, reservedBytes, capacityBytes, device: heap.device };
    throw new MemoryError('ERR_MEM_OUT_OF_MEMORY', facts, failure.cause);
  }
  free.takeOut(block);
  return block;
}

/** Cuts a free block, in no bins, into live blocks and what they leave. @param handOut - makes a block live @returns the addresses */
export function cutSegment(
  heap: DeviceHeap,
  { free }: StreamBlocks,
  segment: number,
  blocks: readonly RestoredBlock[],
  handOut: (block: number, requestedBytes: number) => DevicePtr,
): DevicePtr[] {
  const end = heap.bytesOf(segment);
  let rest = segment;
  let at = 0;
  heap.setOwner(rest, free);
  const cut = (bytes: number): number => {
    const part = rest;
    at += bytes;
    if (at < end) rest = heap.split(part, bytes);
    return part;
  };
  const live = blocks.map(({ offsetBytes, bytes, requestedBytes }) => {
    if (offsetBytes > at) free.putIn(cut(offsetBytes - at));
    return handOut(cut(bytes), requestedBytes);
  });
  if (at < end) free.putIn(rest);
  return live;
}
