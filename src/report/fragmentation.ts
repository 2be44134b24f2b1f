/** A range of native memory, its end not included. */
export interface MemoryRange {
  readonly start: number;
  readonly end: number;
}

/** Makes one range of those that touch. @param ranges - by address, without overlaps */
export function joined(ranges: readonly MemoryRange[]): MemoryRange[] {
  const starts = ranges.filter(({ start }, i) => ranges[i - 1]?.end !== start);
  const ends = ranges.filter(({ end }, i) => ranges[i + 1]?.start !== end);
  return starts.map(({ start }, i) => ({ start, end: ends[i]!.end }));
}

/**
 * The share of free bytes that lie outside the largest free range, 0 to 1: 0 when all free memory is in one piece.
 * Cost: O(n log n).
 *
 * @param ranges - native memory by address, without overlaps
 * @param starts - addresses of the live blocks, in any order; sorted in place
 * @param ends - where they end, in any order; sorted in place
 */
export function fragmentation(ranges: readonly MemoryRange[], starts: Float64Array, ends: Float64Array): number {
  // Blocks do not overlap: the n-th lowest start belongs to the n-th lowest end.
  starts.sort();
  ends.sort();
  let block = 0;
  let free = 0;
  let largest = 0;
  const add = (bytes: number): void => {
    if (bytes <= 0) return;
    free += bytes;
    if (bytes > largest) largest = bytes;
  };
  for (const { start, end } of ranges) {
    let from = start;
    while (block < starts.length && starts[block]! < start) block++;
    for (; block < starts.length && starts[block]! < end; block++) {
      add(starts[block]! - from);
      from = ends[block]!;
    }
    add(end - from);
  }
  return free === 0 ? 0 : 1 - largest / free;
}
