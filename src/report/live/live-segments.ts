import type { MemoryRange } from '../fragmentation.js';

/** The native memory that is there now. */
export class LiveSegments {
  #bytesAt = new Map<number, number>();

  /** A segment, or pages that were committed. */
  add(start: number, bytes: number): void {
    this.#bytesAt.set(start, bytes);
  }

  /** A segment went back, or any part of the pages. Cost: O(1) for what came as a whole, else O(segments). */
  remove(start: number, bytes: number): void {
    if (this.#bytesAt.get(start) === bytes) {
      this.#bytesAt.delete(start);
      return;
    }
    const end = start + bytes;
    for (const [from, size] of [...this.#bytesAt]) {
      const to = from + size;
      if (to <= start || from >= end) continue;
      this.#bytesAt.delete(from);
      if (from < start) this.#bytesAt.set(from, start - from);
      if (to > end) this.#bytesAt.set(end, to - end);
    }
  }

  /** By address; those that touch are one when `joined`. Cost: O(n log n). */
  ranges(joined: boolean): MemoryRange[] {
    const sorted = [...this.#bytesAt].sort((a, b) => a[0] - b[0]);
    const ranges: { start: number; end: number }[] = [];
    for (const [start, bytes] of sorted) {
      const last = ranges.at(-1);
      if (joined && last?.end === start) last.end += bytes;
      else ranges.push({ start, end: start + bytes });
    }
    return ranges;
  }
}
