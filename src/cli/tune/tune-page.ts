import { SimulatedDevice } from '../../../adapters/devices/simulated.js';
import { formatBytes } from '../../core/units.js';
import { buildReport } from '../../report/build-report.js';
import { observeRun } from '../../report/observe-run.js';
import { renderPage } from '../../report/render-page.js';
import type { Fact, TuneData, TuneGoal } from '../../report/report-data.js';
import type { TraceEvents } from '../../trace/trace-events.js';
import { packageVersion } from '../version.js';
import { describeSettings } from './candidates.js';
import type { TrialOptions, TuneTrial } from './trial.js';

const RULES: Readonly<Record<TuneGoal, string>> = {
  reserved: 'the least peak of reserved memory of all settings that were tried',
  time: 'the least time of all settings that were tried',
  capacity: 'the least capacity of all settings that were tried',
};
/** More curves than that cannot be told apart. */
const MAX_RUNS = 8;

/** Makes the page of a search: the frontier, and the runs of the settings on it, the best one first. */
export function tunePage(
  events: TraceEvents,
  result: TuneData,
  how: { readonly trials: readonly TuneTrial[]; readonly options: TrialOptions },
): string {
  const { capacityBytes, nativeCallNs } = how.options;
  const done = how.trials.filter((trial) => trial.done);
  const shown = [...new Set([result.best, ...result.points.flatMap((point, place) => (point.frontier ? [place] : []))])].slice(
    0,
    MAX_RUNS,
  );
  const runs = shown.map((place) => {
    const { family, settings, nsPerEvent } = done[place]!;
    const device = new SimulatedDevice({ virtual: true, ...(capacityBytes === undefined ? {} : { capacityBytes }) });
    const name = `${family.manager}, ${describeSettings(settings)}`;
    return observeRun(events, { name, device, createManager: family.create(settings), nsPerEvent });
  });
  const settings: Fact[] = [
    { label: 'trace', value: events.file },
    { label: 'searched for', value: result.goal },
    { label: 'settings tried', value: String(how.trials.length) },
    { label: 'capacity', value: capacityBytes === undefined ? 'plenty' : formatBytes(capacityBytes) },
    { label: 'a native call is taken to cost', value: `${nativeCallNs / 1000} µs` },
    { label: 'made by', value: `stowage ${packageVersion()}, Node ${process.version}, ${process.platform}-${process.arch}` },
    { label: 'made at', value: new Date().toISOString() },
  ];
  return renderPage(buildReport(events, runs, { settings, tune: result, winner: { run: 0, rule: RULES[result.goal] } }));
}
