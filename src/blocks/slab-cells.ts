import { type CarvedRegion, NO_BLOCK } from './carved-region.js';
import { ensure } from './ensure.js';

/**
 * Cells of one size, side by side. Free ones are kept in a list, the last one given back first; those that were never
 * used come after it. Taking and giving are O(1). A cell costs 13 bytes of tables.
 */
export class SlabCells implements CarvedRegion {
  readonly base: number;
  readonly bytes: number;
  readonly device: number;
  readonly #cellBytes: number;
  readonly #inverse: number;
  readonly #cells: number;
  readonly #alignment: number;
  readonly #next: Int32Array;
  readonly #requested: Float64Array;
  readonly #locks: Uint8Array;
  #firstFree = NO_BLOCK;
  /** Cells from here on were never used. */
  #fresh = 0;
  #live = 0;

  /** @param cellBytes - as many cells as fit */
  constructor(base: number, bytes: number, device: number, cellBytes: number) {
    this.base = base;
    this.bytes = bytes;
    this.device = device;
    this.#cellBytes = cellBytes;
    this.#inverse = 1 / cellBytes;
    this.#cells = Math.floor(bytes / cellBytes);
    this.#alignment = this.#cells === 1 ? powerIn(base) : Math.min(powerIn(base), powerIn(cellBytes));
    this.#next = new Int32Array(this.#cells);
    this.#requested = new Float64Array(this.#cells);
    this.#locks = new Uint8Array(this.#cells);
  }

  get live(): number {
    return this.#live;
  }

  get metadataBytes(): number {
    return this.#next.byteLength + this.#requested.byteLength + this.#locks.byteLength;
  }

  take(bytes: number, alignment: number, lock: number): number {
    if (bytes > this.#cellBytes || alignment > this.#alignment) return NO_BLOCK;
    let cell = this.#firstFree;
    if (cell !== NO_BLOCK) this.#firstFree = this.#next[cell]!;
    else if (this.#fresh < this.#cells) cell = this.#fresh++;
    else return NO_BLOCK;
    this.#requested[cell] = bytes;
    this.#locks[cell] = lock;
    this.#live++;
    return cell;
  }

  find(address: number): number {
    const place = address - this.base;
    // Rounded, the product is the quotient where there is a whole one; where there is none, or it is too large, the check fails.
    const cell = (place * this.#inverse + 0.5) | 0;
    return cell >= 0 && cell < this.#fresh && cell * this.#cellBytes === place ? cell : NO_BLOCK;
  }

  give(cell: number): void {
    this.#locks[cell] = 0;
    this.#next[cell] = this.#firstFree;
    this.#firstFree = cell;
    this.#live--;
  }

  addressOf(cell: number): number {
    return this.base + cell * this.#cellBytes;
  }

  bytesOf(_cell: number): number {
    return this.#cellBytes;
  }

  requestedOf(cell: number): number {
    return this.#requested[cell]!;
  }

  setRequested(cell: number, bytes: number): void {
    this.#requested[cell] = bytes;
  }

  locksOf(cell: number): number {
    return this.#locks[cell]!;
  }

  setLocks(cell: number, locks: number): void {
    this.#locks[cell] = locks;
  }

  liveBlocks(): number[] {
    const live: number[] = [];
    for (let cell = 0; cell < this.#fresh; cell++) if (this.#locks[cell] !== 0) live.push(cell);
    return live;
  }

  checkInvariants(): void {
    let free = 0;
    for (let cell = this.#firstFree; cell !== NO_BLOCK; cell = this.#next[cell]!) {
      ensure(this.#locks[cell] === 0 && cell < this.#fresh, () => `free cell ${cell} is held by nobody and was used`);
      ensure(++free <= this.#cells, 'the list of free cells ends');
    }
    ensure(free + this.#live === this.#fresh, 'free + live == fresh');
    ensure(this.#live === this.liveBlocks().length, 'live == cells with locks');
  }
}

/** The largest power of two that divides a number. */
export function powerIn(value: number): number {
  let power = 1;
  while (value % (power * 2) === 0 && power < 2 ** 52) power *= 2;
  return power;
}
