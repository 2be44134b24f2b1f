import type { MemoryStat, MemoryStatsSnapshot } from '../../src/core/stats.js';

// Of each quantity: current, peak, and what is gone again (total == current + gone).
const REQUESTED = 0;
const ALLOCATED = 3;
const BLOCKS = 6;
const RESERVED = 9;
const CACHED_PEAK = 12;
const SIZE = 13;

/** Counts what a manager without streams holds on one device. Every update is O(1) and allocates nothing. */
export class RegionStats {
  nativeAllocs = 0;
  nativeFrees = 0;
  retries = 0;
  ooms = 0;
  /** Allocations that needed a native call. */
  misses = 0;
  // Doubles in a typed array: a counter in a field would change its representation at 2^31.
  readonly #values = new Float64Array(SIZE);

  get allocatedBytes(): number {
    return this.#values[ALLOCATED]!;
  }

  get reservedBytes(): number {
    return this.#values[RESERVED]!;
  }

  get cachedBytes(): number {
    return this.#values[RESERVED]! - this.#values[ALLOCATED]!;
  }

  get liveBlocks(): number {
    return this.#values[BLOCKS]!;
  }

  /** Counts a block that was handed out: `requested` bytes asked for, `bytes` given. */
  allocated(requested: number, bytes: number): void {
    const values = this.#values;
    const nowRequested = (values[0]! += requested);
    const nowAllocated = (values[3]! += bytes);
    const nowBlocks = (values[6]! += 1);
    if (nowRequested > values[1]!) values[1] = nowRequested;
    if (nowAllocated > values[4]!) values[4] = nowAllocated;
    if (nowBlocks > values[7]!) values[7] = nowBlocks;
  }

  /** Counts a block that came back. */
  freed(requested: number, bytes: number): void {
    const values = this.#values;
    values[0]! -= requested;
    values[2]! += requested;
    const nowAllocated = (values[3]! -= bytes);
    values[5]! += bytes;
    values[6]! -= 1;
    values[8]! += 1;
    const cached = values[9]! - nowAllocated;
    if (cached > values[12]!) values[12] = cached;
  }

  /** Takes {@link freed} back: the block could not be given up after all. */
  unfreed(requested: number, bytes: number): void {
    const values = this.#values;
    for (const [at, amount] of [
      [REQUESTED, requested],
      [ALLOCATED, bytes],
      [BLOCKS, 1],
    ] as const) {
      values[at]! += amount;
      values[at + 2]! -= amount;
    }
  }

  /** Counts a region that was got by one native call. */
  reserved(bytes: number): void {
    this.nativeAllocs++;
    const values = this.#values;
    values[RESERVED]! += bytes;
    values[RESERVED + 1] = Math.max(values[RESERVED + 1]!, values[RESERVED]!);
    values[CACHED_PEAK] = Math.max(values[CACHED_PEAK]!, this.cachedBytes);
  }

  /** Counts a region that was given back by one native call. */
  released(bytes: number): void {
    this.nativeFrees++;
    this.#values[RESERVED]! -= bytes;
    this.#values[RESERVED + 2]! += bytes;
  }

  snapshot(): MemoryStatsSnapshot {
    const allocatedBytes = this.#stat(ALLOCATED);
    const reservedBytes = this.#stat(RESERVED);
    const blocks = this.#stat(BLOCKS);
    return {
      requestedBytes: this.#stat(REQUESTED),
      allocatedBytes,
      activeBytes: allocatedBytes,
      reservedBytes,
      cachedBytes: {
        current: this.cachedBytes,
        peak: this.#values[CACHED_PEAK]!,
        total: reservedBytes.total + allocatedBytes.total - allocatedBytes.current,
      },
      blocks,
      nativeAllocs: this.nativeAllocs,
      nativeFrees: this.nativeFrees,
      hits: blocks.total - this.misses,
      retries: this.retries,
      ooms: this.ooms,
    };
  }

  #stat(at: number): MemoryStat {
    const values = this.#values;
    return { current: values[at]!, peak: values[at + 1]!, total: values[at]! + values[at + 2]! };
  }
}
