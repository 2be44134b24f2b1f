import { formatBytes } from '../core/units.js';
import { kneeOf } from './knee.js';

/** What one run, or setting, needs. */
export interface TradeRun {
  readonly name: string;
  /** The memory that it needs: its peak, or the least capacity. */
  readonly bytes: number;
  /** Undefined where it was not measured. */
  readonly nsPerEvent?: number | undefined;
  /** Undefined where they were not counted. */
  readonly nativeCalls?: number | undefined;
}

/** Which runs are the best in one respect, by their places, and what choosing one of them costs. */
export interface Trade {
  /** The least memory; of runs within 1 % of it the one with the fewest native calls. */
  readonly least: number;
  /** The fastest; where no time is known, the one with the fewest native calls. */
  readonly fastest: number;
  /** One or two sentences without a full stop at the end. */
  readonly text: string;
}

/** The words for memory: `holds … memory at its peak`. */
export interface MemoryWords {
  readonly verb: string;
  readonly noun: string;
}

/** Peaks that differ by less count as equal. */
const TIE = 0.01;
/** Times that differ by less are noise. */
const NOISE = 0.05;
const PEAK: MemoryWords = { verb: 'holds', noun: 'memory at its peak' };

/**
 * Says what the runs trade: which one holds the least memory, which one is the fastest, and by how much each beats the other. No run
 * wins by one number alone. Cost: O(n^2) comparisons.
 *
 * @param runs - one at least
 */
export function tradeOf(runs: readonly TradeRun[], words: MemoryWords = PEAK): Trade {
  const least = leastMemory(runs);
  const timed = runs.flatMap(({ nsPerEvent }, place) => (nsPerEvent === undefined ? [] : [place]));
  const isTimed = timed.length > 0;
  const costOf = (place: number) => (isTimed ? runs[place]!.nsPerEvent : runs[place]!.nativeCalls) ?? Number.POSITIVE_INFINITY;
  const fastest = fastestOf(isTimed ? timed : [...runs.keys()], least, costOf, runs);
  const [a, b] = [runs[least]!, runs[fastest]!];
  const text = least === fastest ? best(runs, least, isTimed, words) : pair(a, b, isTimed, words);
  const middle = middleOf(runs, least, fastest, costOf);
  return { least, fastest, text: middle === undefined ? text : `${text}. ${between(runs[middle]!, a, b, isTimed)}` };
}

function leastMemory(runs: readonly TradeRun[]): number {
  const least = Math.min(...runs.map(({ bytes }) => bytes));
  const callsOf = (place: number) => runs[place]!.nativeCalls ?? Number.POSITIVE_INFINITY;
  const tied = [...runs.keys()].filter((place) => runs[place]!.bytes <= least * (1 + TIE));
  return tied.reduce((a, b) => (callsOf(b) < callsOf(a) ? b : a));
}

/** The one that costs the least; of those that cost as much, the one with the least memory. */
function fastestOf(
  places: readonly number[],
  least: number,
  costOf: (place: number) => number,
  runs: readonly TradeRun[],
): number {
  const most = Math.min(...places.map(costOf)) * (1 + NOISE);
  const tied = places.filter((place) => costOf(place) <= most);
  return tied.includes(least) ? least : tied.reduce((a, b) => (runs[b]!.bytes < runs[a]!.bytes ? b : a));
}

/** A run between the two that nobody beats in both respects: of several the one with the least product. */
function middleOf(
  runs: readonly TradeRun[],
  least: number,
  fastest: number,
  costOf: (place: number) => number,
): number | undefined {
  if (least === fastest) return undefined;
  const bytesOf = (place: number) => runs[place]!.bytes;
  const isBetween = (place: number) =>
    bytesOf(place) > bytesOf(least) * (1 + TIE) &&
    bytesOf(place) * (1 + TIE) < bytesOf(fastest) &&
    costOf(place) * (1 + NOISE) < costOf(least) &&
    costOf(place) > costOf(fastest) * (1 + NOISE);
  const inside = [...runs.keys()].filter(isBetween);
  return inside[kneeOf(inside.map((place) => [bytesOf(place), costOf(place)]))];
}

function best(runs: readonly TradeRun[], place: number, isTimed: boolean, { verb, noun }: MemoryWords): string {
  const { name, bytes, nsPerEvent, nativeCalls } = runs[place]!;
  const least = `${name} ${verb} the least ${noun}, ${formatBytes(bytes)}`;
  if (runs.length === 1) return least;
  if (isTimed) return `${least}, and no other is faster: ${time(nsPerEvent)}`;
  return nativeCalls === undefined ? least : `${least}, and no other makes fewer native calls: ${count(nativeCalls)}`;
}

function pair(a: TradeRun, b: TradeRun, isTimed: boolean, { verb, noun }: MemoryWords): string {
  const same = b.bytes <= a.bytes * (1 + TIE) && a.bytes <= b.bytes * (1 + TIE);
  const memory = same
    ? `${a.name} ${verb} about as much ${noun} as ${b.name} (${formatBytes(a.bytes)} against ${formatBytes(b.bytes)})`
    : `${a.name} ${verb} ${less(a.bytes, b.bytes)} less ${noun} than ${b.name} (${formatBytes(a.bytes)} against ${formatBytes(b.bytes)})`;
  const fewer = a.nativeCalls !== undefined && b.nativeCalls !== undefined && b.nativeCalls < a.nativeCalls;
  if (!isTimed)
    return `${memory}; ${b.name} makes ${count(b.nativeCalls ?? 0)} native calls instead of ${count(a.nativeCalls ?? 0)}`;
  const speed =
    a.nsPerEvent === undefined
      ? `${b.name} is the fastest of those whose time is known (${time(b.nsPerEvent)})`
      : `${b.name} is ${faster(a.nsPerEvent, b.nsPerEvent!)} (${time(b.nsPerEvent)} against ${count(a.nsPerEvent)} ns)`;
  if (fewer) return `${memory}; ${speed} and makes ${count(b.nativeCalls)} native calls instead of ${count(a.nativeCalls)}`;
  const more = a.nativeCalls !== undefined && b.nativeCalls !== undefined && b.nativeCalls > a.nativeCalls;
  return more
    ? `${memory}; ${speed}, with ${count(b.nativeCalls)} native calls instead of ${count(a.nativeCalls)}`
    : `${memory}; ${speed}`;
}

function between(run: TradeRun, a: TradeRun, b: TradeRun, isTimed: boolean): string {
  const memory = `Between them, ${run.name}: ${less(run.bytes, b.bytes)} less memory than ${b.name}`;
  if (!isTimed) return `${memory}, ${count(run.nativeCalls ?? 0)} native calls`;
  return a.nsPerEvent === undefined ? memory : `${memory}, and ${faster(a.nsPerEvent, run.nsPerEvent!)} than ${a.name}`;
}

function less(bytes: number, other: number): string {
  return `${Number(((1 - bytes / other) * 100).toPrecision(2))} %`;
}

/** How much faster something of `ns` is than something of `otherNs`. */
function faster(otherNs: number, ns: number): string {
  const ratio = otherNs / ns;
  return ratio < 1.2
    ? `${Number(((ratio - 1) * 100).toPrecision(2))} % faster`
    : `${Number(ratio.toPrecision(ratio < 10 ? 2 : 3))} times faster`;
}

function time(ns: number | undefined): string {
  return `${count(ns)} ns an event`;
}

function count(value = 0): string {
  return Math.round(value).toLocaleString('en-US');
}
