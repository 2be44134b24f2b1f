import { DeviceStats, type MemoryStat } from './memory-statistics.js';

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
export class MemoryStats extends DeviceStats {
  readonly #counters: DeviceCounters;

  constructor(counters: DeviceCounters) {
    super();
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

  get allocatedBytes(): number {
    // Asked for at each allocation of some policies: names that V8 sees are faster.
    const { values, columns } = this.#counters;
    return values[columns.allocatedPeak]! - values[columns.allocatedRoom]!;
  }

  get activeBytes(): number {
    return this.allocatedBytes + this.#value('deferred');
  }

  get reservedBytes(): number {
    return this.#value('reserved');
  }

  get liveBlocks(): number {
    return this.#value('blocksPeak') - this.#value('blocksRoom');
  }

  /** The most bytes that were allocated at once. */
  get allocatedPeakBytes(): number {
    return this.#value('allocatedPeak');
  }

  protected override quantities() {
    // Names that V8 sees, since one that is put together at each call is looked up among all strings.
    const { values, columns } = this.#counters;
    const stat = (peakAt: number, roomAt: number, totalAt: number): MemoryStat => {
      const peak = values[peakAt]!;
      return { current: peak - values[roomAt]!, peak, total: values[totalAt]! };
    };
    return {
      requestedBytes: stat(columns.requestedPeak, columns.requestedRoom, columns.requestedTotal),
      allocatedBytes: stat(columns.allocatedPeak, columns.allocatedRoom, columns.allocatedTotal),
      blocks: stat(columns.blocksPeak, columns.blocksRoom, columns.blocksTotal),
      reservedBytes: {
        current: values[columns.reserved]!,
        peak: values[columns.reservedPeak]!,
        total: values[columns.reservedTotal]!,
      },
      activePeakBytes: values[columns.activePeak]!,
      cachedPeakBytes: values[columns.cachedPeak]!,
    };
  }

  #value(name: CounterName): number {
    const { values, columns } = this.#counters;
    return values[columns[name]]!;
  }
}
