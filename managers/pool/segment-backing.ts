import { NONE } from '../../src/blocks/block-rows.js';
import { ALL_CACHED, type ReleaseBounds } from '../../src/blocks/release-bounds.js';
import { alignUp, devicePtr, KiB, NULL_PTR } from '../../src/core/units.js';
import { askNative } from '../policy/ask-native.js';
import { boundFront, type FrontBounds } from '../policy/front-bounds.js';
import { type Backing, type BackingParts, GrowthPlan } from './backing.js';

/** Segments are multiples of it. @see Source: facts/performance.md, "native segments of 64 KiB and up" */
const SEGMENT_STEP_BYTES = 64 * KiB;
/** What the address of a segment should be a multiple of. */
const SEGMENT_ALIGNMENT = 16;
/** Segments are at least this share of the peak, so that their number stays bounded. */
const SEGMENT_SHARE = 0.0075;
/** The same beyond the limit. */
const SMALL_SEGMENT_SHARE = 0.005;
/** Free segments below this share of what the pool holds are not worth a native call. */
const MIN_SEGMENT_SHARE = 0.0005;

/** More keeps segments from coming free: these hold the utilisation of docs/performance.md on its traces. */
const FRONT: FrontBounds = { share: 0.0051, largestShare: 0.16, largestBytes: 16 * KiB };

/**
 * Memory by native allocations, for devices without virtual memory: segments that grow with the pool, given back whole
 * before the pool would exceed its limit. `reserved == sum(segment.bytes)`.
 */
export class SegmentBacking implements Backing {
  readonly #parts: BackingParts;
  /** No segment is smaller. */
  #leastBytes = SEGMENT_STEP_BYTES;

  constructor(parts: BackingParts) {
    this.#parts = parts;
  }

  grow(bytes: number, failure: { cause: unknown }): number {
    const { stats } = this.#parts.heap;
    const plan = new GrowthPlan(this.#parts, bytes, SEGMENT_STEP_BYTES);
    let size = segmentBytes(bytes, plan.peakBytes * SEGMENT_SHARE);
    if (stats.reservedBytes + size > plan.limitBytes) {
      this.#reclaim(stats.reservedBytes + size - plan.limitBytes, MIN_SEGMENT_SHARE * stats.reservedBytes);
      if (stats.reservedBytes + size > plan.limitBytes) size = segmentBytes(bytes, plan.peakBytes * SMALL_SEGMENT_SHARE);
      this.#reclaim(stats.reservedBytes + size - plan.capacityBytes, 0);
    }
    const block = this.#allocate(size, plan, failure);
    if (block !== NONE) return block;
    stats.retries++;
    if (this.#parts.waitForFit(bytes)) return this.#parts.idle.fit(bytes);
    this.trim();
    return this.#allocate(alignUp(bytes, SEGMENT_ALIGNMENT), plan, failure);
  }

  trim(bounds: ReleaseBounds = ALL_CACHED): void {
    this.#parts.releaseSegments(bounds);
  }

  close(): void {}

  /** Gets a segment. @returns it as a free block, or NONE */
  #allocate(bytes: number, { capacityBytes }: GrowthPlan, failure: { cause: unknown }): number {
    const { heap, idle, deviceInterface } = this.#parts;
    const { stats } = heap;
    if (!Number.isSafeInteger(bytes)) return NONE;
    const ptr = askNative(() => devicePtr(deviceInterface.nativeAlloc(bytes, SEGMENT_ALIGNMENT)), NULL_PTR, failure);
    if (ptr === NULL_PTR) return NONE;
    const block = heap.create(ptr, bytes, idle);
    stats.reserved(bytes);
    this.#leastBytes = Math.min(this.#leastBytes, bytes);
    boundFront(idle, FRONT, stats.reservedBytes, capacityBytes - stats.reservedBytes);
    idle.putIn(block);
    return block;
  }

  /** Gives whole segments back until `bytes` were: the smallest that suffices first, else the largest. */
  #reclaim(bytes: number, leastBytes: number): void {
    const { heap, release } = this.#parts;
    for (let left = bytes; left > 0; ) {
      const block = this.#findWhole(left);
      if (block === NONE) return;
      const size = heap.bytesOf(block);
      if (size < leastBytes) return;
      release(block);
      left -= size;
    }
  }

  /** The free segment to give back: the smallest of at least `bytes`, else the largest, or NONE. O(free blocks of a segment's size). */
  #findWhole(bytes: number): number {
    const { heap, idle } = this.#parts;
    let largest = NONE;
    let smallest = NONE;
    for (let block = idle.fit(this.#leastBytes); block !== NONE; block = idle.after(block)) {
      if (!heap.isWholeSegment(block)) continue;
      const size = heap.bytesOf(block);
      if (largest === NONE || size > heap.bytesOf(largest)) largest = block;
      if (size >= bytes && (smallest === NONE || size < heap.bytesOf(smallest))) smallest = block;
    }
    return smallest === NONE ? largest : smallest;
  }
}

function segmentBytes(bytes: number, leastBytes: number): number {
  return alignUp(Math.max(bytes, Math.floor(leastBytes / SEGMENT_STEP_BYTES) * SEGMENT_STEP_BYTES), SEGMENT_STEP_BYTES);
}
