import type { OwnPages } from '../../adapters/os/own-pages.js';
import { MiB } from '../core/units.js';

/** A range of addresses, and who has it. */
export interface OwnedRange {
  readonly start: number;
  readonly end: number;
  readonly owner: string;
}

const WORD = 2 ** 32;
const STEP_BYTES = MiB;
const MOST_BYTES = 256 * MiB;

/**
 * Finds out whose anonymous memory is for which nobody else is known: that of a library whose data has pointers there, or in whose
 * memory, found before, there are such pointers. An allocator in a library keeps track of its memory so. Cost: some ms a MiB of data.
 *
 * @param ranges - start and end, in the order of addresses
 * @param data - what libraries can write to
 * @returns the owner of each range, by its start; the one with the most pointers
 */
export function libraryOwners(
  ranges: readonly { readonly start: number; readonly end: number }[],
  data: readonly OwnedRange[],
  pages: OwnPages,
): Map<number, string> {
  const owners = new Map<number, string>();
  const words = new Uint32Array(STEP_BYTES / 4);
  let left = MOST_BYTES;
  let next = data;
  while (next.length > 0 && owners.size < ranges.length && left > 0) {
    const pointers = new Map<number, Map<string, number>>();
    for (const { start, end, owner } of next) {
      pages.forResident(start, end, (from, to) => {
        for (let at = from; at < to && left > 0; ) {
          const got = pages.read(at, words, Math.min(STEP_BYTES, to - at, left));
          if (got < 8) return;
          countPointers(words, got >> 2, ranges, (range) => {
            const counts = pointers.get(range) ?? new Map<string, number>();
            pointers.set(range, counts.set(owner, (counts.get(owner) ?? 0) + 1));
          });
          at += got;
          left -= got;
        }
      });
    }
    const found: OwnedRange[] = [];
    for (const range of ranges) {
      const counts = pointers.get(range.start);
      if (counts === undefined || owners.has(range.start)) continue;
      const [owner] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
      owners.set(range.start, owner);
      found.push({ ...range, owner });
    }
    next = found;
  }
  return owners;
}

/** Calls with the start of the range for each word that is an address there. */
function countPointers(
  words: Uint32Array,
  count: number,
  ranges: readonly { readonly start: number; readonly end: number }[],
  hit: (start: number) => void,
): void {
  const first = ranges[0]?.start ?? 0;
  const last = ranges.at(-1)?.end ?? 0;
  const leastHigh = Math.floor(first / WORD);
  const mostHigh = Math.floor(last / WORD);
  for (let i = 0; i + 1 < count; i += 2) {
    const high = words[i + 1] as number;
    if (high < leastHigh || high > mostHigh) continue;
    const address = high * WORD + (words[i] as number);
    let low = 0;
    let top = ranges.length;
    while (low < top) {
      const middle = (low + top) >> 1;
      if ((ranges[middle]?.end as number) <= address) low = middle + 1;
      else top = middle;
    }
    const range = ranges[low];
    if (range !== undefined && address >= range.start) hit(range.start);
  }
}
