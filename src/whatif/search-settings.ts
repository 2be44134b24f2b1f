import { checkArgument } from '../core/errors.js';
import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import type { TraceEvents } from '../trace/trace-events.js';
import type { WhatIfLimit } from './setting.js';
import { type WhatIfResult, whatIf } from './what-if.js';

/** What is searched, and how far. */
export interface SettingSearch {
  /** @defaultValue none */
  readonly limit?: WhatIfLimit | undefined;
  /** Settings to try at most. @defaultValue 96 */
  readonly budget?: number | undefined;
  /** As that of {@link WhatIfOptions}. */
  readonly device?: number | undefined;
  /** Called with the settings that were tried, and how many may be. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

const OPTIONS: OptionNames<SettingSearch> = { limit: true, budget: true, device: true, onProgress: true };

/** What a search found. */
export interface FoundSetting {
  /** Those that no other one beats in peak reserved memory and in native calls at once, the least memory first; all of them fit. */
  readonly frontier: readonly WhatIfResult[];
  /** The one that came furthest, where none fits. */
  readonly closest: WhatIfResult | undefined;
  readonly tried: number;
  /** How many of them fit. */
  readonly fitting: number;
}

/** A key of the configuration and the values that are tried; the first, undefined, leaves it out. */
interface Axis {
  readonly key: string;
  readonly values: readonly (string | undefined)[];
}

const AXES: readonly Axis[] = [
  { key: 'expandable_segments', values: [undefined, 'True'] },
  { key: 'max_split_size_mb', values: [undefined, '20', '32', '64', '128', '256', '512'] },
  { key: 'roundup_power2_divisions', values: [undefined, '1', '2', '4', '8', '16'] },
  { key: 'large_segment_size_mb', values: [undefined, '10', '32', '64', '128', '256'] },
];
/** It has an effect only under a limit for the process. */
const COLLECTION: Axis = { key: 'garbage_collection_threshold', values: [undefined, '0.6', '0.7', '0.8', '0.9'] };
const DEFAULT_BUDGET = 96;

type Place = readonly number[];

/**
 * Searches settings of PyTorch's allocator: the defaults and what differs from them in one key, then, from the best so far, what
 * differs from those in one key, until nothing new is better. Cost: that of one run each.
 */
export function searchSettings(events: TraceEvents, options: SettingSearch = {}): FoundSetting {
  checkOptionNames('searchSettings', options, OPTIONS);
  const { limit, budget = DEFAULT_BUDGET, device, onProgress } = options;
  checkArgument(Number.isSafeInteger(budget) && budget > 0, 'budget', budget, 'an integer of at least 1');
  const axes = limit === undefined || limit.of === 'card' ? AXES : [...AXES, COLLECTION];
  const tried = new Map<string, { readonly place: Place; readonly result: WhatIfResult }>();
  const tryOut = (place: Place): void => {
    const conf = confAt(axes, place);
    if (tried.has(conf) || tried.size >= budget || !isTaken(conf)) return;
    const how = { limits: limit === undefined ? [] : [limit], leastLimit: false, device };
    const [result] = whatIf(events, [{ conf }], how).results;
    tried.set(conf, { place, result: result! });
    onProgress?.(tried.size, budget);
  };
  tryOut(axes.map(() => 0));
  for (let before = 0; tried.size > before && tried.size < budget; ) {
    before = tried.size;
    const results = [...tried.values()];
    const best = new Set(frontierOf(results.map(({ result }) => result)));
    const from =
      best.size > 0
        ? results.filter(({ result }) => best.has(result))
        : results.filter(({ result }) => result === closestOf(results));
    for (const { place } of from) for (const next of neighboursOf(axes, place)) tryOut(next);
  }
  const results = Array.from(tried.values(), ({ result }) => result);
  const fitting = results.filter(({ fits }) => fits);
  return {
    frontier: frontierOf(results),
    closest: fitting.length > 0 ? undefined : closestOf([...tried.values()]),
    tried: results.length,
    fitting: fitting.length,
  };
}

function confAt(axes: readonly Axis[], place: Place): string {
  const pairs = axes.flatMap(({ key, values }, axis) => {
    const value = values[place[axis]!];
    return value === undefined ? [] : [`${key}:${value}`];
  });
  return pairs.join(',');
}

/** Whether PyTorch takes a setting: it refuses some pairs of values. */
function isTaken(conf: string): boolean {
  const [, split = Number.POSITIVE_INFINITY] = /max_split_size_mb:(\d+)/.exec(conf) ?? [];
  const [, segment = 0] = /large_segment_size_mb:(\d+)/.exec(conf) ?? [];
  return Number(split) >= Number(segment);
}

function neighboursOf(axes: readonly Axis[], place: Place): Place[] {
  return axes.flatMap(({ values }, axis) =>
    [...values.keys()].filter((at) => at !== place[axis]).map((at) => place.map((old, i) => (i === axis ? at : old))),
  );
}

/** Those that fit and that no other one beats, the least memory first; of equal ones the first. */
function frontierOf(results: readonly WhatIfResult[]): WhatIfResult[] {
  const calls = ({ nativeAllocs, nativeFrees }: WhatIfResult) => nativeAllocs + nativeFrees;
  const sorted = results
    .filter(({ fits }) => fits)
    .sort((a, b) => a.peakReservedBytes - b.peakReservedBytes || calls(a) - calls(b));
  let least = Number.POSITIVE_INFINITY;
  return sorted.filter((result) => {
    if (calls(result) >= least) return false;
    least = calls(result);
    return true;
  });
}

function closestOf(results: readonly { readonly result: WhatIfResult }[]): WhatIfResult | undefined {
  const order = results.map(({ result }) => result).sort((a, b) => (b.failure?.event ?? 0) - (a.failure?.event ?? 0));
  return order[0];
}
