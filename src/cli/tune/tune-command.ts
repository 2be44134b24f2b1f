import type { Command } from 'commander';
import type { TuneGoal } from '../../report/report-data.js';
import { loadTrace } from '../../trace/trace-reader.js';
import { complain } from '../complain.js';
import { PageFile } from '../page-file.js';
import { createProgress } from '../progress.js';
import { parseSize } from '../size.js';
import { byName } from '../suggest.js';
import { FAMILIES, type Family } from './candidates.js';
import { search } from './search.js';
import { type TrialOptions, tryOut } from './trial.js';
import { tunePage } from './tune-page.js';
import { tuneJson, tuneResult, tuneText } from './tune-report.js';

const GOALS: ReadonlyMap<string, TuneGoal> = new Map<string, TuneGoal>([
  ['reserved', 'reserved'],
  ['time', 'time'],
  ['capacity', 'capacity'],
]);
const DEFAULT_BUDGET = 150;
const NS_PER_US = 1000;

interface TuneFlags {
  readonly for: string;
  readonly manager: string;
  readonly capacity?: string;
  readonly nativeCall: string;
  readonly budget: string;
  readonly report?: string;
  readonly json?: true;
}

/** Adds `stowage tune`. @param done - told at the end whether the run failed */
export function addTuneCommand(program: Command, done: (failed: boolean) => void): void {
  const names = FAMILIES.map(({ manager }) => manager).join(',');
  const command = program
    .command('tune')
    .description('Search managers and their settings for the least memory or time that a trace needs, on the simulated device.')
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
      '\nThe last line is the code of the best settings. JSON: { "version": 1, "goal", "best": <place>, "points": [{ manager, code,\n' +
        'peakReservedBytes, nsPerEvent, nativeCalls, leastCapacityBytes, frontier }] }.\n' +
        '\nExamples:\n  stowage tune app.trace.gz --for reserved --report app.html\n  stowage tune app.trace.gz --for capacity --manager pool,caching',
    );
  command.action(async (path: string, flags: TuneFlags) => done(await tune(command, path, flags)));
}

/** @returns whether the run failed */
async function tune(command: Command, path: string, flags: TuneFlags): Promise<boolean> {
  const goal = byName('--for', flags.for, GOALS);
  const byManager = new Map<string, Family>(FAMILIES.map((family) => [family.manager, family]));
  const families = flags.manager.split(',').map((name) => byName('--manager', name.trim(), byManager));
  const capacityBytes = flags.capacity === undefined ? undefined : parseSize('--capacity', flags.capacity);
  const nativeCallUs = /^\d+(?:\.\d+)?$/.test(flags.nativeCall) ? Number(flags.nativeCall) : Number.NaN;
  if (!Number.isFinite(nativeCallUs)) command.error(`--native-call is "${flags.nativeCall}", but must be a number from 0 on`);
  const budget = /^\d+$/.test(flags.budget) ? Number(flags.budget) : 0;
  if (!(Number.isSafeInteger(budget) && budget > 0))
    command.error(`--budget is "${flags.budget}", but must be a positive integer`);
  using page = flags.report === undefined ? undefined : new PageFile(flags.report, path);
  const events = await loadTrace(path);
  const options: TrialOptions = { goal, capacityBytes, nativeCallNs: nativeCallUs * NS_PER_US };
  const progress = createProgress('settings', 'settings');
  let tried = 0;
  let trials: ReturnType<typeof tryOut>[];
  try {
    trials = search(
      families,
      (family, settings) => {
        const trial = tryOut(events, family, settings, options);
        progress.report(++tried, Math.max(tried, budget));
        return trial;
      },
      budget,
    );
  } finally {
    progress.stop();
  }
  const result = tuneResult(goal, trials);
  if (result === undefined) {
    complain(`${path}: under none of ${trials.length} settings does the trace come to its end in this capacity`);
    return true;
  }
  page?.write(tunePage(events, result, { trials, options }));
  const styled = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
  process.stdout.write(
    flags.json ? tuneJson(result, trials) : tuneText(events, result, { trials, report: flags.report, styled }),
  );
  return false;
}
