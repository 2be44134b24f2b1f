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

// Where the counters are. Those of blocks tell how far a quantity is below its peak, as the kernel of the block tables
// counts them; see there.
const ALLOCATED: BlockCounters = { room: 0, peak: 6, total: 2 };
const REQUESTED: BlockCounters = { room: 1, peak: 7, total: 3 };
const BLOCKS: BlockCounters = { room: 4, peak: 8, total: 5 };
const RESERVED = 9;
const RESERVED_PEAK = 10;
const RESERVED_TOTAL = 11;
// Bytes that are active but not allocated: freed, and a stream still uses them.
const DEFERRED = 12;
const ACTIVE_PEAK = 13;
const CACHED_PEAK = 14;
const SIZE = 15;

interface BlockCounters {
  readonly room: number;
  readonly peak: number;
  readonly total: number;
}

/** Counters of one device, which the block table keeps. */
export interface DeviceCounters {
  /** Where they lie now: an array of `MemoryStats.VALUES` doubles, which may be another one each time. */
  readonly view: () => Float64Array;
  /** Counts native memory that was got, or given back: its bytes are negative. */
  readonly countReserved: (bytes: number) => void;
}

/**
 * Counts what one manager holds on one device, in counters of the block table.
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
  readonly #counters: DeviceCounters;
  #misses = 0;

  constructor(counters: DeviceCounters) {
    this.#counters = counters;
  }

  get #values(): Float64Array {
    return this.#counters.view();
  }

  /** Counts native memory that was got by one call. */
  reserved(bytes: number): void {
    this.nativeAllocs++;
    this.#counters.countReserved(bytes);
  }

  /** Counts native memory that was given back by one call. */
  released(bytes: number): void {
    this.nativeFrees++;
    this.#counters.countReserved(-bytes);
  }

  /** Counts allocations that needed a native call. */
  missed(count: number): void {
    this.#misses += count;
  }

  get allocatedBytes(): number {
    return this.#now(ALLOCATED);
  }

  get activeBytes(): number {
    return this.#now(ALLOCATED) + this.#values[DEFERRED]!;
  }

  get reservedBytes(): number {
    return this.#values[RESERVED]!;
  }

  get cachedBytes(): number {
    return this.#values[RESERVED]! - this.activeBytes;
  }

  get liveBlocks(): number {
    return this.#now(BLOCKS);
  }

  /** The most bytes that were allocated at once. */
  get allocatedPeakBytes(): number {
    return this.#values[ALLOCATED.peak]!;
  }

  snapshot(): MemoryStatsSnapshot {
    const values = this.#values;
    const allocatedBytes = this.#stat(ALLOCATED);
    const reservedBytes = {
      current: this.reservedBytes,
      peak: values[RESERVED_PEAK]!,
      total: values[RESERVED_TOTAL]!,
    };
    const active = this.activeBytes;
    return {
      requestedBytes: this.#stat(REQUESTED),
      allocatedBytes,
      activeBytes: {
        current: active,
        peak: Math.max(allocatedBytes.peak, values[ACTIVE_PEAK]!),
        total: allocatedBytes.total,
      },
      reservedBytes,
      cachedBytes: {
        current: this.cachedBytes,
        peak: values[CACHED_PEAK]!,
        total: reservedBytes.total + allocatedBytes.total - active,
      },
      blocks: this.#stat(BLOCKS),
      nativeAllocs: this.nativeAllocs,
      nativeFrees: this.nativeFrees,
      hits: values[BLOCKS.total]! - this.#misses,
      retries: this.retries,
      ooms: this.ooms,
    };
  }

  #stat(of: BlockCounters): MemoryStat {
    return { current: this.#now(of), peak: this.#values[of.peak]!, total: this.#values[of.total]! };
  }

  #now(of: BlockCounters): number {
    return this.#values[of.peak]! - this.#values[of.room]!;
  }
}
