/** A set of addresses as ranges in order, none of which touch. Cost: O(log n) to look up, O(n) to change. */
export class AddressRanges implements Iterable<readonly [start: number, end: number]> {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  /** Adds the addresses from `start` up to `end`. */
  add(start: number, end: number): void {
    if (!(end > start)) return;
    // All ranges that overlap or touch become one with it.
    const first = lowerBound(this.#ends, start);
    let last = first;
    while (this.#starts[last]! <= end) last++;
    this.#starts.splice(first, last - first, Math.min(start, this.#starts[first] ?? start));
    this.#ends.splice(first, last - first, Math.max(end, this.#ends[last - 1] ?? end));
  }

  /** Removes the addresses from `start` up to `end`. */
  remove(start: number, end: number): void {
    if (!(end > start)) return;
    const first = lowerBound(this.#ends, start);
    const last = lowerBound(this.#starts, end);
    const before = [this.#starts[first]!, start] as const;
    const behind = [end, this.#ends[last - 1]!] as const;
    const kept = [before, behind].filter(([from, to]) => from < to);
    this.#starts.splice(first, last - first, ...kept.map(([from]) => from));
    this.#ends.splice(first, last - first, ...kept.map(([, to]) => to));
  }

  /** Tells whether all addresses from `start` up to `end` are in the set. */
  has(start: number, end: number): boolean {
    return this.#starts[lowerBound(this.#ends, end)]! <= start;
  }

  *[Symbol.iterator](): Iterator<readonly [start: number, end: number]> {
    for (let i = 0; i < this.#starts.length; i++) yield [this.#starts[i]!, this.#ends[i]!];
  }

  /** The ranges, each cut at the borders inside it. Cost: O(n log n). @param borders - in any order */
  piecesAt(borders: Iterable<number>): (readonly [start: number, end: number])[] {
    const sorted = [...borders].sort((a, b) => a - b);
    return Array.from(this, ([start, end]) => {
      const cuts = sorted.slice(lowerBound(sorted, start), lowerBound(sorted, end)).filter((border) => border > start);
      return [start, ...cuts].map((from, i) => [from, cuts[i] ?? end] as const);
    }).flat();
  }
}

/** The place of the first of some ascending values that is not below a limit. Cost: O(log n). */
export function lowerBound(values: readonly number[], limit: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
