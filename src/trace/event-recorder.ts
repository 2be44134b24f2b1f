import type { EventBatch, EventColumns, TraceTotals } from './trace-events.js';

const INITIAL_EVENTS = 16_384;
const INITIAL_SLOTS = 1024;

/**
 * Collects events as columns, gives each live block a slot, and adds up the totals.
 * Every call is O(1), amortised over the growth of the columns.
 */
export class EventRecorder implements TraceTotals {
  allocations = 0;
  liveBlocks = 0;
  peakBlocks = 0;
  peakLiveBytes = 0;
  slotCount = 0;
  #liveBytes = 0;
  #length = 0;
  #slots = new Int32Array(INITIAL_EVENTS);
  #bytes = new Float64Array(INITIAL_EVENTS);
  #lines = new Uint32Array(INITIAL_EVENTS);
  #sizeOfSlot = new Float64Array(INITIAL_SLOTS);
  #freeSlots = new Int32Array(INITIAL_SLOTS);
  #freeCount = 0;

  /** The number of events that wait to be taken. */
  get length(): number {
    return this.#length;
  }

  /** Adds an allocation. @returns the slot of its block */
  alloc(bytes: number, line: number): number {
    const slot = this.#freeCount > 0 ? this.#freeSlots[--this.#freeCount]! : this.#newSlot();
    this.#sizeOfSlot[slot] = bytes;
    this.#append(slot, bytes, line);
    this.allocations++;
    this.#liveBytes += bytes;
    if (this.#liveBytes > this.peakLiveBytes) this.peakLiveBytes = this.#liveBytes;
    if (++this.liveBlocks > this.peakBlocks) this.peakBlocks = this.liveBlocks;
    return slot;
  }

  /** Adds the free of the live block in `slot`. */
  free(slot: number, line: number): void {
    const bytes = this.#sizeOfSlot[slot]!;
    this.#append(~slot, bytes, line);
    this.#liveBytes -= bytes;
    this.liveBlocks--;
    this.#freeSlots[this.#freeCount++] = slot;
  }

  /** Hands over the events since the last call, in columns that the next event overwrites. */
  take(): EventBatch {
    const length = this.#length;
    this.#length = 0;
    return {
      slots: this.#slots.subarray(0, length),
      bytes: this.#bytes.subarray(0, length),
      lines: this.#lines.subarray(0, length),
      slotCount: this.slotCount,
    };
  }

  /** Copies the events into columns of exactly their length. */
  copy(): EventColumns {
    const length = this.#length;
    return { slots: this.#slots.slice(0, length), bytes: this.#bytes.slice(0, length), lines: this.#lines.slice(0, length) };
  }

  #append(code: number, bytes: number, line: number): void {
    const at = this.#length;
    if (at === this.#slots.length) this.#growEvents();
    this.#slots[at] = code;
    this.#bytes[at] = bytes;
    this.#lines[at] = line;
    this.#length = at + 1;
  }

  #newSlot(): number {
    const capacity = this.#sizeOfSlot.length;
    if (this.slotCount === capacity) {
      const sizes = new Float64Array(capacity * 2);
      sizes.set(this.#sizeOfSlot);
      this.#sizeOfSlot = sizes;
      const free = new Int32Array(capacity * 2);
      free.set(this.#freeSlots);
      this.#freeSlots = free;
    }
    return this.slotCount++;
  }

  #growEvents(): void {
    const capacity = this.#slots.length * 2;
    const slots = new Int32Array(capacity);
    slots.set(this.#slots);
    this.#slots = slots;
    const bytes = new Float64Array(capacity);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    const lines = new Uint32Array(capacity);
    lines.set(this.#lines);
    this.#lines = lines;
  }
}
