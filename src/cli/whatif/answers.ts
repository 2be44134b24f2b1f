import { formatBytes } from '../../core/units.js';
import type { TraceEvents } from '../../trace/trace-events.js';
import type { FoundSetting, Frame, WhatIfAnswer, WhatIfLimit, WhatIfResult } from '../../whatif/index.js';
import { type Column, count, grouped, jsonText, layOut } from '../text.js';

/** A limit, and the card that it is of; '' for the share of a process. */
export interface NamedLimit extends WhatIfLimit {
  readonly name: string;
}

const MAX_FRAMES = 12;
const US_PER_S = 1e6;

/** The answer for programs. */
export function answerJson(snapshot: string, { results }: WhatIfAnswer): string {
  return jsonText({ snapshot, results: results.map(shapedResult) });
}

function shapedResult(result: WhatIfResult): object {
  const { failure } = result;
  return {
    conf: result.conf,
    manager: result.manager,
    limitBytes: result.limitBytes,
    fits: result.fits,
    failure: failure && {
      event: failure.event,
      requestedBytes: failure.requestedBytes,
      timeUs: failure.timeUs,
      frames: failure.frames,
    },
    peakReservedBytes: result.peakReservedBytes,
    peakAllocatedBytes: result.peakAllocatedBytes,
    retries: result.retries,
    ooms: result.ooms,
    nativeAllocs: result.nativeAllocs,
    nativeFrees: result.nativeFrees,
    leastLimitBytes: result.leastLimitBytes,
  };
}

const COLUMNS: readonly Column[] = [
  { heading: 'setting', align: 'left' },
  { heading: 'limit', align: 'right' },
  { heading: 'fits', align: 'left' },
  { heading: 'least limit', align: 'right' },
  { heading: 'peak reserved', align: 'right' },
  { heading: 'peak allocated', align: 'right' },
  { heading: 'fragmented', align: 'right' },
  { heading: 'retries', align: 'right' },
  { heading: 'OOMs', align: 'right' },
  { heading: 'native calls', align: 'right' },
];

/** The answer for people: a line for each setting and limit, then where each of them fails, then what the figures do not say. */
export function answerText(
  events: TraceEvents,
  { results, notes }: WhatIfAnswer,
  limits: readonly NamedLimit[],
  out: NodeJS.WriteStream,
): string {
  const searches = limits.length === 0;
  const shown = COLUMNS.map((_, i) => i).filter((i) => searches || COLUMNS[i]!.heading !== 'least limit');
  const limitOf = (place: number) => limits[place % Math.max(1, limits.length)];
  const rows = results.map((result, place) => cells(result, limitOf(place)));
  const table = layOut(
    shown.map((i) => COLUMNS[i]!),
    rows.map((row) => shown.map((i) => row[i]!)),
    out,
  );
  const failures = results.flatMap((result, place) => failureLines(events, result, limitOf(place)));
  return `${[titleOf(events), '', ...table, ...block(failures), ...block(notes)].join('\n')}\n`;
}

function titleOf(events: TraceEvents): string {
  const conf = events.allocator?.conf;
  const recorded = conf === undefined ? '' : `, recorded under ${conf === '' ? 'the default setting' : conf}`;
  const what = `${count(events.length, 'event')}, ${count(events.allocations, 'allocation')}`;
  return `${events.name} (${events.format}): ${what}, peak live ${formatBytes(events.peakLiveBytes)}${recorded}`;
}

function cells(result: WhatIfResult, limit: NamedLimit | undefined): string[] {
  return [
    nameOf(result),
    limitText(limit),
    result.fits ? 'yes' : 'no',
    result.leastLimitBytes === null ? '' : formatBytes(result.leastLimitBytes),
    formatBytes(result.peakReservedBytes),
    formatBytes(result.peakAllocatedBytes),
    `${(100 * result.fragmentation).toFixed(1)} %`,
    grouped(result.retries),
    grouped(result.ooms),
    `${grouped(result.nativeAllocs)} + ${grouped(result.nativeFrees)}`,
  ];
}

function nameOf({ conf, manager }: WhatIfResult): string {
  if (conf === null) return manager;
  return conf === '' ? 'the default of PyTorch' : conf;
}

function limitText(limit: NamedLimit | undefined): string {
  if (limit === undefined) return 'none';
  return limit.name === '' ? formatBytes(limit.bytes) : `${limit.name}, ${formatBytes(limit.bytes)}`;
}

/** Where a setting fails: `the default, 6.47 GiB: fails at event 10,368 of 16,974 (61 %), after 3.204 s, …`, and the program's frames. */
function failureLines(events: TraceEvents, result: WhatIfResult, limit: NamedLimit | undefined): string[] {
  const { failure } = result;
  if (failure === null) return [];
  const { event, requestedBytes, timeUs, step, frames } = failure;
  const share = Math.floor((100 * event) / Math.max(1, events.length));
  const when = events.times === undefined ? '' : `, after ${(timeUs / US_PER_S).toFixed(3)} s`;
  const where = step === null ? '' : `, in ${step}`;
  const at = `event ${grouped(event)} of ${grouped(events.length)} (${share} %)${when}${where}`;
  const asked = `${formatBytes(requestedBytes)} are requested, ${formatBytes(result.peakReservedBytes)} were reserved at most`;
  return [`${nameOf(result)}, ${limitText(limit)}: fails at ${at}: ${asked}`, ...frameLines(frames)];
}

function frameLines(frames: readonly Frame[]): string[] {
  const lines = frames.slice(0, MAX_FRAMES).map(({ name, filename, line }) => `    ${name} (${filename}:${line})`);
  return frames.length > MAX_FRAMES ? [...lines, `    … ${count(frames.length - MAX_FRAMES, 'frame')} more`] : lines;
}

function block(lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', ...lines];
}

/** What a search found, for people: lines that can be pasted into the environment, the least memory first. */
export function searchText(
  events: TraceEvents,
  { closest, tried, fitting }: FoundSetting,
  { results, notes }: WhatIfAnswer,
  limit: NamedLimit | undefined,
  out: NodeJS.WriteStream,
): string {
  const where = limit === undefined ? '' : ` in ${limitText(limit)}`;
  const title = [titleOf(events), `${count(tried, 'setting')} tried, ${grouped(fitting)} of them fit${where}.`];
  if (results.length === 0) {
    const failure = closest === undefined ? [] : ['The one that came furthest:', ...failureLines(events, closest, limit)];
    return `${[...title, ...failure].join('\n')}\n`;
  }
  const isSearched = limit === undefined;
  const table = layOut(
    [
      { heading: 'peak reserved', align: 'right' },
      ...(isSearched ? [{ heading: 'least limit', align: 'right' as const }] : []),
      { heading: 'native calls', align: 'right' },
      { heading: 'setting', align: 'left' },
    ],
    results.map((result) => [
      formatBytes(result.peakReservedBytes),
      ...(isSearched ? [formatBytes(result.leastLimitBytes ?? 0)] : []),
      grouped(result.nativeAllocs + result.nativeFrees),
      `PYTORCH_ALLOC_CONF=${quoted(result.conf ?? '')}`,
    ]),
    out,
  );
  const rule = 'Those that no other one beats in memory and in native calls at once, the least memory first:';
  return `${[...title, rule, '', ...table, ...block(notes)].join('\n')}\n`;
}

/** A value for a shell. */
function quoted(conf: string): string {
  return /[^\w:,.]/.test(conf) || conf === '' ? `"${conf}"` : conf;
}
