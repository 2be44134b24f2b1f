import type { Command } from 'commander';
import { parseAllocConf } from '../../managers/index.js';
import { formatBytes } from '../core/units.js';
import { buildWhatIf } from '../report/build-whatif.js';
import { renderPage } from '../report/render-page.js';
import type { Fact } from '../report/report-data.js';
import type { TraceEvents } from '../trace/trace-events.js';
import { loadTrace } from '../trace/trace-reader.js';
import { CARDS, searchSettings, type WhatIfAnswer, type WhatIfLimit, type WhatIfSetting, whatIf } from '../whatif/index.js';
import { byName, parseSize } from './arguments.js';
import { MANAGERS } from './choices.js';
import { inputPath, messageStream, OutputFile } from './output-file.js';
import { createProgress, withProgress } from './progress.js';
import { complain, complainOfGaps, madeBy } from './text.js';
import { answerJson, answerText, type NamedLimit, searchText } from './whatif/answers.js';

/** Points of a curve on the page. */
const CURVE_POINTS = 1000;

interface WhatIfFlags {
  readonly conf?: readonly string[];
  readonly manager?: string;
  readonly limit?: readonly string[];
  readonly card?: readonly string[];
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
    .option('--conf <text>', "a PYTORCH_ALLOC_CONF to try; can be repeated. By default the recording's own", collectConf)
    .option('-m, --manager <names>', `other managers, by commas: ${otherManagers().join(', ')}`)
    .option('--limit <size>', 'what the process may reserve, such as 24GiB; can be repeated', collect)
    .option('--card <names>', `all that cards have, by commas: ${[...CARDS.keys()].join(', ')}`, collect)
    .option('--search', 'try many settings, and print those that no other one beats')
    .option('--report <file>', 'write a page with the curves of all settings over one another')
    .option('--json', 'print JSON instead of a table')
    .addHelpText(
      'after',
      '\nWithout --limit and --card there is no limit, and the least one that fits is searched.\n' +
        'JSON: { "version": 1, "snapshot", "results": [{ conf, manager, limitBytes, fits, failure, peakReservedBytes, peakAllocatedBytes,\n' +
        'retries, ooms, nativeAllocs, nativeFrees, leastLimitBytes }] }; failure: null or { event, requestedBytes, timeUs, frames }.\n' +
        '\nExamples:\n  stowage whatif snapshot.pickle\n' +
        '  stowage whatif snapshot.pickle --conf expandable_segments:True --conf max_split_size_mb:128 --limit 24GiB\n' +
        '  stowage whatif snapshot.pickle --card rtx4090,l4 --search\n' +
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
    command.error('--search tries settings of its own: leave --conf and --manager out');
  }
  if (flags.search && limits.length > 1) command.error('--search takes one limit or one card');
  const input = inputPath(path);
  using page = flags.report === undefined ? undefined : new OutputFile(flags.report, { input });
  const events = await withProgress('reading', (shown) => loadTrace(input, shown));
  complainOfGaps(path, events.cutOff, events.unknownFrees);
  const found = flags.search ? searched(events, limits[0]) : undefined;
  const settings: WhatIfSetting[] =
    found === undefined ? [...settingsOf(confs, managers, events)] : found.frontier.map(({ conf }) => ({ conf: conf ?? '' }));
  const answer = answered(events, settings, limits, page !== undefined);
  page?.write(whatIfPage(events, answer, limits));
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
  return [...asked.map((conf) => ({ conf })), ...managers];
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

function searched(events: TraceEvents, limit: WhatIfLimit | undefined) {
  using progress = createProgress('settings', 'settings');
  return searchSettings(events, { limit: bare(limit), onProgress: progress.report });
}

function answered(
  events: TraceEvents,
  settings: readonly WhatIfSetting[],
  limits: readonly WhatIfLimit[],
  hasCurves: boolean,
): WhatIfAnswer {
  using progress = createProgress('what if');
  const curvePoints = hasCurves ? CURVE_POINTS : 0;
  const options = { limits: limits.map((limit) => bare(limit)!), curvePoints, onProgress: progress.report };
  return whatIf(events, settings, options);
}

function bare(limit: WhatIfLimit | undefined): WhatIfLimit | undefined {
  return limit && { bytes: limit.bytes, of: limit.of };
}

function whatIfPage(events: TraceEvents, { results, notes }: WhatIfAnswer, limits: readonly NamedLimit[]): string {
  const recorded = events.allocator?.conf;
  const settings: Fact[] = [
    { label: 'snapshot', value: events.file },
    ...(recorded === undefined ? [] : [{ label: 'recorded under', value: recorded === '' ? 'the default setting' : recorded }]),
    ...limits.map(({ name, bytes }) => ({ label: name === '' ? 'limit of the process' : name, value: formatBytes(bytes) })),
    ...madeBy(),
  ];
  // Each setting was run under all limits in their order.
  const named = results.map((result, place) => ({ ...result, limitName: limits[place % limits.length]?.name }));
  return renderPage(buildWhatIf(events, named, { settings, notes }));
}
