import type { Command } from 'commander';
import { parseAllocConf } from '../../managers/index.js';
import { formatBytes } from '../core/units.js';
import { buildWhatIf } from '../report/build-whatif.js';
import { renderPage } from '../report/render-page.js';
import type { Fact } from '../report/report-data.js';
import { MAX_DEVICES, type TraceEvents } from '../trace/trace-events.js';
import { loadTrace } from '../trace/trace-reader.js';
import {
  CARDS,
  type FoundSetting,
  searchSettings,
  type WhatIfAnswer,
  type WhatIfLimit,
  type WhatIfSetting,
  whatIf,
} from '../whatif/index.js';
import { byName, parseNumber, parseSize } from './arguments.js';
import { MANAGERS } from './choices.js';
import { inputPath, messageStream, OutputFile } from './output-file.js';
import { createProgress, withProgress } from './progress.js';
import { complain, complainOfGaps, madeBy } from './text.js';
import { answerJson, answerText, limitInForce, type NamedLimit, searchText, searchTotals } from './whatif/answers.js';

/** Points of a curve on the page. */
const CURVE_POINTS = 1000;

const A_DEVICE = { form: /^\d{1,4}$/, from: 0, to: MAX_DEVICES - 1 };

interface WhatIfFlags {
  readonly conf?: readonly string[];
  readonly manager?: string;
  readonly limit?: readonly string[];
  readonly card?: readonly string[];
  readonly device?: string;
  readonly search?: true;
  readonly report?: string;
  readonly json?: true;
}

/** Adds what `stowage whatif` takes. @param done - told at the end whether the run failed */
export function addWhatIfCommand(command: Command, done: (failed: boolean) => void): void {
  const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];
  const collectConf = (value: string, before?: readonly string[]): string[] => collect(bareConf(value), before);
  command
    .argument(
      '<snapshot>',
      "PyTorch's memory snapshot (torch.cuda.memory._dump_snapshot), or any trace that stowage replay reads",
    )
    .option('--conf <text>', "a PYTORCH_ALLOC_CONF to try; can be repeated (default: the recording's own)", collectConf)
    .option('-m, --manager <names>', `other managers, by commas: ${otherManagers().join(', ')}`)
    .option('--limit <size>', 'what the process may reserve, such as 24GiB; can be repeated', collect)
    .option('--card <names>', `what cards have beside the context, by commas: ${[...CARDS.keys()].join(', ')}`, collect)
    .option('--device <number>', 'the device whose requests are run (default: the one with the most)')
    .option('--search', 'try many settings, and print those that no other one beats')
    .option('--report <file>', 'write a page with the curves of all settings over one another')
    .option('--json', 'print JSON instead of a table')
    .addHelpText(
      'after',
      '\nWithout --limit and --card there is no limit, and the least one that fits is searched.\n' +
        'A card has less than its name says: the context and the kernels take 0.8 to 1.4 GiB of it (an\n' +
        'estimate), which the output names.\n' +
        'Exit code: 0 whether it fits or not (the answer is in the output), 2 for a bad file or argument.\n' +
        'JSON: { "version": 1, "snapshot", "results": [{ conf, manager, limitBytes, fits, failure,\n' +
        'peakReservedBytes, peakAllocatedBytes, retries, ooms, nativeAllocs, nativeFrees, leastLimitBytes\n' +
        '}] }; failure: null or { event, requestedBytes, timeUs, frames }.\n' +
        '\nExamples:\n  stowage whatif snapshot.pickle\n' +
        '  stowage whatif snapshot.pickle --conf expandable_segments:True --limit 24GiB\n' +
        '  stowage whatif snapshot.pickle --card rtx4090,l4\n' +
        '  stowage whatif snapshot.pickle --card l4 --search\n' +
        '  stowage whatif snapshot.pickle --manager pool,tlsf --report whatif.html',
    );
  command.action(async (path: string, flags: WhatIfFlags) => done(await runWhatIf(command, path, flags)));
}

/** @returns whether the run failed */
async function runWhatIf(command: Command, path: string, flags: WhatIfFlags): Promise<boolean> {
  const { conf: confs = [], limit = [], card = [] } = flags;
  // Every fault of the arguments is found before anything is read.
  for (const conf of confs) parseAllocConf(conf);
  const managers = (flags.manager?.split(',') ?? []).map(readManager);
  const limits = [...limit.map(readLimit), ...card.flatMap((names) => names.split(',')).map(readCard)];
  if (flags.search && (confs.length > 0 || managers.length > 0)) {
    command.error('--search tries settings of its own, of PyTorch alone: leave --conf and --manager out');
  }
  if (flags.search && limits.length > 1) {
    command.error('--search takes one limit or one card, since the best settings differ from one to the next');
  }
  const device = flags.device === undefined ? undefined : parseNumber('--device', flags.device, A_DEVICE, 'a number from 0');
  const input = inputPath(path);
  using page = flags.report === undefined ? undefined : new OutputFile(flags.report, { input, isShown: true });
  const events = await withProgress('reading', (shown) => loadTrace(input, shown));
  complainOfGaps(path, events.cutOff, events.unknownFrees);
  const found = flags.search ? searched(events, limits[0], device) : undefined;
  const settings: WhatIfSetting[] =
    found === undefined ? [...settingsOf(confs, managers, events)] : found.frontier.map(({ conf }) => ({ conf: conf ?? '' }));
  const hasExtra = found !== undefined && page !== undefined && !settings.some(({ conf }) => conf === '');
  // A page of what was found has the default beside it, for comparison.
  const shown = answered(events, hasExtra ? [{ conf: '' }, ...settings] : settings, limits, page !== undefined, device);
  const answer = hasExtra ? { ...shown, results: shown.results.slice(1) } : shown;
  page?.write(whatIfPage(events, shown, limits, found));
  page?.finish();
  const out = messageStream(page);
  if (flags.json) out.write(answerJson(path, answer));
  else if (found === undefined) out.write(answerText(events, answer, limits, out));
  else out.write(searchText(events, found, answer, limits[0], out));
  if (!flags.json && page !== undefined) out.write(`report    ${page.path}\n`);
  if (flags.json) for (const note of answer.notes) complain(`${path}: ${note}`);
  return false;
}

/** The settings that are asked for; PyTorch's allocator as it was recorded, where no other configuration is named. */
function settingsOf(confs: readonly string[], managers: readonly WhatIfSetting[], { allocator }: TraceEvents): WhatIfSetting[] {
  const asked = confs.length > 0 ? confs : [knownConf(allocator?.conf)];
  const others = managers.filter(({ createManager, conf = '' }) => createManager !== undefined || !asked.includes(conf));
  return [...asked.map((conf) => ({ conf })), ...others];
}

/** The recorded configuration; an empty one where it is not known, or names what this version does not know. */
function knownConf(conf = ''): string {
  try {
    parseAllocConf(conf);
    return conf;
  } catch (error) {
    complain(`the recorded PYTORCH_ALLOC_CONF is not known, and the default takes its place: ${(error as Error).message}`);
    return '';
  }
}

function otherManagers(): string[] {
  return [...MANAGERS.keys()].filter((name) => name !== 'pytorch');
}

function readManager(text: string): WhatIfSetting {
  const manager = text.trim();
  const createManager = byName('--manager', manager, MANAGERS);
  return manager === 'pytorch' ? { conf: '' } : { manager, createManager };
}

/** A configuration without the name of the variable: as a search prints it, and as a shell takes it. */
function bareConf(text: string): string {
  const [, value] = /^\s*PYTORCH_(?:CUDA_|HIP_)?ALLOC_CONF=(.*)$/s.exec(text) ?? [];
  return value === undefined ? text : value.replace(/^(["'])(.*)\1\s*$/s, '$2');
}

function readLimit(text: string): NamedLimit {
  return { bytes: parseSize('--limit', text), of: 'process', name: '' };
}

function readCard(text: string): NamedLimit {
  const name = text.trim();
  return { bytes: byName('--card', name, CARDS).usableBytes, of: 'card', name };
}

function searched(events: TraceEvents, limit: WhatIfLimit | undefined, device: number | undefined) {
  using progress = createProgress('settings', 'settings');
  return searchSettings(events, { limit: bare(limit), device, onProgress: progress.report });
}

function answered(
  events: TraceEvents,
  settings: readonly WhatIfSetting[],
  limits: readonly WhatIfLimit[],
  hasCurves: boolean,
  device: number | undefined,
): WhatIfAnswer {
  using progress = createProgress('what if');
  const curvePoints = hasCurves ? CURVE_POINTS : 0;
  const options = { limits: limits.map((limit) => bare(limit)!), curvePoints, device, onProgress: progress.report };
  return whatIf(events, settings, options);
}

function bare(limit: WhatIfLimit | undefined): WhatIfLimit | undefined {
  return limit && { bytes: limit.bytes, of: limit.of };
}

function whatIfPage(
  events: TraceEvents,
  { results, notes }: WhatIfAnswer,
  limits: readonly NamedLimit[],
  found: FoundSetting | undefined,
): string {
  const recorded = events.allocator?.conf;
  const settings: Fact[] = [
    { label: 'snapshot', value: events.file },
    ...(recorded === undefined ? [] : [{ label: 'recorded under', value: recorded === '' ? 'the default setting' : recorded }]),
    ...limits.map(({ name, bytes }) => ({ label: name === '' ? 'limit of the process' : name, value: formatBytes(bytes) })),
    ...madeBy(),
  ];
  // Each setting was run under all limits in their order.
  const named = results.map((result, place) => {
    const limit = limitInForce(result, limits[place % limits.length]);
    return { ...result, limitBytes: limit?.bytes ?? null, limitName: limit?.name };
  });
  const search = found === undefined ? [] : [`${searchTotals(found)}. Shown are the default and those that no other one beats.`];
  return renderPage(buildWhatIf(events, named, { settings, notes: [...search, ...notes] }));
}
