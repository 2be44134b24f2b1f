import { alignUp, MiB } from '../core/units.js';

/** What memory is handed out in, on the cards that were looked at. */
export const GRANULE_BYTES = 2 * MiB;
/** Address ranges come in multiples of this. */
const RANGE_BYTES = 32 * MiB;
const FIRST_ADDRESS = 2 ** 46;

/**
 * Where a card's driver puts segments, as far as snapshots show it: in ranges, each below the last, and in a range at the
 * lowest hole that has room. Memory that was freed is joined with the holes beside it, and is used again. An allocator that takes
 * the lowest of equal free blocks depends on it.
 *
 * Cost: O(holes).
 */
export class DriverAddresses {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  /** Where the ranges begin, and where they end. */
  #lowest = FIRST_ADDRESS;
  #highest = FIRST_ADDRESS;

  /** @returns 0 when there are no addresses left */
  take(bytes: number): number {
    const size = alignUp(bytes, GRANULE_BYTES);
    const hole = this.#starts.findIndex((start, i) => this.#ends[i]! - start >= size);
    if (hole >= 0) return this.#cut(hole, size);
    const range = alignUp(size, RANGE_BYTES);
    const address = this.#range(range);
    if (address === 0) return 0;
    if (range > size) this.give(address + size, range - size);
    return address;
  }

  /** Takes addresses back. @param bytes - as they were taken */
  give(address: number, bytes: number): void {
    const end = address + alignUp(bytes, GRANULE_BYTES);
    let place = this.#starts.findIndex((start) => start > address);
    if (place < 0) place = this.#starts.length;
    const joinsBefore = place > 0 && this.#ends[place - 1] === address;
    const joinsBehind = this.#starts[place] === end;
    if (joinsBefore && joinsBehind) {
      this.#ends.splice(place - 1, 1);
      this.#starts.splice(place, 1);
    } else if (joinsBefore) this.#ends[place - 1] = end;
    else if (joinsBehind) this.#starts[place] = address;
    else {
      this.#starts.splice(place, 0, address);
      this.#ends.splice(place, 0, end);
    }
  }

  /** Begins below the segments that are there, with the holes between them. @param segments - by address */
  occupy(segments: readonly { readonly address: number; readonly bytes: number }[]): void {
    let next = 0;
    for (const { address, bytes } of segments) {
      const range = Math.floor(address / RANGE_BYTES) * RANGE_BYTES;
      const end = address + alignUp(bytes, GRANULE_BYTES);
      const from = Math.max(next, range);
      // The range before ends in a hole, and this one begins with one.
      if (next > 0 && range > next) this.#hole(next, Math.min(alignUp(next, RANGE_BYTES), range));
      this.#hole(from, address);
      next = end;
    }
    if (next > 0) this.#hole(next, alignUp(next, RANGE_BYTES));
    this.#highest = Math.max(this.#highest, alignUp(next, RANGE_BYTES));
    const [lowest] = segments;
    if (lowest !== undefined) this.#lowest = Math.min(this.#lowest, Math.floor(lowest.address / RANGE_BYTES) * RANGE_BYTES);
  }

  /** A new range: below all others, or above them where what was there before lies too low. */
  #range(bytes: number): number {
    if (bytes < this.#lowest) {
      this.#lowest -= bytes;
      return this.#lowest;
    }
    const address = this.#highest;
    if (!Number.isSafeInteger(address + bytes)) return 0;
    this.#highest += bytes;
    return address;
  }

  #hole(start: number, end: number): void {
    if (end > start) this.give(start, end - start);
  }

  #cut(hole: number, bytes: number): number {
    const address = this.#starts[hole]!;
    this.#starts[hole] = address + bytes;
    if (this.#starts[hole] === this.#ends[hole]) {
      this.#starts.splice(hole, 1);
      this.#ends.splice(hole, 1);
    }
    return address;
  }
}
