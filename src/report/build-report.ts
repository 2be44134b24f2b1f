import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import { SiteProfile } from '../trace/profile/site-profile.js';
import { NS_PER_MS, type TraceEvents } from '../trace/trace-events.js';
import { BlockLifetimes, isSeen, leakTable } from './block-lifetimes.js';
import { BucketCurve, curveX } from './bucket-curve.js';
import { ColumnPayload } from './column-payload.js';
import { HeaviestTexts } from './heaviest-texts.js';
import type { ObservedRun } from './observe-run.js';
import type { PageContent } from './render-page.js';
import type {
  BlockColumns,
  Clock,
  Fact,
  NamedMoment,
  ReportData,
  RunData,
  SegmentColumns,
  SiteStacks,
  TuneData,
  Winner,
} from './report-data.js';
import { rateStride } from './run-observer.js';
import type { SegmentHistory } from './segment-history.js';
import { siteStacks } from './site-stacks.js';
import { sizeClasses } from './size-classes.js';
import { factsOf } from './trace-facts.js';
import { type TradeRun, tradeOf } from './trade.js';

/** The parts of a report that are not observed. */
export interface ReportOptions {
  /** How the runs were made: device, capacity, limit and the like. */
  readonly settings?: readonly Fact[] | undefined;
  /** Which run is the best, and what it trades. @defaultValue the one with the least peak of reserved memory, see {@link pickWinner} */
  readonly winner?: Winner | undefined;
  /** A search for the best settings, whose frontier the page shows as well. @defaultValue none */
  readonly tune?: TuneData | undefined;
}

const OPTIONS: OptionNames<ReportOptions> = { settings: true, winner: true, tune: true };

/** Of how many sites and tags blocks are shown with their texts. */
const KEPT_TEXTS = 1000;
/** How many sites of each measure are shown one by one. */
const KEPT_SITES = 500;

/** A report's JSON, and the binary payload with its columns. */
export interface BuiltReport extends PageContent {
  readonly data: ReportData;
}

/** Builds a report from a trace and its observed replays. Cost: O(events), and O(blocks) a run. */
export function buildReport(trace: TraceEvents, runs: readonly ObservedRun[], options: ReportOptions = {}): BuiltReport {
  checkOptionNames('buildReport', options, OPTIONS);
  const payload = new ColumnPayload();
  const lifetimes = new BlockLifetimes(trace);
  const [live, peakMoment] = liveCurve(trace);
  const stride = lifetimes.chooseStride();
  const moments = namedMoments(peakMoment, runs);
  const places = moments.map(({ at }) => at);
  const rows = lifetimes.rowsAt(stride, places);
  const tags = new HeaviestTexts(KEPT_TEXTS, 'tags');
  const sites = new HeaviestTexts(KEPT_TEXTS, 'sites');
  for (const row of rows) {
    const event = lifetimes.born[row]! - 1;
    tags.add(trace.tagOf(event), lifetimes.bytes[row]!);
    sites.add(trace.siteOf(event), lifetimes.bytes[row]!);
  }
  const leaks = leakTable(trace, lifetimes, tags, sites);
  const data: ReportData = {
    version: 1,
    mode: 'replay',
    title: trace.name,
    facts: factsOf(trace),
    settings: options.settings ?? [],
    events: trace.length,
    stride,
    rateStride: rateStride(trace.length),
    moments,
    runs: runs.map((run) => runData(run, trace, rows, { stride, moments: [...places, trace.length], payload })),
    winner: options.winner ?? pickWinner(runs),
    curveX: payload.add(curveX(trace.length)),
    live: payload.add(live.points),
    clock: clockOf(trace, stride, payload),
    blocks: blockColumns(trace, lifetimes, rows, { tags, sites, payload }),
    tags: tags.texts,
    sites: sites.texts,
    sizes: sizeClasses(trace),
    leaks,
    stacks: stacksOf(trace),
    tune: options.tune ?? null,
  };
  return { data, payload: payload.toBase64() };
}

function stacksOf(trace: TraceEvents): SiteStacks | null {
  if (trace.sites === undefined) return null;
  const profile = new SiteProfile();
  profile.add(trace);
  const [live, allocated, peak] = [profile.amounts('live'), profile.amounts('allocated'), profile.amounts('peak')];
  return siteStacks({ live, allocated, peak }, KEPT_SITES);
}

function liveCurve(trace: TraceEvents): [curve: BucketCurve, peakMoment: number] {
  const curve = new BucketCurve(trace.length);
  let bytes = 0;
  let peak = 0;
  let peakMoment = 0;
  for (let event = 0; event < trace.length; event++) {
    if (trace.isAlloc(event)) bytes += trace.bytesOf(event);
    else if (trace.isFree(event)) bytes -= trace.bytesOf(event);
    if (bytes > peak) {
      peak = bytes;
      peakMoment = event + 1;
    }
    curve.add(event, bytes);
  }
  return [curve, peakMoment];
}

function namedMoments(peakLive: number, runs: readonly ObservedRun[]): NamedMoment[] {
  const peaks = runs.map((run) => ({ name: `peak reserved, ${run.name}`, at: run.observer.segments.peakMoment }));
  return [{ name: 'peak live', at: peakLive }, ...peaks];
}

function clockOf(trace: TraceEvents, stride: number, payload: ColumnPayload): Clock | null {
  const { times } = trace;
  if (times === undefined) return null;
  const marks = Math.floor(trace.length / stride) + 1;
  const atMark = new Float64Array(marks);
  for (let mark = 1; mark < marks; mark++) atMark[mark] = times[mark * stride - 1]! / NS_PER_MS;
  return { stride, times: payload.add(atMark) };
}

type NamedBlocks = Readonly<Record<'tags' | 'sites', HeaviestTexts>> & Pick<Seen, 'payload'>;

function blockColumns(
  trace: TraceEvents,
  lifetimes: BlockLifetimes,
  rows: Uint32Array,
  { tags, sites, payload }: NamedBlocks,
): BlockColumns {
  const eventOf = (row: number) => lifetimes.born[row]! - 1;
  const tagOf = (row: number) => tags.idOf(trace.tagOf(eventOf(row)));
  const siteOf = (row: number) => sites.idOf(trace.siteOf(eventOf(row)));
  return {
    born: payload.add(rows.map((row) => lifetimes.born[row]!)),
    died: payload.add(rows.map((row) => lifetimes.died[row]!)),
    bytes: payload.add(Float64Array.from(rows, (row) => lifetimes.bytes[row]!)),
    tag: trace.tags === undefined ? null : payload.add(rows.map(tagOf)),
    site: trace.sites === undefined ? null : payload.add(rows.map(siteOf)),
  };
}

/** The moments that the page shows, and where its columns are collected. */
interface Seen {
  readonly stride: number;
  readonly moments: readonly number[];
  readonly payload: ColumnPayload;
}

function runData(
  { name, device, failure, nsPerEvent, observer }: ObservedRun,
  trace: TraceEvents,
  rows: Uint32Array,
  seen: Seen,
): RunData {
  const { payload } = seen;
  const { peakReservedBytes } = observer.segments;
  return {
    name,
    device,
    failure: failure ?? null,
    events: observer.events,
    peakReservedBytes,
    utilisation: failure === undefined && peakReservedBytes > 0 ? trace.peakLiveBytes / peakReservedBytes : null,
    hitRate: observer.hitRate,
    nativeAllocs: observer.nativeAllocs,
    nativeFrees: observer.nativeFrees,
    nsPerEvent: nsPerEvent ?? null,
    reserved: payload.add(observer.reserved.points),
    cached: payload.add(observer.cached.points),
    nativeCalls: payload.add(observer.nativeCalls()),
    hits: payload.add(observer.hits()),
    fragmentation: payload.add(Float64Array.from(observer.fragmentation)),
    fragmentationX: payload.add(Float64Array.from(observer.fragmentationX)),
    address: payload.add(Float64Array.from(rows, (row) => observer.addresses[row]!)),
    padding: payload.add(rows.map((row) => observer.padding[row]!)),
    segments: segmentColumns(observer.segments, seen),
  };
}

function segmentColumns(history: SegmentHistory, { stride, moments, payload }: Seen): SegmentColumns {
  const rows = [...history.start.keys()].filter((row) => isSeen(history.born[row]!, history.died[row]!, stride, moments));
  const pick = (values: readonly number[]) => rows.map((row) => values[row]!);
  return {
    start: payload.add(Float64Array.from(pick(history.start))),
    bytes: payload.add(Float64Array.from(pick(history.bytes))),
    born: payload.add(Uint32Array.from(pick(history.born))),
    died: payload.add(Uint32Array.from(pick(history.died))),
    paged: payload.add(Uint16Array.from(rows, (row) => (history.paged[row] ? 1 : 0))),
  };
}

/**
 * Says what the runs that came to their end trade: the one with the least reserved memory at its peak (of runs within 1 % of it the one with
 * the fewest native calls) against the fastest one, where times are known, else against the one with the fewest native calls. Null when
 * there is nothing to choose from.
 */
export function pickWinner(runs: readonly ObservedRun[]): Winner | null {
  const done = runs.flatMap((run, place) => (run.failure === undefined ? [place] : []));
  if (runs.length < 2 || done.length === 0) return null;
  const costs = done.map((place) => costOf(runs[place]!));
  const { least, fastest, text } = tradeOf(costs);
  const among = done.length < runs.length ? 'Of the runs that came to their end, ' : '';
  const isTimed = costs[fastest]?.nsPerEvent !== undefined;
  return { run: done[least]!, verdict: `${among}${text}.`, ...(isTimed ? { fastest: done[fastest] } : {}) };
}

function costOf({ name, observer, nsPerEvent }: ObservedRun): TradeRun {
  const { segments, nativeAllocs, nativeFrees } = observer;
  return { name, bytes: segments.peakReservedBytes, nsPerEvent, nativeCalls: nativeAllocs + nativeFrees };
}
