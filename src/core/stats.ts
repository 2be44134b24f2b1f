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

const REQUESTED = 0;
const ALLOCATED = 3;
const ACTIVE = 6;
const RESERVED = 9;
const CACHED = 12;
const BLOCKS = 15;
const SIZE = 18;
const PEAK = 1;
const TOTAL = 2;

/** Counts what one manager holds on one device. Every update is O(1) and allocates nothing. */
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
    this.#add(REQUESTED, requested);
    this.#add(ALLOCATED, bytes);
    this.#add(ACTIVE, bytes);
    this.#add(BLOCKS, 1);
    this.#values[CACHED] = this.reservedBytes - this.activeBytes;
  }

  /** Counts a block that came back and is in use by nobody. */
  freed(requested: number, bytes: number): void {
    this.#values[REQUESTED]! -= requested;
    this.#values[ALLOCATED]! -= bytes;
    this.#values[BLOCKS]! -= 1;
    this.retired(bytes);
  }

  /** Counts a block that came back while a stream still uses it: it stays active until {@link retired}. */
  freedOnStream(requested: number, bytes: number): void {
    this.#values[REQUESTED]! -= requested;
    this.#values[ALLOCATED]! -= bytes;
    this.#values[BLOCKS]! -= 1;
  }

  /** Takes {@link freed} back: the block could not be given up after all. */
  unfreed(requested: number, bytes: number): void {
    const values = this.#values;
    values[REQUESTED]! += requested;
    values[ALLOCATED]! += bytes;
    values[ACTIVE]! += bytes;
    values[BLOCKS]! += 1;
    values[CACHED]! -= bytes;
    values[CACHED + TOTAL]! -= bytes;
  }

  /** Counts bytes that stopped being active. */
  retired(bytes: number): void {
    this.#values[ACTIVE]! -= bytes;
    this.#add(CACHED, bytes);
  }

  /** Counts native memory that was got by one call. */
  reserved(bytes: number): void {
    this.nativeAllocs++;
    this.#add(RESERVED, bytes);
    this.#add(CACHED, bytes);
  }

  /** Counts native memory that was given back by one call. */
  released(bytes: number): void {
    this.nativeFrees++;
    this.#values[RESERVED]! -= bytes;
    this.#values[CACHED]! -= bytes;
  }

  /** Counts an allocation that needed a native call. */
  missed(): void {
    this.#misses++;
  }

  get allocatedBytes(): number {
    return this.#values[ALLOCATED]!;
  }

  get activeBytes(): number {
    return this.#values[ACTIVE]!;
  }

  get reservedBytes(): number {
    return this.#values[RESERVED]!;
  }

  get cachedBytes(): number {
    return this.#values[CACHED]!;
  }

  get liveBlocks(): number {
    return this.#values[BLOCKS]!;
  }

  snapshot(): MemoryStatsSnapshot {
    return {
      requestedBytes: this.#stat(REQUESTED),
      allocatedBytes: this.#stat(ALLOCATED),
      activeBytes: this.#stat(ACTIVE),
      reservedBytes: this.#stat(RESERVED),
      cachedBytes: this.#stat(CACHED),
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

  #add(at: number, amount: number): void {
    const values = this.#values;
    const now = values[at]! + amount;
    values[at] = now;
    if (now > values[at + PEAK]!) values[at + PEAK] = now;
    values[at + TOTAL]! += amount;
  }
}
