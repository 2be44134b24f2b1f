import { NEVER } from './block-lifetimes.js';

/** Native memory over time, one row a piece: it is there at moment `m` when `born[row] <= m < died[row]`. */
export class SegmentHistory {
  readonly start: number[] = [];
  readonly bytes: number[] = [];
  readonly born: number[] = [];
  readonly died: number[] = [];
  readonly paged: boolean[] = [];
  reservedBytes = 0;
  peakReservedBytes = 0;
  /** When the peak was first reached. */
  peakMoment = 0;
  readonly #segments = new Map<number, number>();
  /** Rows of pages that are committed now, by address. They do not overlap. */
  #pages: number[] = [];

  /** A segment that the device gave. */
  allocated(start: number, bytes: number, moment: number): void {
    this.#segments.set(start, this.#add(start, bytes, moment, false));
  }

  /** The segment at `start` went back; one that was not seen coming is passed over. */
  freed(start: number, moment: number): void {
    const row = this.#segments.get(start);
    if (row === undefined) return;
    this.#segments.delete(start);
    this.#end(row, moment);
  }

  /** Pages of a reserved range got memory. Cost: O(runs of pages). */
  committed(start: number, bytes: number, moment: number): void {
    this.#pages.splice(this.#pageFrom(start), 0, this.#add(start, bytes, moment, true));
  }

  /** Pages lost their memory; what of the range had none is passed over. Cost: O(runs of pages). */
  decommitted(start: number, bytes: number, moment: number): void {
    const end = start + bytes;
    let first = this.#pageFrom(start);
    if (first > 0 && this.#endOf(this.#pages[first - 1]!) > start) first--;
    let last = first;
    const rests: number[] = [];
    for (; last < this.#pages.length && this.start[this.#pages[last]!]! < end; last++) {
      const row = this.#pages[last]!;
      const from = this.start[row]!;
      const to = this.#endOf(row);
      this.#end(row, moment);
      if (from < start) rests.push(this.#add(from, start - from, moment, true));
      if (to > end) rests.push(this.#add(end, to - end, moment, true));
    }
    this.#pages.splice(first, last - first, ...rests);
  }

  /** The ranges that are there now, by address; pages that touch are one. Cost: O(n log n). */
  ranges(): { start: number; end: number }[] {
    const ranges = [...this.#segments.values()].map((row) => ({ start: this.start[row]!, end: this.#endOf(row) }));
    let last: { start: number; end: number } | undefined;
    for (const row of this.#pages) {
      const start = this.start[row]!;
      if (last?.end === start) last.end = this.#endOf(row);
      else {
        last = { start, end: this.#endOf(row) };
        ranges.push(last);
      }
    }
    return ranges.sort((a, b) => a.start - b.start);
  }

  #add(start: number, bytes: number, moment: number, paged: boolean): number {
    const row = this.start.length;
    this.start.push(start);
    this.bytes.push(bytes);
    this.born.push(moment);
    this.died.push(NEVER);
    this.paged.push(paged);
    this.reservedBytes += bytes;
    if (this.reservedBytes > this.peakReservedBytes) {
      this.peakReservedBytes = this.reservedBytes;
      this.peakMoment = moment;
    }
    return row;
  }

  #end(row: number, moment: number): void {
    this.died[row] = moment;
    this.reservedBytes -= this.bytes[row]!;
  }

  #endOf(row: number): number {
    return this.start[row]! + this.bytes[row]!;
  }

  /** The place of the first run of pages at `address` or above. */
  #pageFrom(address: number): number {
    let low = 0;
    let high = this.#pages.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.start[this.#pages[middle]!]! < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
