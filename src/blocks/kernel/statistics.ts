import { Block, Statistics } from './layout';

const TOTALS: usize = offsetof<Statistics>('allocatedTotal');
const BLOCKS: usize = offsetof<Statistics>('blocksRoom');

// Allocated and requested bytes lie side by side and are counted at once, and so are blocks and their total.

/** Counts a block that was handed out. */
@inline
export function countTaken(statistics: Statistics, requestedBytes: f64, bytes: f64): void {
  const at = changetype<usize>(statistics);
  const more = pairOf(bytes, requestedBytes);
  const room = f64x2.sub(v128.load(at), more);
  const blocks = f64x2.add(v128.load(at, BLOCKS), f64x2(-1, 1));
  v128.store(at, room);
  v128.store(at, blocks, BLOCKS);
  v128.store(at, f64x2.add(v128.load(at, TOTALS), more), TOTALS);
  if (i64x2.bitmask(v128.or(room, blocks)) != 0) notePeaks(statistics);
  // Without deferred bytes the peak of the allocated ones tells.
  if (reinterpret<u64>(statistics.deferred) != 0) noteActive(statistics);
}

/** Counts a block that came back. */
@inline
export function countFreed(statistics: Statistics, block: Block): void {
  const at = changetype<usize>(statistics);
  const room = f64x2.add(v128.load(at), pairOf(block.bytes, block.requested));
  v128.store(at, room);
  statistics.blocksRoom += 1;
  if (f64x2.extract_lane(room, 0) > statistics.cachedPeakRoom) noteCached(statistics);
}

/** Undoes {@link countFreed} of a block. */
export function countHeldAgain(statistics: Statistics, block: Block): void {
  statistics.allocatedRoom -= block.bytes;
  statistics.requestedRoom -= block.requested;
  statistics.blocksRoom -= 1;
  // What was handed out in between may have made this a peak.
  notePeaks(statistics);
}

/** Counts bytes that the holder of a block asks for beside those before; fewer ones are negative. */
export function countRequested(statistics: Statistics, bytes: f64): void {
  statistics.requestedRoom -= bytes;
  statistics.requestedTotal += max(bytes, 0);
  notePeaks(statistics);
}

/** Counts bytes that were freed and that a stream still uses, or that it uses no more: these are negative. */
export function countDeferred(statistics: Statistics, bytes: f64): void {
  statistics.deferred += bytes;
  noteCached(statistics);
}

/** Counts native memory that was got, or given back: its bytes are negative. */
export function countReserved(statistics: Statistics, bytes: f64): void {
  const reserved = statistics.reserved + bytes;
  statistics.reserved = reserved;
  statistics.reservedPeak = max(statistics.reservedPeak, reserved);
  statistics.reservedTotal += max(bytes, 0);
  noteCached(statistics);
}

/** Makes rooms below 0 new peaks. That leaves `cachedPeakRoom` too low, which the next look at it mends. */
function notePeaks(statistics: Statistics): void {
  statistics.allocatedPeak -= min(statistics.allocatedRoom, 0);
  statistics.allocatedRoom = max(statistics.allocatedRoom, 0);
  statistics.requestedPeak -= min(statistics.requestedRoom, 0);
  statistics.requestedRoom = max(statistics.requestedRoom, 0);
  statistics.blocksPeak -= min(statistics.blocksRoom, 0);
  statistics.blocksRoom = max(statistics.blocksRoom, 0);
}

/** Notes that more bytes may be active than ever. */
function noteActive(statistics: Statistics): void {
  const active = statistics.allocatedPeak - statistics.allocatedRoom + statistics.deferred;
  statistics.activePeak = max(statistics.activePeak, active);
}

/** Notes that more bytes may be cached than ever, and at what room they will be. */
function noteCached(statistics: Statistics): void {
  const unused = statistics.reserved - statistics.deferred - statistics.allocatedPeak;
  const peak = max(statistics.cachedPeak, unused + statistics.allocatedRoom);
  statistics.cachedPeak = peak;
  statistics.cachedPeakRoom = peak - unused;
}

@inline
function pairOf(bytes: f64, requestedBytes: f64): v128 {
  return f64x2.replace_lane(f64x2.splat(bytes), 1, requestedBytes);
}
