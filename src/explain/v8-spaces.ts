import { getHeapSpaceStatistics } from 'node:v8';
import type { FoundCategories } from './memory-explanation.js';

const CODE = /^(?:trusted_)?code_/;

/**
 * Divides the resident bytes of this isolate's heap among its spaces, as V8 counts what of each is in memory.
 *
 * @param rest - what to call that which no space counts
 * @returns how much of them a collection could free at most: what is committed and holds no object
 */
export function addV8Spaces(residentBytes: number, rest: string, found: FoundCategories): number {
  const spaces = getHeapSpaceStatistics().filter(({ space_name }) => !CODE.test(space_name));
  const counted = spaces.reduce((sum, { physical_space_size }) => sum + physical_space_size, 0);
  const scale = counted > residentBytes ? residentBytes / counted : 1;
  let left = residentBytes;
  let unused = 0;
  for (const { space_name, physical_space_size, space_used_size } of spaces) {
    const bytes = Math.round(physical_space_size * scale);
    const free = Math.max(0, bytes - space_used_size);
    found.add('v8-heap', space_name, bytes, free);
    left -= bytes;
    unused += free;
  }
  // Pages that V8 keeps for its next growth, heads of chunks, and what of a space was touched and is counted by its objects alone.
  found.add('v8-heap', rest, left, null);
  return unused;
}
