import type { DevicePtr } from '../core/units.js';
import type { ReplayWatcher } from '../trace/replay-blocks.js';
import type { TraceEvents } from '../trace/trace-events.js';
import { BucketCurve, bucketStride } from './bucket-curve.js';
import { fragmentation } from './fragmentation.js';
import { SegmentHistory } from './segment-history.js';

// Each sample of the fragmentation sorts all live blocks.
const LOOKED_AT_BLOCKS = 4_000_000;
const MIN_LOOKS = 16;
const MAX_LOOKS = 256;
const MAX_PADDING_BYTES = 2 ** 32 - 1;
const RATE_BUCKETS = 256;

/** How many events a point of the curves of native calls and hits stands for. */
export function rateStride(events: number): number {
  return bucketStride(events, RATE_BUCKETS);
}

/** Watches one replay under one manager: curves, the address of every block, and the native memory. */
export class RunObserver implements ReplayWatcher {
  readonly reserved: BucketCurve;
  readonly cached: BucketCurve;
  readonly fragmentation: number[] = [];
  readonly fragmentationX: number[] = [];
  readonly segments = new SegmentHistory();
  /** Of each allocation of the trace; 0 for those that the run did not reach. */
  readonly addresses: Float64Array;
  /** Of each allocation: how many bytes its block is larger than asked for. */
  readonly padding: Uint32Array;
  events = 0;
  /** Native allocations and commits, up to the last event that is done: what follows, such as freeing the rest, is not the run's. */
  nativeAllocs = 0;
  /** Native frees and decommits, as well. */
  nativeFrees = 0;
  #nativeAllocs = 0;
  #nativeFrees = 0;
  #nativeAllocsBefore = 0;
  #misses = 0;
  #looked = 0;
  #allocations = 0;
  #allocatedBytes = 0;
  readonly #stride: number;
  readonly #looks: number;
  // By bucket of the curves of rates.
  readonly #nativeCallsAt: Float64Array;
  readonly #allocationsIn: Uint32Array;
  readonly #missesIn: Uint32Array;
  readonly #pointers: Float64Array;
  readonly #sizes: Float64Array;

  /** @param sizeOf - gives the bytes of a block in its manager: the requested ones, rounded */
  constructor(
    trace: TraceEvents,
    readonly sizeOf: (ptr: DevicePtr, requestedBytes: number) => number,
  ) {
    const { length } = trace;
    this.#stride = rateStride(length);
    this.reserved = new BucketCurve(length);
    this.cached = new BucketCurve(length);
    const buckets = Math.ceil(length / this.#stride);
    this.#nativeCallsAt = new Float64Array(buckets).fill(Number.NaN);
    this.#allocationsIn = new Uint32Array(buckets);
    this.#missesIn = new Uint32Array(buckets);
    this.addresses = new Float64Array(trace.allocations);
    this.padding = new Uint32Array(trace.allocations);
    this.#pointers = new Float64Array(trace.slotCount);
    this.#sizes = new Float64Array(trace.slotCount);
    const looks = Math.min(MAX_LOOKS, Math.max(MIN_LOOKS, Math.floor(LOOKED_AT_BLOCKS / Math.max(1, trace.peakBlocks))));
    this.#looks = Math.max(1, Math.ceil(length / looks));
  }

  /** The share of allocations that needed no native call, 0 to 1. */
  get hitRate(): number {
    return this.#allocations === 0 ? 0 : 1 - this.#misses / this.#allocations;
  }

  /** Native calls since the start, at the end of each bucket that the run came to; NaN for the others. */
  nativeCalls(): Float64Array {
    let last = 0;
    return this.#nativeCallsAt.map((calls, bucket) => {
      if (bucket * this.#stride >= this.events) return Number.NaN;
      if (!Number.isNaN(calls)) last = calls;
      return last;
    });
  }

  /** The share of each bucket's allocations that needed no native call; NaN for a bucket without any. */
  hits(): Float64Array {
    return Float64Array.from(this.#allocationsIn, (count, bucket) =>
      count === 0 ? Number.NaN : 1 - this.#missesIn[bucket]! / count,
    );
  }

  allocated(event: number, slot: number, ptr: DevicePtr, requestedBytes: number): void {
    const bytes = this.sizeOf(ptr, requestedBytes);
    this.addresses[this.#allocations] = ptr;
    this.padding[this.#allocations++] = Math.min(bytes - requestedBytes, MAX_PADDING_BYTES);
    this.#pointers[slot] = ptr;
    this.#sizes[slot] = bytes;
    this.#allocatedBytes += bytes;
    const bucket = Math.floor(event / this.#stride);
    this.#allocationsIn[bucket]!++;
    if (this.#nativeAllocs > this.#nativeAllocsBefore) {
      this.#misses++;
      this.#missesIn[bucket]!++;
    }
    this.#nativeAllocsBefore = this.#nativeAllocs;
    this.passed(event);
  }

  freed(event: number, slot: number): void {
    this.#allocatedBytes -= this.#sizes[slot]!;
    this.#pointers[slot] = 0;
    this.#sizes[slot] = 0;
    this.#nativeAllocsBefore = this.#nativeAllocs;
    this.passed(event);
  }

  /** Event `event` is over: the current state is its result. */
  passed(event: number): void {
    this.events = event + 1;
    this.nativeAllocs = this.#nativeAllocs;
    this.nativeFrees = this.#nativeFrees;
    const { reservedBytes } = this.segments;
    this.reserved.add(event, reservedBytes);
    this.cached.add(event, reservedBytes - this.#allocatedBytes);
    this.#nativeCallsAt[Math.floor(event / this.#stride)] = this.#nativeAllocs + this.#nativeFrees;
    if (Math.floor(this.events / this.#looks) > this.#looked) this.#look();
  }

  /** The run got native memory. @param paged - whether it is pages of a reserved range */
  nativeAllocated(ptr: DevicePtr, bytes: number, paged: boolean): void {
    this.#nativeAllocs++;
    this.segments.add(ptr, bytes, this.events + 1, paged);
  }

  /** The run gave native memory back. @param bytes - of pages; left out for a segment */
  nativeFreed(ptr: DevicePtr, bytes?: number): void {
    this.#nativeFrees++;
    if (bytes === undefined) this.segments.remove(ptr, this.events + 1);
    else this.segments.removePages(ptr, bytes, this.events + 1);
  }

  #look(): void {
    const isLive = (_: number, slot: number) => this.#pointers[slot] !== 0;
    const starts = this.#pointers.filter(isLive);
    const ends = this.#pointers.map((ptr, slot) => ptr + this.#sizes[slot]!).filter(isLive);
    this.#looked = Math.floor(this.events / this.#looks);
    this.fragmentationX.push(this.events);
    this.fragmentation.push(fragmentation(this.segments.ranges(), starts, ends));
  }
}
