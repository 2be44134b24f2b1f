import { NEVER } from './block-lifetimes.js';
import { joined, type MemoryRange } from './fragmentation.js';

/** Native memory over time, one row a piece: it exists at moment `m` when `born[row] <= m < died[row]`. */
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

  /** A segment was allocated, or pages were committed. Cost: O(1), or O(runs of pages). */
  add(start: number, bytes: number, moment: number, paged: boolean): void {
    const row = this.#begin(start, bytes, moment, paged);
    if (!paged) this.#segments.set(start, row);
    else this.#pages.splice(this.#pages.findLastIndex((page) => this.start[page]! < start) + 1, 0, row);
  }

  /** The segment at `start` was freed. A segment that was never added is ignored. */
  remove(start: number, moment: number): void {
    const row = this.#segments.get(start);
    if (row === undefined) return;
    this.#segments.delete(start);
    this.#end(row, moment);
  }

  /** Pages were decommitted. A part of the range without memory is ignored. Cost: O(runs of pages). */
  removePages(start: number, bytes: number, moment: number): void {
    const end = start + bytes;
    this.#pages = this.#pages.flatMap((row) => {
      const from = this.start[row]!;
      const to = this.#endOf(row);
      if (to <= start || from >= end) return row;
      this.#end(row, moment);
      const before = from < start ? [this.#begin(from, start - from, moment, true)] : [];
      return to > end ? [...before, this.#begin(end, to - end, moment, true)] : before;
    });
  }

  /** The current ranges, by address; pages that touch are one range. Cost: O(n log n). */
  ranges(): MemoryRange[] {
    const rangeOf = (row: number) => ({ start: this.start[row]!, end: this.#endOf(row) });
    const ranges = [...Array.from(this.#segments.values(), rangeOf), ...joined(this.#pages.map(rangeOf))];
    return ranges.sort((a, b) => a.start - b.start);
  }

  #begin(start: number, bytes: number, moment: number, paged: boolean): number {
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
}
