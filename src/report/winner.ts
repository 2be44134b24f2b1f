import { formatBytes } from '../core/units.js';
import type { ObservedRun } from './observe-run.js';
import type { Winner } from './report-data.js';

/** Peaks that differ by less count as equal. */
const TIE = 0.01;

/**
 * Picks the run that needed the least reserved memory at its peak, among those that came to their end; of runs within
 * 1 % of it the one with the fewest native calls. Null when there is nothing to choose from.
 */
export function pickWinner(runs: readonly ObservedRun[]): Winner | null {
  const done = runs.map((run, place) => ({ run, place })).filter(({ run }) => run.failure === undefined);
  if (runs.length < 2 || done.length === 0) return null;
  const peakOf = ({ run }: (typeof done)[number]) => run.observer.segments.peakReservedBytes;
  const callsOf = ({ run }: (typeof done)[number]) => run.observer.nativeAllocs + run.observer.nativeFrees;
  const least = Math.min(...done.map(peakOf));
  const tied = done.filter((candidate) => peakOf(candidate) <= least * (1 + TIE));
  const best = tied.reduce((a, b) => (callsOf(b) < callsOf(a) ? b : a));
  const among = done.length < runs.length ? ' among the runs that came to their end' : '';
  const rule =
    tied.length === 1
      ? `least memory reserved at the peak${among}: ${formatBytes(peakOf(best))}`
      : `fewest native calls of the ${tied.length} whose peak of reserved memory is within 1 % of the least${among}`;
  return { run: best.place, rule };
}
