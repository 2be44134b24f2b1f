/** A set of addresses as ranges in order, none of which touch. Cost: O(log n) to look up, O(n) to change. */
export class AddressRanges implements Iterable<readonly [start: number, end: number]> {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  /** Adds the addresses from `start` up to `end`. */
  add(start: number, end: number): void {
    if (!(end > start)) return;
    // All ranges that overlap or touch become one with it.
    const first = this.#firstEndingFrom(start);
    let last = first;
    let from = start;
    let to = end;
    while (last < this.#starts.length && this.#starts[last]! <= end) {
      from = Math.min(from, this.#starts[last]!);
      to = Math.max(to, this.#ends[last]!);
      last++;
    }
    this.#starts.splice(first, last - first, from);
    this.#ends.splice(first, last - first, to);
  }

  /** Takes the addresses from `start` up to `end` away. */
  remove(start: number, end: number): void {
    if (!(end > start)) return;
    const first = this.#firstEndingFrom(start);
    let last = first;
    const starts: number[] = [];
    const ends: number[] = [];
    while (last < this.#starts.length && this.#starts[last]! < end) {
      const [from, to] = [this.#starts[last]!, this.#ends[last]!];
      if (from < start) {
        starts.push(from);
        ends.push(Math.min(to, start));
      }
      if (to > end) {
        starts.push(Math.max(from, end));
        ends.push(to);
      }
      last++;
    }
    this.#starts.splice(first, last - first, ...starts);
    this.#ends.splice(first, last - first, ...ends);
  }

  /** Tells whether all addresses from `start` up to `end` are in the set. */
  has(start: number, end: number): boolean {
    const at = this.#firstEndingFrom(end);
    return at < this.#starts.length && this.#starts[at]! <= start;
  }

  *[Symbol.iterator](): Iterator<readonly [start: number, end: number]> {
    for (let i = 0; i < this.#starts.length; i++) yield [this.#starts[i]!, this.#ends[i]!];
  }

  /** The first range that ends at `address` or behind it. */
  #firstEndingFrom(address: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ends[middle]! < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
