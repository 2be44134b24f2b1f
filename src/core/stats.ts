/** One quantity over time: now, at its highest, and added up over all increases. */
export interface MemoryStat {
  readonly current: number;
  readonly peak: number;
  readonly total: number;
}

/**
 * What a manager holds on one device, in PyTorch's words.
 * `requested <= allocated <= active <= reserved` and `cached == reserved - active`.
 */
export interface MemoryStatsSnapshot {
  /** Bytes that callers asked for and hold. */
  readonly requestedBytes: MemoryStat;
  /** Bytes of the blocks they got. */
  readonly allocatedBytes: MemoryStat;
  /** Allocated bytes and those freed that a stream still uses. */
  readonly activeBytes: MemoryStat;
  /** Bytes of native memory that the manager holds. */
  readonly reservedBytes: MemoryStat;
  /** Reserved bytes that no caller and no stream uses. */
  readonly cachedBytes: MemoryStat;
  /** Live blocks; `total` is the number of allocations. */
  readonly blocks: MemoryStat;
  /** Native allocations, commits of pages included. */
  readonly nativeAllocs: number;
  /** Native frees, decommits of pages included. */
  readonly nativeFrees: number;
  /** Allocations served without a native call. */
  readonly hits: number;
  /** Times that cached memory was given back to make room for an allocation. */
  readonly retries: number;
  /** Allocations that the manager refused for want of memory. */
  readonly ooms: number;
}

// Each quantity as it is now, then the peaks of all and their totals, in the order in which the block tables count them.
const REQUESTED = 0;
const ALLOCATED = 1;
const BLOCKS = 2;
const RESERVED = 3;
const PEAK = 4;
const TOTAL = 8;
// Bytes that are active but not allocated: freed, and a stream still uses them.
const DEFERRED = 12;
const ACTIVE_PEAK = 13;
const CACHED_PEAK = 14;
const SIZE = 15;

/**
 * Counts what one manager holds on one device. Blocks that come and go are counted where they lie, in the block table.
 *
 * Counted are requested, allocated, deferred and reserved bytes; the rest follows:
 * `active == allocated + deferred`, `active.peak >= allocated.peak`, `active.total == allocated.total`,
 * `cached == reserved - active`, `cached.total == reserved.total + allocated.total - active`.
 */
export class MemoryStats {
  nativeAllocs = 0;
  nativeFrees = 0;
  retries = 0;
  ooms = 0;
  /** How many doubles the counters are. */
  static readonly VALUES = SIZE;
  // Doubles in a typed array: a counter in a field would change its representation at 2^31.
  readonly #view: () => Float64Array;
  #misses = 0;

  /** @param view - where the counters lie: an array of {@link VALUES} doubles, which may be another one each time */
  constructor(view: () => Float64Array) {
    this.#view = view;
  }

  get #values(): Float64Array {
    return this.#view();
  }

  /** Counts native memory that was got by one call. */
  reserved(bytes: number): void {
    this.nativeAllocs++;
    this.#add(RESERVED, bytes);
    this.#notePeakOfCached();
  }

  /** Counts native memory that was given back by one call. */
  released(bytes: number): void {
    this.nativeFrees++;
    this.#values[RESERVED]! -= bytes;
  }

  /** Counts allocations that needed a native call. */
  missed(count: number): void {
    this.#misses += count;
  }

  get allocatedBytes(): number {
    return this.#values[ALLOCATED]!;
  }

  get activeBytes(): number {
    return this.#values[ALLOCATED]! + this.#values[DEFERRED]!;
  }

  get reservedBytes(): number {
    return this.#values[RESERVED]!;
  }

  get cachedBytes(): number {
    return this.#values[RESERVED]! - this.activeBytes;
  }

  get liveBlocks(): number {
    return this.#values[BLOCKS]!;
  }

  snapshot(): MemoryStatsSnapshot {
    const allocatedBytes = this.#stat(ALLOCATED);
    const reservedBytes = this.#stat(RESERVED);
    const active = this.activeBytes;
    return {
      requestedBytes: this.#stat(REQUESTED),
      allocatedBytes,
      activeBytes: {
        current: active,
        peak: Math.max(allocatedBytes.peak, this.#values[ACTIVE_PEAK]!),
        total: allocatedBytes.total,
      },
      reservedBytes,
      cachedBytes: {
        current: this.cachedBytes,
        peak: this.#values[CACHED_PEAK]!,
        total: reservedBytes.total + allocatedBytes.total - active,
      },
      blocks: this.#stat(BLOCKS),
      nativeAllocs: this.nativeAllocs,
      nativeFrees: this.nativeFrees,
      hits: this.#values[BLOCKS + TOTAL]! - this.#misses,
      retries: this.retries,
      ooms: this.ooms,
    };
  }

  #stat(at: number): MemoryStat {
    return { current: this.#values[at]!, peak: this.#values[at + PEAK]!, total: this.#values[at + TOTAL]! };
  }

  #notePeakOfCached(): void {
    const values = this.#values;
    const cached = values[RESERVED]! - values[ALLOCATED]! - values[DEFERRED]!;
    if (cached > values[CACHED_PEAK]!) values[CACHED_PEAK] = cached;
  }

  #add(at: number, amount: number): void {
    const values = this.#values;
    const now = values[at]! + amount;
    values[at] = now;
    if (now > values[at + PEAK]!) values[at + PEAK] = now;
    values[at + TOTAL]! += amount;
  }
}
