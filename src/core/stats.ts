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

// Of each quantity: current, peak and total. In the two functions that every allocation and every free calls the places
// are written out: V8 inlines short functions only, and a named constant is six bytes of bytecode.
const REQUESTED = 0;
const ALLOCATED = 3;
const RESERVED = 6;
const BLOCKS = 9;
const PEAK = 1;
const TOTAL = 2;
// Bytes that are active but not allocated: freed, and a stream still uses them.
const DEFERRED = 12;
const ACTIVE_PEAK = 13;
const CACHED_PEAK = 14;
const SIZE = 15;

/**
 * Counts what one manager holds on one device. Every update is O(1) and allocates nothing.
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
  // Doubles in a typed array: a counter in a field would change its representation at 2^31.
  readonly #values = new Float64Array(SIZE);
  #misses = 0;

  /** Counts a block that was handed out: `requested` bytes asked for, `bytes` given. */
  allocated(requested: number, bytes: number): void {
    const values = this.#values;
    const nowRequested = values[0]! + requested;
    const nowAllocated = values[3]! + bytes;
    const nowBlocks = values[9]! + 1;
    values[0] = nowRequested;
    values[3] = nowAllocated;
    values[9] = nowBlocks;
    values[2]! += requested;
    values[5]! += bytes;
    values[11]! += 1;
    if (nowRequested > values[1]!) values[1] = nowRequested;
    if (nowAllocated > values[4]!) values[4] = nowAllocated;
    if (nowBlocks > values[10]!) values[10] = nowBlocks;
    // Without deferred bytes the peak of the allocated ones tells.
    if (values[12] !== 0) this.#notePeakOfActive();
  }

  /** Counts a block that came back and is in use by nobody. */
  freed(requested: number, bytes: number): void {
    const values = this.#values;
    const nowAllocated = values[3]! - bytes;
    values[0]! -= requested;
    values[3] = nowAllocated;
    values[9]! -= 1;
    const cached = values[6]! - nowAllocated - values[12]!;
    if (cached > values[14]!) values[14] = cached;
  }

  /** Counts a block that came back while a stream still uses it: it stays active until {@link retired}. */
  freedOnStream(requested: number, bytes: number): void {
    const values = this.#values;
    values[REQUESTED]! -= requested;
    values[ALLOCATED]! -= bytes;
    values[BLOCKS]! -= 1;
    values[DEFERRED]! += bytes;
  }

  /** Takes {@link freed} back: the block could not be given up after all. */
  unfreed(requested: number, bytes: number): void {
    const values = this.#values;
    values[REQUESTED]! += requested;
    values[ALLOCATED]! += bytes;
    values[BLOCKS]! += 1;
  }

  /** Counts bytes of a block that was freed on a stream and stopped being active. */
  retired(bytes: number): void {
    this.#values[DEFERRED]! -= bytes;
    this.#notePeakOfCached();
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

  #notePeakOfActive(): void {
    this.#values[ACTIVE_PEAK] = Math.max(this.#values[ACTIVE_PEAK]!, this.activeBytes);
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
