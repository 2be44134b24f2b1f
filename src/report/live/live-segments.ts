import { joined, type MemoryRange } from '../fragmentation.js';

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

  /** By address; those that touch are one when `paged`. Cost: O(n log n). */
  ranges(paged: boolean): MemoryRange[] {
    const ranges = Array.from(this.#bytesAt, ([start, bytes]) => ({ start, end: start + bytes })).sort(
      (a, b) => a.start - b.start,
    );
    return paged ? joined(ranges) : ranges;
  }
}
