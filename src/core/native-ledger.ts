import type { DevicePtr } from './units.js';

const SLACK = 1024;

/** What the managers of one slot, stopped ones included, got from their device and gave back. */
export class NativeCounters {
  /** Native allocations of every manager that ever sat here. */
  nativeAllocs = 0;
  /** Native frees of every manager that ever sat here. */
  nativeFrees = 0;
  /** Commits of pages by every manager that ever sat here. */
  nativeCommits = 0;
  /** Decommits of pages by every manager that ever sat here. */
  nativeDecommits = 0;
  /** Native memory held by all managers, and what a stopped one could not give back. */
  reservedBytes = 0;
  /** The most native memory that was held at once, since the start or {@link resetPeak}. */
  peakReservedBytes = 0;

  /** Lets the peak start again from what is held now. */
  resetPeak(): void {
    this.peakReservedBytes = this.reservedBytes;
  }
}

/** A reserved range of addresses. */
export interface NativeRange {
  readonly bytes: number;
  committedBytes: number;
}

/** The entry of a segment that was given back: see {@link NativeLedger.segments}. */
export const FREED = -1;

/**
 * What one manager holds natively: segments, and ranges with committed pages. The slot's counters follow it.
 *
 * Something that is being given back is taken out first, and put back when the device refuses.
 */
export class NativeLedger {
  reservedBytes = 0;
  /** How many segments are out. */
  live = 0;
  /**
   * The bytes of each segment. An entry is overwritten with {@link FREED}, never deleted: V8 keeps deleted keys in the
   * bucket's chain, so that a Map whose addresses come and go becomes slow.
   */
  segments = new Map<DevicePtr, number>();
  readonly ranges = new Map<DevicePtr, NativeRange>();
  readonly #counters: NativeCounters;

  constructor(counters: NativeCounters) {
    this.#counters = counters;
  }

  get isEmpty(): boolean {
    return this.live === 0 && this.ranges.size === 0;
  }

  /** Drops dead entries by copying. Cost: an amortised O(1) a free. */
  compact(): void {
    if (this.segments.size <= 2 * this.live + SLACK) return;
    this.segments = new Map([...this.segments].filter(([, bytes]) => bytes !== FREED));
  }

  /** Where segments and ranges are still out. */
  outstanding(): DevicePtr[] {
    const segments = [...this.segments].filter(([, bytes]) => bytes !== FREED).map(([ptr]) => ptr);
    return [...segments, ...this.ranges.keys()];
  }

  putRange(ptr: DevicePtr, range: NativeRange): void {
    this.ranges.set(ptr, range);
    this.#count(range.committedBytes);
  }

  /** Takes a range out, and what is committed in it. @returns undefined when it is not known */
  takeRange(ptr: DevicePtr): NativeRange | undefined {
    const range = this.ranges.get(ptr);
    if (range === undefined) return undefined;
    this.ranges.delete(ptr);
    this.#count(-range.committedBytes);
    return range;
  }

  /** Counts pages of a range that were committed, or decommitted: their bytes are negative. Cost: O(ranges). */
  commit(ptr: DevicePtr, bytes: number): void {
    for (const [start, range] of this.ranges) {
      if (ptr < start || ptr >= start + range.bytes) continue;
      range.committedBytes += bytes;
      this.#count(bytes);
      return;
    }
  }

  #count(bytes: number): void {
    this.reservedBytes += bytes;
    const counters = this.#counters;
    counters.reservedBytes += bytes;
    if (counters.reservedBytes > counters.peakReservedBytes) counters.peakReservedBytes = counters.reservedBytes;
  }
}
