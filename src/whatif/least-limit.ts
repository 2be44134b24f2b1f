import { GRANULE_BYTES } from './driver-addresses.js';

/**
 * Finds a limit that a program fits into while it does not fit into one that is 2 MiB smaller, by bisection. A still smaller one
 * may also do: more memory does not help every policy.
 *
 * @param allocatedBytes - the most that was allocated at once without a limit: less is not tried unless it turns out to fit
 * @param reservedBytes - the most that was reserved without a limit
 * @returns bytes, a multiple of 2 MiB
 */
export function findLeastLimit(allocatedBytes: number, reservedBytes: number, fits: (limitBytes: number) => boolean): number {
  const tried = new Map<number, boolean>();
  const fitsInto = (granules: number): boolean => {
    const known = tried.get(granules) ?? (granules > 0 && fits(granules * GRANULE_BYTES));
    tried.set(granules, known);
    return known;
  };
  let enough = Math.max(1, Math.ceil(reservedBytes / GRANULE_BYTES));
  // A limit changes what the policy does, also one that is never reached.
  while (!fitsInto(enough)) enough += Math.ceil(enough / 8);
  let tooLittle = Math.min(Math.ceil(allocatedBytes / GRANULE_BYTES), enough) - 1;
  for (;;) {
    while (enough - tooLittle > 1) {
      const middle = Math.floor((tooLittle + enough) / 2);
      if (fitsInto(middle)) enough = middle;
      else tooLittle = middle;
    }
    if (!fitsInto(tooLittle)) return enough * GRANULE_BYTES;
    enough = tooLittle;
    tooLittle = Math.max(0, tooLittle - Math.ceil(tooLittle / 8));
  }
}
