/** A part of something, from `first` up to but not including `last`, in bytes. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/** Parts of a range that are still there: disjoint and in order. Few, so every call is O(parts). */
export class ByteRanges {
  #parts: ByteRange[];

  /** @param bytes - all of them are there at first */
  constructor(bytes: number) {
    this.#parts = bytes > 0 ? [{ first: 0, last: bytes }] : [];
  }

  get bytes(): number {
    return this.#parts.reduce((sum, { first, last }) => sum + last - first, 0);
  }

  /** Those parts that lie between two places, cut off there. */
  within(first: number, last: number): ByteRange[] {
    return this.#parts
      .map((part) => ({ first: Math.max(part.first, first), last: Math.min(part.last, last) }))
      .filter((part) => part.first < part.last);
  }

  /** Tells whether all bytes between two places are there. */
  covers(first: number, last: number): boolean {
    return first >= last || this.#parts.some((part) => part.first <= first && last <= part.last);
  }

  /** Takes the bytes between two places away. */
  remove(first: number, last: number): void {
    if (first >= last) return;
    this.#parts = this.#parts.flatMap((part) => [
      ...(part.first < first ? [{ first: part.first, last: Math.min(part.last, first) }] : []),
      ...(part.last > last ? [{ first: Math.max(part.first, last), last: part.last }] : []),
    ]);
  }
}
