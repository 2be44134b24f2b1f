import { KiB } from '../../src/core/units.js';

const TOLERANCE = 0.005;
const MIN_TOLERANCE_BYTES = 64 * KiB;
/** A policy that looks at the capacity may need more than it reserved on a large device. */
const MAX_CAPACITY_FACTOR = 64;

/**
 * Finds the smallest capacity on which a trace completes, by halving, to 0.5 % or 64 KiB, whichever is more.
 *
 * @param lowBytes - no capacity below it can do: the peak of live bytes
 * @param highBytes - one that should do: what was reserved at most without a limit
 * @returns null where nothing has a capacity, or where none was found
 */
export async function smallestCapacity(
  fits: (capacityBytes: number) => Promise<boolean | null>,
  lowBytes: number,
  highBytes: number,
): Promise<number | null> {
  let low = lowBytes;
  let high = Math.max(highBytes, low);
  const lowFits = await fits(low);
  if (lowFits === null) return null;
  if (lowFits) return low;
  for (const limit = high * MAX_CAPACITY_FACTOR; !(await fits(high)); high = Math.ceil(high * 1.25)) {
    if (high > limit) return null;
    low = high;
  }
  while (high - low > Math.max(MIN_TOLERANCE_BYTES, low * TOLERANCE)) {
    const middle = Math.floor((low + high) / 2);
    if (await fits(middle)) high = middle;
    else low = middle;
  }
  return high;
}
