import { Statistics } from './layout';

const PEAKS: usize = offsetof<Statistics>('requestedPeak');
const TOTALS: usize = offsetof<Statistics>('requestedTotal');

// Requested and allocated bytes lie side by side and are counted at once.

/** Counts a block that was handed out. */
@inline
export function countTaken(statistics: Statistics, requestedBytes: f64, bytes: f64): void {
  const at = changetype<usize>(statistics);
  const more = pairOf(requestedBytes, bytes);
  const now = f64x2.add(v128.load(at), more);
  v128.store(at, now);
  v128.store(at, f64x2.pmax(v128.load(at, PEAKS), now), PEAKS);
  v128.store(at, f64x2.add(v128.load(at, TOTALS), more), TOTALS);
  const blocks = statistics.blocks + 1;
  statistics.blocks = blocks;
  statistics.blocksTotal += 1;
  if (blocks > statistics.blocksPeak) statistics.blocksPeak = blocks;
  // Without deferred bytes the peak of the allocated ones tells.
  const deferred = statistics.deferred;
  if (deferred != 0) statistics.activePeak = max(statistics.activePeak, f64x2.extract_lane(now, 1) + deferred);
}

/** Counts a block that came back. */
@inline
export function countFreed(statistics: Statistics, requestedBytes: f64, bytes: f64): void {
  const at = changetype<usize>(statistics);
  const now = f64x2.sub(v128.load(at), pairOf(requestedBytes, bytes));
  v128.store(at, now);
  statistics.blocks -= 1;
  noteCached(statistics);
}

/** Notes that cached bytes may be more than ever. */
@inline
export function noteCached(statistics: Statistics): void {
  const cached = statistics.reserved - statistics.allocated - statistics.deferred;
  if (cached > statistics.cachedPeak) statistics.cachedPeak = cached;
}

@inline
function pairOf(first: f64, second: f64): v128 {
  return f64x2.replace_lane(f64x2.splat(first), 1, second);
}
