import { parseAllocConf } from '../../../managers/index.js';
import { formatBytes } from '../../core/units.js';
import type { TraceEvents } from '../../trace/trace-events.js';
import {
  CARDS,
  type FoundSetting,
  type Frame,
  type WhatIfAnswer,
  type WhatIfLimit,
  type WhatIfResult,
} from '../../whatif/index.js';
import { type Column, count, grouped, jsonText, layOut, printable } from '../text.js';

/** A limit, and the card that it is of; '' for the share of a process. */
export interface NamedLimit extends WhatIfLimit {
  readonly name: string;
}

const MAX_FRAMES = 12;
const SHOWN_CARDS = 3;
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
  const limitOf = (place: number) => limitInForce(results[place]!, limits[place % Math.max(1, limits.length)]);
  const rows = results.map((result, place) => cells(result, limitOf(place)));
  const table = layOut(
    shown.map((i) => COLUMNS[i]!),
    rows.map((row) => shown.map((i) => row[i]!)),
    out,
  );
  const failures = results.flatMap((result, place) => failureLines(events, result, limitOf(place)));
  const closing = [...contextLines(limits), ...(searches ? cardLines(results) : [])];
  return `${[titleOf(events), '', ...table, ...block(failures), ...block(notes), ...block(closing)].join('\n')}\n`;
}

/** The limit that a run was under: of a card the share that its setting takes, where it names one. */
export function limitInForce({ conf }: WhatIfResult, limit: NamedLimit | undefined): NamedLimit | undefined {
  const share = limit?.of === 'card' && conf !== null ? parseAllocConf(conf).settings.perProcessMemoryFraction : undefined;
  if (limit === undefined || share === undefined) return limit;
  return { ...limit, bytes: Math.floor(share * limit.bytes), name: `${share} of ${limit.name}` };
}

/** How much of each card was set aside for the context. */
function contextLines(limits: readonly NamedLimit[]): string[] {
  const names = new Set(limits.filter(({ of }) => of === 'card').map(({ name }) => name));
  const parts = [...names].map((name) => {
    const { totalBytes, usableBytes } = CARDS.get(name)!;
    return `${formatBytes(totalBytes - usableBytes)} of ${name}'s ${formatBytes(totalBytes)}`;
  });
  return parts.length === 0 ? [] : [`Set aside for the context and kernels, by an estimate: ${parts.join(', ')}.`];
}

/** The smallest cards that have enough for the result that needs the least, and what else can be asked. */
function cardLines(results: readonly WhatIfResult[]): string[] {
  const least = results
    .filter(({ leastLimitBytes }) => leastLimitBytes !== null)
    .sort((a, b) => a.leastLimitBytes! - b.leastLimitBytes!)[0];
  if (least === undefined) return [];
  const bytes = least.leastLimitBytes!;
  const cards = [...CARDS]
    .filter(([, { usableBytes }]) => usableBytes >= bytes)
    .sort((a, b) => a[1].usableBytes - b[1].usableBytes);
  const names = cards.slice(0, SHOWN_CARDS).map(([name, { usableBytes }]) => `${name} (${formatBytes(usableBytes)})`);
  const setting = results.length === 1 ? '' : `, under ${nameOf(least)}`;
  const smallest =
    names.length === 0 ? 'no known card has as much' : `the smallest known cards with as much are ${names.join(', ')}`;
  return [
    `${formatBytes(bytes)} beside the context are enough${setting}: ${smallest}.`,
    'Ask of a card with --card l4, of another amount with --limit 7GiB, and for a setting that needs less with --search.',
  ];
}

function titleOf(events: TraceEvents): string {
  const conf = events.allocator?.conf;
  const recorded = conf === undefined ? '' : `, recorded under ${conf === '' ? 'the default setting' : printable(conf)}`;
  const devices = new Set(events.devices).size;
  const where = devices > 1 ? ` on ${devices} devices` : '';
  const what = `${count(events.length, 'event')}, ${count(events.allocations, 'allocation')}${where}`;
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
  return conf === '' ? 'the default of PyTorch' : printable(conf);
}

function limitText(limit: NamedLimit | undefined): string {
  if (limit === undefined) return 'none';
  return limit.name === '' ? formatBytes(limit.bytes) : `${limit.name}, ${formatBytes(limit.bytes)}`;
}

/** Where a setting fails: `the default, 6.47 GiB: fails at event 10,368 of 16,974 (61 %), after 3.204 s, …`, and the program's frames. */
function failureLines(events: TraceEvents, result: WhatIfResult, limit: NamedLimit | undefined): string[] {
  const { failure } = result;
  if (failure === null) return [];
  const { event, requestedBytes, allocatedBytes, reservedBytes, timeUs, step, frames } = failure;
  const share = Math.floor((100 * event) / Math.max(1, events.length));
  const when = events.times === undefined ? '' : `, after ${(timeUs / US_PER_S).toFixed(3)} s`;
  const where = step === null ? '' : `, in ${printable(step)}`;
  const at = `event ${grouped(event)} of ${grouped(events.length)} (${share} %)${when}${where}`;
  const idle = formatBytes(Math.max(0, reservedBytes - allocatedBytes));
  const held = `${formatBytes(allocatedBytes)} are in use, and ${idle} are reserved but not in use`;
  return [
    `${nameOf(result)}, ${limitText(limit)}: fails at ${at}:`,
    `    ${formatBytes(requestedBytes)} are requested; ${held}`,
    ...frameLines(frames),
  ];
}

function frameLines(frames: readonly Frame[]): string[] {
  const lines = frames.slice(0, MAX_FRAMES).map(({ name, filename, line }) => printable(`    ${name} (${filename}:${line})`));
  return frames.length > MAX_FRAMES ? [...lines, `    … ${count(frames.length - MAX_FRAMES, 'frame')} more`] : lines;
}

function block(lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', ...lines];
}

/** How many settings a search tried, and how many of them fit. */
export function searchTotals({ tried, fitting }: FoundSetting): string {
  return `${count(tried, 'setting')} tried, ${grouped(fitting)} of them fit`;
}

/** What a search found, for people: lines that can be pasted into the environment, the least memory first. */
export function searchText(
  events: TraceEvents,
  found: FoundSetting,
  { results, notes }: WhatIfAnswer,
  limit: NamedLimit | undefined,
  out: NodeJS.WriteStream,
): string {
  const where = limit === undefined ? '' : ` in ${limitText(limit)}`;
  const title = [titleOf(events), `${searchTotals(found)}${where}.`];
  if (results.length === 0) {
    const { closest } = found;
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
  const older = results.some(({ conf }) => conf?.includes('large_segment_size_mb'))
    ? ['Older versions of PyTorch do not know large_segment_size_mb: they refuse it.']
    : [];
  const closing = [...notes, ...older, ...contextLines(limit === undefined ? [] : [limit])];
  return `${[...title, rule, '', ...table, ...block(closing)].join('\n')}\n`;
}

/** A value for a shell. */
function quoted(conf: string): string {
  return /[^\w:,.]/.test(conf) || conf === '' ? `"${conf}"` : conf;
}
