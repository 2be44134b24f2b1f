import { NONE } from '../../src/blocks/block-rows.js';
import type { DeviceHeap } from '../../src/blocks/device-heap.js';
import { badArgument, MemoryError } from '../../src/core/errors.js';
import { alignUp, type DevicePtr } from '../../src/core/units.js';
import { MIN_BLOCK_BYTES } from '../policy/segment-sizes.js';
import type { StreamBlocks } from './block-pools.js';
import { RANGE_SHARE } from './expandable-segments.js';

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
  /** The memory, which the device has given; expandable segments are mapped elsewhere, in the same distances. */
  readonly address: number;
  readonly bytes: number;
  /** By offset. */
  readonly blocks: readonly RestoredBlock[];
}

function badSegment({ address, bytes }: RestoredSegment): MemoryError {
  return badArgument('segment', `${bytes} bytes at ${address}`, 'apart from those that were restored');
}

/** Tells whether the live blocks lie in the segment, one behind the other. */
export function isSound({ bytes, blocks }: RestoredSegment): boolean {
  let at = 0;
  return blocks.every((block) => {
    const isInside = block.offsetBytes >= at && block.offsetBytes + block.bytes <= bytes;
    const isWhole = [block.offsetBytes, block.bytes].every((size) => Number.isSafeInteger(size) && size % MIN_BLOCK_BYTES === 0);
    at = block.offsetBytes + block.bytes;
    return isInside && isWhole && block.requestedBytes > 0 && block.requestedBytes <= block.bytes;
  });
}

/**
 * Maps pages for a segment, as far from those of its stream that were mapped before as the snapshot has them.
 *
 * @returns a free block of just the segment's bytes, in no bins
 */
export function mapSegment(heap: DeviceHeap, blocks: StreamBlocks, segment: RestoredSegment, capacityBytes: number): number {
  const { free, pages } = blocks;
  const { address, bytes } = segment;
  const { pageBytes, holes } = pages!;
  const failure = { cause: undefined as unknown };
  const holeAt = (start: number) =>
    holes.toArray().find((hole) => heap.addressOf(hole) <= start && start + bytes <= heap.addressOf(hole) + heap.bytesOf(hole));
  let hole = holeAt(address + blocks.restoredShift);
  if (hole === undefined) {
    const known = new Set(holes.toArray());
    const room = alignUp(capacityBytes * RANGE_SHARE + bytes, pageBytes);
    pages!.reserve(room, alignUp(bytes, pageBytes), failure);
    hole = holes.toArray().find((one) => !known.has(one));
    if (hole !== undefined) blocks.restoredShift = heap.addressOf(hole) - address;
  }
  const block = hole === undefined ? NONE : pages!.commit(hole, address + blocks.restoredShift, bytes, failure);
  if (block === NONE) {
    const { allocatedBytes, reservedBytes } = heap.stats;
    const facts = { requestedBytes: bytes, allocatedBytes, reservedBytes, capacityBytes, device: heap.device };
    throw new MemoryError('ERR_MEM_OUT_OF_MEMORY', facts, failure.cause);
  }
  if (heap.bytesOf(block) > bytes) throw badSegment(segment);
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
