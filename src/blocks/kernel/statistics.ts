import { Statistics } from './layout';

/** Counts a block that was handed out. */
@inline
export function countTaken(statistics: Statistics, requestedBytes: f64, bytes: f64): void {
  const requested = statistics.requested + requestedBytes;
  const allocated = statistics.allocated + bytes;
  const blocks = statistics.blocks + 1;
  statistics.requested = requested;
  statistics.allocated = allocated;
  statistics.blocks = blocks;
  statistics.requestedTotal += requestedBytes;
  statistics.allocatedTotal += bytes;
  statistics.blocksTotal += 1;
  if (requested > statistics.requestedPeak) statistics.requestedPeak = requested;
  if (allocated > statistics.allocatedPeak) statistics.allocatedPeak = allocated;
  if (blocks > statistics.blocksPeak) statistics.blocksPeak = blocks;
  // Without deferred bytes the peak of the allocated ones tells.
  const deferred = statistics.deferred;
  if (deferred != 0 && allocated + deferred > statistics.activePeak) statistics.activePeak = allocated + deferred;
}

/** Counts a block that came back. */
@inline
export function countFreed(statistics: Statistics, requestedBytes: f64, bytes: f64): void {
  const allocated = statistics.allocated - bytes;
  statistics.requested -= requestedBytes;
  statistics.allocated = allocated;
  statistics.blocks -= 1;
  const cached = statistics.reserved - allocated - statistics.deferred;
  if (cached > statistics.cachedPeak) statistics.cachedPeak = cached;
}
