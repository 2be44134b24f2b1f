import type { Command } from 'commander';
import { formatBytes } from '../core/units.js';
import { buildReport } from '../report/build-report.js';
import { type Cost, kneeOf } from '../report/knee.js';
import { observeRun } from '../report/observe-run.js';
import { renderPage } from '../report/render-page.js';
import type { Fact, TuneData, TuneGoal, TunePoint } from '../report/report-data.js';
import { type Trade, tradeOf } from '../report/trade.js';
import { NS_PER_US, type TraceEvents } from '../trace/trace-events.js';
import { loadTrace } from '../trace/trace-reader.js';
import { byName, type Flags, parseNumber, parseSize } from './arguments.js';
import { simulatedDevice } from './choices.js';
import { inputPath, messageStream, OutputFile } from './output-file.js';
import { createProgress } from './progress.js';
import { type Column, complain, count, jsonText, layOut, madeBy } from './text.js';
import { DEFAULTS, describeSettings, FAMILIES, type Family, type Settings } from './tune/candidates.js';
import { frontierOf, isBetter, search } from './tune/search.js';
import { type TrialOptions, type TuneTrial, timeTrials, tryOut } from './tune/trial.js';

/** What a search can be for. */
const GOAL_NAMES: readonly TuneGoal[] = ['reserved', 'time', 'capacity'];
const GOALS = new Map(GOAL_NAMES.map((goal) => [goal, goal]));
const DEFAULT_BUDGET = 150;

type TuneFlags = Flags<'for' | 'manager' | 'nativeCall' | 'budget', 'capacity' | 'report', 'json'>;

/** Adds what `stowage tune` takes. @param done - told at the end whether the run failed */
export function addTuneCommand(command: Command, done: (failed: boolean) => void): void {
  const names = FAMILIES.map(({ manager }) => manager).join(',');
  command
    .argument('<trace>', 'what stowage replay reads')
    .option(
      '--for <goal>',
      'reserved: least peak of reserved memory; time; capacity: least memory that the trace runs in',
      'reserved',
    )
    .option('-m, --manager <names>', 'managers to search, by commas', names)
    .option('-c, --capacity <size>', 'how much memory the device has, such as 512MiB')
    .option(
      '--native-call <us>',
      'what a native call is taken to cost, in microseconds: the simulated device answers at once',
      '10',
    )
    .option('--budget <n>', 'settings to try at most', String(DEFAULT_BUDGET))
    .option('--report <file>', 'write a page with the frontier, and with the runs of the settings on it')
    .option('--json', 'print JSON instead of a table')
    .addHelpText(
      'after',
      '\nThe last line is the code of the best settings. The knee is the setting with the least product\n' +
        'of memory and time.\n' +
        '\nJSON: { "version": 1, "goal", "best": <place>, "knee": <place>, "points": [{ manager, settings,\n' +
        'code, peakReservedBytes, nsPerEvent, nativeCalls, leastCapacityBytes, frontier }] }.\n' +
        '\nExamples:\n  stowage tune app.trace.gz --for reserved --report app.html\n  stowage tune app.trace.gz --for capacity --manager pool,caching',
    );
  command.action(async (path: string, flags: TuneFlags) => done(await tune(path, flags)));
}

/** @returns whether the run failed */
async function tune(path: string, flags: TuneFlags): Promise<boolean> {
  const goal = byName('--for', flags.for, GOALS);
  const byManager = new Map<string, Family>(FAMILIES.map((family) => [family.manager, family]));
  const families = flags.manager.split(',').map((name) => byName('--manager', name.trim(), byManager));
  const capacityBytes = flags.capacity === undefined ? undefined : parseSize('--capacity', flags.capacity);
  const time = { form: /^\d+(?:\.\d+)?$/, from: 0, to: Number.MAX_VALUE };
  const nativeCallUs = parseNumber('--native-call', flags.nativeCall, time, 'a number from 0 on');
  const budget = parseNumber(
    '--budget',
    flags.budget,
    { form: /^\d+$/, from: 1, to: Number.MAX_SAFE_INTEGER },
    'a positive integer',
  );
  const input = inputPath(path);
  using page = flags.report === undefined ? undefined : new OutputFile(flags.report, { input, isShown: true });
  const events = await loadTrace(input);
  const options: TrialOptions = { goal, capacityBytes, nativeCallNs: nativeCallUs * NS_PER_US };
  const trials = searched(events, families, budget, options);
  const complete = trials.filter((trial) => trial.done);
  if (complete.length === 0) {
    complain(`${path}: the trace comes to its end in this capacity under none of the settings (${trials.length} tried)`);
    return true;
  }
  const done = timed(events, complete, options);
  const result = tuneResult(goal, done);
  page?.write(tunePage(events, result, done, trials.length, options));
  page?.finish();
  const out = messageStream(page);
  const notes = flags.report === undefined ? [] : [`report    ${flags.report}`, ''];
  out.write(flags.json ? tuneJson(result, done) : tuneText(events, result, trials.length, notes, out));
  return false;
}

/** Tries settings of each family, at most so many. */
function searched(events: TraceEvents, families: readonly Family[], budget: number, options: TrialOptions): TuneTrial[] {
  using progress = createProgress('settings', 'settings');
  // Times lead this search: what runs first must not be slower for it.
  if (options.goal === 'time') for (const family of families) tryOut(events, family, {}, options);
  let tried = 0;
  const tryNext = (family: Family, settings: Settings) => {
    const trial = tryOut(events, family, settings, options);
    progress.report(++tried, Math.max(tried, budget));
    return trial;
  };
  return search(families, tryNext, budget);
}

/** Measures the complete trials once more, in turns. */
function timed(events: TraceEvents, complete: readonly TuneTrial[], options: TrialOptions): TuneTrial[] {
  using progress = createProgress('time', 'rounds');
  return timeTrials(events, complete, options, progress.report);
}

/** More curves cannot be distinguished. */
const MAX_RUNS = 8;

/** Makes the page of a search: the frontier, and the runs of the settings on it, the best one first and then the knee. */
function tunePage(
  events: TraceEvents,
  result: TuneData,
  done: readonly TuneTrial[],
  tried: number,
  { capacityBytes, nativeCallNs }: TrialOptions,
): string {
  const frontier = result.points.flatMap((point, place) => (point.frontier ? [place] : []));
  const { best, knee } = result;
  const { fastest } = tradeIn(result);
  const shown = [...new Set([best, knee, fastest, ...frontier])].slice(0, MAX_RUNS);
  const runs = shown.map((place) => {
    const { family, settings, nsPerEvent } = done[place]!;
    const name = `${family.manager}, ${describeSettings(settings)}`;
    const device = simulatedDevice(capacityBytes);
    return observeRun(events, { name, device, createManager: family.create(settings), nsPerEvent });
  });
  const settings: Fact[] = [
    { label: 'trace', value: events.file },
    { label: 'searched for', value: result.goal },
    { label: 'settings tried', value: String(tried) },
    { label: 'capacity', value: capacityBytes === undefined ? 'plenty' : formatBytes(capacityBytes) },
    { label: 'a native call is taken to cost', value: `${nativeCallNs / NS_PER_US} µs` },
    ...madeBy(),
  ];
  const winner = { run: 0, verdict: `${tradeText(result)}.`, knee: shown.indexOf(knee), fastest: shown.indexOf(fastest) };
  return renderPage(buildReport(events, runs, { settings, tune: result, winner }));
}

/** What the settings trade in memory and time. */
function tradeText(result: TuneData): string {
  return tradeIn(result).text;
}

function tradeIn({ goal, points }: TuneData): Trade {
  const costs = points.map((point) => ({
    name: point.settings === DEFAULTS ? point.manager : `${point.manager} (${point.settings})`,
    bytes: costOf(point)[0],
    nsPerEvent: point.nsPerEvent,
  }));
  return goal === 'capacity' ? tradeOf(costs, { verb: 'needs', noun: 'capacity' }) : tradeOf(costs);
}

function costOf(point: Pick<TunePoint, 'leastCapacityBytes' | 'peakReservedBytes' | 'nsPerEvent'>): Cost {
  return [point.leastCapacityBytes ?? point.peakReservedBytes, point.nsPerEvent];
}

/** Finds the best of the complete trials, their frontier, and the knee of that. */
export function tuneResult(goal: TuneGoal, done: readonly TuneTrial[]): TuneData {
  const costs = done.map(costOf);
  // More digits of a time are noise.
  const marks = frontierOf(costs.map(([bytes, ns]) => [bytes, Number(ns.toPrecision(2))]));
  const best = done.reduce((a, b, i) => (isBetter(b.score, done[a]!.score) ? i : a), 0);
  const points = done.map((trial, i) => ({
    manager: trial.family.manager,
    settings: describeSettings(trial.settings),
    code: trial.code,
    peakReservedBytes: trial.peakReservedBytes,
    nsPerEvent: trial.nsPerEvent,
    leastCapacityBytes: trial.leastCapacityBytes,
    frontier: marks[i] === true || i === best,
  }));
  return { goal, points, best, knee: kneeOf(costs) };
}

/** The result of a search for programs. */
function tuneJson(result: TuneData, done: readonly TuneTrial[]): string {
  return jsonText({
    goal: result.goal,
    best: result.best,
    knee: result.knee,
    points: result.points.map((point, i) => ({ ...point, nativeCalls: done[i]?.nativeCalls })),
  });
}

/** The result of a search for people: the frontier as a table, the knee, and the code of the best settings as the last line. */
function tuneText(
  events: TraceEvents,
  result: TuneData,
  tried: number,
  notes: readonly string[],
  out: NodeJS.WriteStream,
): string {
  const byCapacity = result.goal === 'capacity';
  const memoryOf = (point: TunePoint) => costOf(point)[0];
  const { points, best, knee } = result;
  const columns: Column[] = [
    { heading: 'manager', align: 'left' },
    { heading: byCapacity ? 'least capacity' : 'peak reserved', align: 'right' },
    { heading: 'ns an event', align: 'right' },
    { heading: 'settings', align: 'left' },
  ];
  const frontier = points
    .map((point, place) => ({ point, place }))
    .filter(({ point, place }) => point.frontier || place === knee)
    .sort((a, b) => memoryOf(a.point) - memoryOf(b.point));
  const table = layOut(
    columns,
    frontier.map(({ point, place }) => [
      `${place === best ? '*' : place === knee ? '+' : ' '} ${point.manager}`,
      formatBytes(memoryOf(point)),
      String(Math.round(point.nsPerEvent)),
      point.settings,
    ]),
    out,
  );
  const unfinished = tried - points.length;
  const verdict = best === knee ? ['The best is the knee, too:'] : [`The knee: ${points[knee]!.code}`, 'The best:'];
  const lines = [
    `${events.name}: ${count(tried, 'setting')} tried${unfinished === 0 ? '' : `, ${unfinished} of them ran out of memory`}; peak live ${formatBytes(events.peakLiveBytes)}`,
    'Those that no other one beats in memory and time at once (* is the best, + the knee: the least product of the two):',
    '',
    ...table,
    '',
    `${tradeText(result)}.`,
    '',
    ...notes,
    ...verdict,
    '',
    points[best]!.code,
  ];
  return `${lines.join('\n')}\n`;
}
