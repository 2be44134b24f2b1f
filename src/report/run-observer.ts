import type { DevicePtr } from '../core/units.js';
import type { ReplayWatcher } from '../trace/replay-blocks.js';
import type { TraceEvents } from '../trace/trace-events.js';
import { BucketCurve, bucketStride } from './bucket-curve.js';
import { fragmentation } from './fragmentation.js';
import type { NativeWatcher } from './observed-device.js';
import { SegmentHistory } from './segment-history.js';

// Each look at all live blocks costs a sort of them.
const LOOKED_AT_BLOCKS = 4_000_000;
const MIN_LOOKS = 16;
const MAX_LOOKS = 256;
const MAX_PADDING_BYTES = 2 ** 32 - 1;
const RATE_BUCKETS = 256;

/** How many events a point of the curves of native calls and hits stands for. */
export function rateStride(events: number): number {
  return bucketStride(events, RATE_BUCKETS);
}

/** What a block takes up in its manager: its rounded size. */
export type BlockSizes = (ptr: DevicePtr) => number;

/** Watches one replay under one manager: curves, the address of every block, and the native memory. */
export class RunObserver implements ReplayWatcher, NativeWatcher {
  readonly reserved: BucketCurve;
  readonly cached: BucketCurve;
  /** Native calls since the start, after each bucket. */
  readonly nativeCalls: Float64Array;
  readonly hits: Float64Array;
  readonly fragmentation: number[] = [];
  readonly fragmentationX: number[] = [];
  readonly segments = new SegmentHistory();
  /** Of each allocation of the trace; 0 for those that the run did not reach. */
  readonly addresses: Float64Array;
  /** Of each allocation: how many bytes its block is larger than asked for. */
  readonly padding: Uint32Array;
  events = 0;
  #nativeAllocs = 0;
  #nativeFrees = 0;
  // As they were when the last event was done: what follows, such as freeing the rest, is not the run's.
  #nativeAllocsDone = 0;
  #nativeFreesDone = 0;
  #hits = 0;
  #allocations = 0;
  #allocatedBytes = 0;
  readonly #sizeOf: BlockSizes;
  readonly #stride: number;
  readonly #looks: number;
  readonly #pointers: Float64Array;
  readonly #sizes: Float64Array;
  #missesOfBucket = 0;
  #allocationsOfBucket = 0;

  constructor(trace: TraceEvents, sizeOf: BlockSizes) {
    const { length } = trace;
    this.#sizeOf = sizeOf;
    this.#stride = rateStride(length);
    this.reserved = new BucketCurve(length);
    this.cached = new BucketCurve(length);
    const buckets = Math.ceil(length / this.#stride);
    this.nativeCalls = new Float64Array(buckets).fill(Number.NaN);
    this.hits = new Float64Array(buckets).fill(Number.NaN);
    this.addresses = new Float64Array(trace.allocations);
    this.padding = new Uint32Array(trace.allocations);
    this.#pointers = new Float64Array(trace.slotCount);
    this.#sizes = new Float64Array(trace.slotCount);
    const looks = Math.min(MAX_LOOKS, Math.max(MIN_LOOKS, Math.floor(LOOKED_AT_BLOCKS / Math.max(1, trace.peakBlocks))));
    this.#looks = Math.max(1, Math.ceil(length / looks));
  }

  /** Native allocations and commits. */
  get nativeAllocs(): number {
    return this.#nativeAllocsDone;
  }

  /** Native frees and decommits. */
  get nativeFrees(): number {
    return this.#nativeFreesDone;
  }

  /** The share of allocations that needed no native call, 0 to 1. */
  get hitRate(): number {
    return this.#allocations === 0 ? 0 : this.#hits / this.#allocations;
  }

  allocated(event: number, slot: number, ptr: DevicePtr, requestedBytes: number): void {
    const bytes = this.#sizeOf(ptr);
    this.addresses[this.#allocations] = ptr;
    this.padding[this.#allocations++] = Math.min(bytes - requestedBytes, MAX_PADDING_BYTES);
    this.#pointers[slot] = ptr;
    this.#sizes[slot] = bytes;
    this.#allocatedBytes += bytes;
    this.#allocationsOfBucket++;
    if (this.#nativeAllocs > this.#nativeAllocsDone) this.#missesOfBucket++;
    else this.#hits++;
    this.#done(event);
  }

  freeing(): void {}

  freed(event: number, slot: number): void {
    this.#allocatedBytes -= this.#sizes[slot]!;
    this.#pointers[slot] = 0;
    this.#sizes[slot] = 0;
    this.#done(event);
  }

  nativeAllocated(ptr: DevicePtr, bytes: number): void {
    this.#nativeAllocs++;
    this.segments.allocated(ptr, bytes, this.events + 1);
  }

  nativeFreed(ptr: DevicePtr): void {
    this.#nativeFrees++;
    this.segments.freed(ptr, this.events + 1);
  }

  committed(ptr: DevicePtr, bytes: number): void {
    this.#nativeAllocs++;
    this.segments.committed(ptr, bytes, this.events + 1);
  }

  decommitted(ptr: DevicePtr, bytes: number): void {
    this.#nativeFrees++;
    this.segments.decommitted(ptr, bytes, this.events + 1);
  }

  #done(event: number): void {
    this.events = event + 1;
    this.#nativeAllocsDone = this.#nativeAllocs;
    this.#nativeFreesDone = this.#nativeFrees;
    const { reservedBytes } = this.segments;
    this.reserved.add(event, reservedBytes);
    this.cached.add(event, reservedBytes - this.#allocatedBytes);
    const bucket = Math.floor(event / this.#stride);
    this.nativeCalls[bucket] = this.#nativeAllocs + this.#nativeFrees;
    if (this.#allocationsOfBucket > 0) this.hits[bucket] = 1 - this.#missesOfBucket / this.#allocationsOfBucket;
    if ((event + 1) % this.#stride === 0) {
      this.#missesOfBucket = 0;
      this.#allocationsOfBucket = 0;
    }
    if ((event + 1) % this.#looks === 0) this.#look();
  }

  #look(): void {
    const live = this.#pointers.reduce((count, ptr) => (ptr === 0 ? count : count + 1), 0);
    const starts = new Float64Array(live);
    const ends = new Float64Array(live);
    let block = 0;
    for (let slot = 0; slot < this.#pointers.length; slot++) {
      const ptr = this.#pointers[slot]!;
      if (ptr === 0) continue;
      starts[block] = ptr;
      ends[block++] = ptr + this.#sizes[slot]!;
    }
    this.fragmentationX.push(this.events);
    this.fragmentation.push(fragmentation(this.segments.ranges(), starts, ends));
  }
}
