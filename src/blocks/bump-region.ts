import { type CarvedRegion, NO_BLOCK, roundUp } from './carved-region.js';
import { ensure } from './ensure.js';

const FIRST_CAPACITY = 64;

/**
 * Puts one block behind the other. A block that is given back is free, but its place is used again only when the region
 * is cut back to before it. `used <= bytes`, and the starts of the blocks ascend.
 *
 * Blocks belong to the era in which they were made: a clock, shared by regions, shows it. It has to go on before places are
 * used again, so that no two blocks of one address belong to the same era. A block costs 17 bytes of tables.
 */
export class BumpRegion implements CarvedRegion {
  readonly base: number;
  readonly bytes: number;
  readonly device: number;
  readonly #unit: number;
  #live = 0;
  #used = 0;
  #count = 0;
  #capacity = FIRST_CAPACITY;
  #starts = new Float64Array(FIRST_CAPACITY);
  #requested = new Float64Array(FIRST_CAPACITY);
  #locks = new Uint8Array(FIRST_CAPACITY);
  /** Where the last search ended: blocks are mostly given back in one order or the other. */
  #last = 0;
  /** Of the last block. */
  #era = 0;
  /** The first block of each era that has any, and the era. */
  readonly #firsts: number[] = [];
  readonly #eras: number[] = [];
  readonly #clock: Float64Array;

  /**
   * @param options - `unit`: a power of two that `base` is a multiple of; blocks begin at multiples of it, and have whole
   *   ones. `clock`: its one number is the present era, above 0
   */
  constructor(base: number, bytes: number, device: number, options: { readonly unit: number; readonly clock: Float64Array }) {
    this.base = base;
    this.bytes = bytes;
    this.device = device;
    this.#unit = options.unit;
    this.#clock = options.clock;
  }

  get live(): number {
    return this.#live;
  }

  /** Bytes up to the end of the last block. */
  get used(): number {
    return this.#used;
  }

  get metadataBytes(): number {
    return this.#capacity * (2 * Float64Array.BYTES_PER_ELEMENT + 1);
  }

  take(bytes: number, alignment: number, lock: number): number {
    const used = this.#used;
    const start = alignment <= this.#unit ? used : roundUp(this.base + used, alignment) - this.base;
    const end = start + roundUp(bytes, this.#unit);
    if (!(end <= this.bytes)) return NO_BLOCK;
    const block = this.#count;
    if (block === this.#capacity) this.#grow();
    if (this.#clock[0] !== this.#era) this.#enterEra(block);
    this.#starts[block] = start;
    this.#requested[block] = bytes;
    this.#locks[block] = lock;
    this.#count = block + 1;
    this.#used = end;
    this.#live++;
    return block;
  }

  find(address: number): number {
    const place = address - this.base;
    const starts = this.#starts;
    const count = this.#count;
    const last = this.#last;
    if (last + 1 < count && starts[last + 1] === place) return (this.#last = last + 1);
    if (last < count && starts[last] === place) return last;
    if (last > 0 && last <= count && starts[last - 1] === place) return (this.#last = last - 1);
    return this.#search(place);
  }

  give(block: number): void {
    this.#locks[block] = 0;
    this.#live--;
  }

  addressOf(block: number): number {
    return this.base + this.#starts[block]!;
  }

  bytesOf(block: number): number {
    return roundUp(this.#requested[block]!, this.#unit);
  }

  requestedOf(block: number): number {
    return this.#requested[block]!;
  }

  setRequested(block: number, bytes: number): void {
    this.#requested[block] = bytes;
  }

  locksOf(block: number): number {
    return this.#locks[block]!;
  }

  setLocks(block: number, locks: number): void {
    this.#locks[block] = locks;
  }

  /** The era in which a block was made. */
  eraOf(block: number): number {
    let at = this.#firsts.length - 1;
    while (this.#firsts[at]! > block) at--;
    return this.#eras[at]!;
  }

  /**
   * Forgets every block that was made in that era or later, also live ones; their places are used again. The clock has to
   * go on before the next block.
   *
   * @param forget - told of each that was live
   */
  cut(era: number, forget?: (block: number) => void): void {
    let count = this.#count;
    while (this.#eras.length > 0 && this.#eras.at(-1)! >= era) {
      const first = this.#firsts.pop()!;
      this.#eras.pop();
      while (count > first) {
        count--;
        if (this.#locks[count] === 0) continue;
        this.#live--;
        forget?.(count);
      }
    }
    this.#count = count;
    this.#used = count === 0 ? 0 : this.#starts[count - 1]! + this.bytesOf(count - 1);
    this.#era = this.#eras.at(-1) ?? 0;
  }

  /** Forgets every block, also live ones. Cost: O(1). The clock has to go on before the next block. */
  clear(): void {
    this.#firsts.length = 0;
    this.#eras.length = 0;
    this.#count = 0;
    this.#used = 0;
    this.#live = 0;
    this.#era = 0;
  }

  liveBlocks(): number[] {
    const live: number[] = [];
    for (let block = 0; block < this.#count; block++) if (this.#locks[block] !== 0) live.push(block);
    return live;
  }

  checkInvariants(): void {
    let end = 0;
    for (let block = 0; block < this.#count; block++) {
      ensure(this.#starts[block]! >= end, () => `block ${block} begins behind the one before`);
      ensure(block === 0 || this.eraOf(block - 1) <= this.eraOf(block), 'eras ascend');
      end = this.#starts[block]! + this.bytesOf(block);
      ensure(this.#search(this.#starts[block]!) === block, () => `block ${block} is found`);
    }
    ensure(end <= this.#used && this.#used <= this.bytes, 'end of the last block <= used <= bytes');
    ensure(this.#live === this.liveBlocks().length, 'live == blocks with locks');
  }

  #search(place: number): number {
    const starts = this.#starts;
    let low = 0;
    let high = this.#count - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const start = starts[middle]!;
      if (start === place) return (this.#last = middle);
      if (start < place) low = middle + 1;
      else high = middle - 1;
    }
    return NO_BLOCK;
  }

  #enterEra(block: number): void {
    this.#era = this.#clock[0]!;
    this.#firsts.push(block);
    this.#eras.push(this.#era);
  }

  #grow(): void {
    this.#capacity *= 2;
    this.#starts = grown(this.#starts, new Float64Array(this.#capacity));
    this.#requested = grown(this.#requested, new Float64Array(this.#capacity));
    this.#locks = grown(this.#locks, new Uint8Array(this.#capacity));
  }
}

function grown<T extends { set(from: T): void }>(column: T, wider: T): T {
  wider.set(column);
  return wider;
}
