import { formatBytes } from '../../core/units.js';
import type { TuneData, TuneGoal } from '../../report/report-data.js';
import type { TraceEvents } from '../../trace/trace-events.js';
import { type Column, layOut } from '../table.js';
import { describeSettings } from './candidates.js';
import { frontierOf } from './frontier.js';
import { isBetter } from './search.js';
import type { TuneTrial } from './trial.js';

const BOLD = '\u001b[1m';
const PLAIN = '\u001b[22m';

/** Finds the best of the trials that came to their end, and their frontier; undefined when there is none. */
export function tuneResult(goal: TuneGoal, trials: readonly TuneTrial[]): TuneData | undefined {
  const done = trials.filter((trial) => trial.done);
  if (done.length === 0) return undefined;
  const marks = frontierOf(done.map((trial) => [trial.leastCapacityBytes ?? trial.peakReservedBytes, trial.nsPerEvent]));
  const best = done.reduce((a, b, i) => (isBetter(b.score, done[a]!.score) ? i : a), 0);
  const points = done.map((trial, i) => ({
    manager: trial.family.manager,
    settings: describeSettings(trial.settings),
    code: trial.code,
    peakReservedBytes: trial.peakReservedBytes,
    nsPerEvent: trial.nsPerEvent,
    leastCapacityBytes: trial.leastCapacityBytes,
    frontier: marks[i] === true,
  }));
  return { goal, points, best };
}

/** Writes what a search found for programs: version 1 of the shape that docs describe. */
export function tuneJson(result: TuneData, trials: readonly TuneTrial[]): string {
  const calls = trials.filter((trial) => trial.done).map((trial) => trial.nativeCalls);
  const points = result.points.map((point, i) => ({ ...point, nativeCalls: calls[i] }));
  return `${JSON.stringify({ version: 1, goal: result.goal, best: result.best, points }, null, 2)}\n`;
}

/** Writes what a search found for people: the frontier as a table, and the code of the best settings as the last line. */
export function tuneText(
  events: TraceEvents,
  result: TuneData,
  how: { readonly trials: readonly TuneTrial[]; readonly report: string | undefined; readonly styled: boolean },
): string {
  const byCapacity = result.goal === 'capacity';
  const memoryOf = (point: TuneData['points'][number]) => point.leastCapacityBytes ?? point.peakReservedBytes;
  const columns: Column[] = [
    { heading: 'manager', align: 'left' },
    { heading: byCapacity ? 'least capacity' : 'peak reserved', align: 'right' },
    { heading: 'ns an event', align: 'right' },
    { heading: 'settings', align: 'left' },
  ];
  const frontier = result.points
    .map((point, place) => ({ point, place }))
    .filter(({ point, place }) => point.frontier || place === result.best)
    .sort((a, b) => memoryOf(a.point) - memoryOf(b.point));
  const [heading = '', ...rows] = layOut(
    columns,
    frontier.map(({ point, place }) => [
      place === result.best ? `* ${point.manager}` : `  ${point.manager}`,
      formatBytes(memoryOf(point)),
      String(Math.round(point.nsPerEvent)),
      point.settings,
    ]),
  );
  const unfinished = how.trials.length - result.points.length;
  const lines = [
    `${events.name}: ${how.trials.length} settings tried${unfinished === 0 ? '' : `, ${unfinished} of them ran out of memory`}; peak live ${formatBytes(events.peakLiveBytes)}`,
    'Those that no other one beats in memory and time at once (* is the best):',
    '',
    how.styled ? `${BOLD}${heading}${PLAIN}` : heading,
    ...rows,
    '',
    ...(how.report === undefined ? [] : [`report    ${how.report}`, '']),
    result.points[result.best]!.code,
  ];
  return `${lines.join('\n')}\n`;
}
