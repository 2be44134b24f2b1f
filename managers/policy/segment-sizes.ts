import { alignUp, KiB, MiB } from '../../src/core/units.js';

/** All sizes are multiples of it. @see Source: Flashlight, kMinBlockSize */
export const MIN_BLOCK_BYTES = 512;
/** The largest small block. @see Source: Flashlight, kSmallSize */
export const SMALL_BYTES = MiB;
/** The segment that small blocks are packed in. @see Source: Flashlight, kSmallBuffer */
export const SMALL_SEGMENT_BYTES = 2 * MiB;
/** The segment that large blocks below {@link MIN_OWN_SEGMENT_BYTES} are packed in. @see Source: Flashlight, kLargeBuffer */
export const LARGE_SEGMENT_BYTES = 20 * MiB;
/** From this size on a block gets a segment of its own. @see Source: Flashlight, kMinLargeAlloc */
const MIN_OWN_SEGMENT_BYTES = 10 * MiB;
/** Own segments are multiples of it. @see Source: Flashlight, kRoundLarge */
const OWN_SEGMENT_STEP_BYTES = 2 * MiB;

/**
 * The size of the segment that a block of `size` bytes is cut from.
 *
 * @param largeSegmentBytes - for large blocks below 10 MiB
 */
export function segmentBytes(size: number, largeSegmentBytes = LARGE_SEGMENT_BYTES): number {
  if (size <= SMALL_BYTES) return SMALL_SEGMENT_BYTES;
  const own = alignUp(size, OWN_SEGMENT_STEP_BYTES);
  return size < MIN_OWN_SEGMENT_BYTES ? Math.max(own, largeSegmentBytes) : own;
}

/** Segments that are cut to what a budget has left are multiples of it. */
const LEAST_STEP_BYTES = 64 * KiB;

/** The size of the smallest segment for a block of `size` bytes, where there is no room for {@link segmentBytes}. */
export function leastSegmentBytes(size: number): number {
  return Math.min(alignUp(size, LEAST_STEP_BYTES), segmentBytes(size));
}
