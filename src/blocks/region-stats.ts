import { DeviceStats, type MemoryStat } from '../core/memory-statistics.js';

// Of each quantity: current, peak, and what is gone again (total == current + gone).
const REQUESTED = 0;
const ALLOCATED = 3;
const BLOCKS = 6;
const RESERVED = 9;
const CACHED_PEAK = 12;
const SIZE = 13;
const QUANTITIES = [REQUESTED, ALLOCATED, BLOCKS];

/**
 * Counts what a manager without streams holds on one device. Every update is O(1) and allocates nothing. Peaks are noted
 * when what rose begins to fall: `peak >= current` holds once they are asked for.
 */
export class RegionStats extends DeviceStats {
  // Doubles in a typed array: a counter in a field would change its representation at 2^31.
  readonly #values = new Float64Array(SIZE);
  /** Whether the last thing that was counted was an allocation. */
  #rising = true;

  get allocatedBytes(): number {
    return this.#values[ALLOCATED]!;
  }

  get reservedBytes(): number {
    return this.#values[RESERVED]!;
  }

  get activeBytes(): number {
    return this.#values[ALLOCATED]!;
  }

  get liveBlocks(): number {
    return this.#values[BLOCKS]!;
  }

  /** Counts a block that was handed out: `requested` bytes asked for, `bytes` given. */
  allocated(requested: number, bytes: number): void {
    if (!this.#rising) this.#noteCached();
    const values = this.#values;
    values[0]! += requested;
    values[3]! += bytes;
    values[6]! += 1;
  }

  /** Counts blocks that came back. */
  freed(requested: number, bytes: number, blocks = 1): void {
    if (this.#rising) this.#notePeaks();
    const values = this.#values;
    values[0]! -= requested;
    values[2]! += requested;
    values[3]! -= bytes;
    values[5]! += bytes;
    values[6]! -= blocks;
    values[8]! += blocks;
  }

  /** Counts bytes that a block has more than before; fewer ones are negative. */
  resized(requested: number, bytes: number): void {
    this.#notePeaks();
    const values = this.#values;
    values[0]! += requested;
    values[2]! -= Math.min(requested, 0);
    values[3]! += bytes;
    values[5]! -= Math.min(bytes, 0);
    this.#notePeaks();
  }

  /** Undoes {@link freed} of a block whose memory the device did not take. */
  heldAgain(requested: number, bytes: number): void {
    const values = this.#values;
    values[0]! += requested;
    values[2]! -= requested;
    values[3]! += bytes;
    values[5]! -= bytes;
    values[6]! += 1;
    values[8]! -= 1;
  }

  /** Counts every block as one that came back. */
  freedAll(): void {
    const values = this.#values;
    this.freed(values[REQUESTED]!, values[ALLOCATED]!, values[BLOCKS]!);
  }

  /** Counts a region that was got by one native call. */
  reserved(bytes: number): void {
    this.nativeAllocs++;
    const values = this.#values;
    values[RESERVED]! += bytes;
    values[RESERVED + 1] = Math.max(values[RESERVED + 1]!, values[RESERVED]!);
    this.#noteCached();
  }

  /** Counts a region that was given back by one native call. */
  released(bytes: number): void {
    this.#noteCached();
    this.nativeFrees++;
    this.#values[RESERVED]! -= bytes;
    this.#values[RESERVED + 2]! += bytes;
  }

  /** Undoes {@link released} of a region that the device did not take. */
  reservedAgain(bytes: number): void {
    this.nativeFrees--;
    this.#values[RESERVED]! += bytes;
    this.#values[RESERVED + 2]! -= bytes;
  }

  #notePeaks(): void {
    this.#rising = false;
    const values = this.#values;
    for (const at of QUANTITIES) if (values[at]! > values[at + 1]!) values[at + 1] = values[at]!;
  }

  #noteCached(): void {
    this.#rising = true;
    this.#values[CACHED_PEAK] = Math.max(this.#values[CACHED_PEAK]!, this.cachedBytes);
  }

  protected override quantities() {
    this.#notePeaks();
    this.#noteCached();
    return {
      requestedBytes: this.#stat(REQUESTED),
      allocatedBytes: this.#stat(ALLOCATED),
      reservedBytes: this.#stat(RESERVED),
      blocks: this.#stat(BLOCKS),
      activePeakBytes: 0,
      cachedPeakBytes: this.#values[CACHED_PEAK]!,
    };
  }

  #stat(at: number): MemoryStat {
    const values = this.#values;
    return { current: values[at]!, peak: values[at + 1]!, total: values[at]! + values[at + 2]! };
  }
}
