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

/** What is counted of one device. A room is how far a quantity is below its peak. */
type CounterName =
  | `${'allocated' | 'requested' | 'blocks'}${'Room' | 'Peak' | 'Total'}`
  | 'reserved'
  | 'reservedPeak'
  | 'reservedTotal'
  // Bytes that are active but not allocated: freed, and a stream still uses them.
  | 'deferred'
  | 'activePeak'
  | 'cachedPeak';

/** Counters of one device. */
export interface DeviceCounters {
  /** What they are now: doubles, in an array that may be another one each time. */
  readonly values: Float64Array;
  /** Where each is there. */
  readonly columns: { readonly [N in CounterName]: number };
  /** Counts native memory that was got, or given back: its bytes are negative. */
  countReserved(bytes: number): void;
}

/**
 * Counts what one manager holds on one device, in counters of its heap.
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
  readonly #counters: DeviceCounters;
  #misses = 0;

  constructor(counters: DeviceCounters) {
    this.#counters = counters;
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
    const { values, columns } = this.#counters;
    return values[columns.allocatedPeak]! - values[columns.allocatedRoom]!;
  }

  get activeBytes(): number {
    const { values, columns } = this.#counters;
    return this.allocatedBytes + values[columns.deferred]!;
  }

  get reservedBytes(): number {
    const { values, columns } = this.#counters;
    return values[columns.reserved]!;
  }

  get cachedBytes(): number {
    return this.reservedBytes - this.activeBytes;
  }

  get liveBlocks(): number {
    const { values, columns } = this.#counters;
    return values[columns.blocksPeak]! - values[columns.blocksRoom]!;
  }

  /** The most bytes that were allocated at once. */
  get allocatedPeakBytes(): number {
    const { values, columns } = this.#counters;
    return values[columns.allocatedPeak]!;
  }

  snapshot(): MemoryStatsSnapshot {
    const { values, columns } = this.#counters;
    const stat = (room: number, peak: number, total: number): MemoryStat => {
      return { current: values[peak]! - values[room]!, peak: values[peak]!, total: values[total]! };
    };
    const allocatedBytes = stat(columns.allocatedRoom, columns.allocatedPeak, columns.allocatedTotal);
    const blocks = stat(columns.blocksRoom, columns.blocksPeak, columns.blocksTotal);
    const reservedBytes = {
      current: values[columns.reserved]!,
      peak: values[columns.reservedPeak]!,
      total: values[columns.reservedTotal]!,
    };
    const active = this.activeBytes;
    return {
      requestedBytes: stat(columns.requestedRoom, columns.requestedPeak, columns.requestedTotal),
      allocatedBytes,
      activeBytes: {
        current: active,
        peak: Math.max(allocatedBytes.peak, values[columns.activePeak]!),
        total: allocatedBytes.total,
      },
      reservedBytes,
      cachedBytes: {
        current: this.cachedBytes,
        peak: values[columns.cachedPeak]!,
        total: reservedBytes.total + allocatedBytes.total - active,
      },
      blocks,
      nativeAllocs: this.nativeAllocs,
      nativeFrees: this.nativeFrees,
      hits: blocks.total - this.#misses,
      retries: this.retries,
      ooms: this.ooms,
    };
  }
}
