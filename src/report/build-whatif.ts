import { checkArgument } from '../core/errors.js';
import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import { formatBytes } from '../core/units.js';
import { NS_PER_MS, type TraceEvents } from '../trace/trace-events.js';
import { ColumnPayload } from './column-payload.js';
import type { PageContent } from './render-page.js';
import type { Fact, WhatIfPageData, WhatIfRun } from './report-data.js';
import { factsOf } from './trace-facts.js';
import { tradeOf } from './trade.js';

/** The parts of a page that are not results. */
export interface WhatIfPageOptions {
  /** How the runs were made. */
  readonly settings?: readonly Fact[] | undefined;
  /** What is to be said beside the figures, a sentence each. */
  readonly notes?: readonly string[] | undefined;
}

const OPTIONS: OptionNames<WhatIfPageOptions> = { settings: true, notes: true };

/** The JSON of a page, and the binary payload with its curves. */
export interface BuiltWhatIf extends PageContent {
  readonly data: WhatIfPageData;
}

/**
 * Builds the page of a trace under settings and limits. Cost: O(points of the curves).
 *
 * @throws ERR_MEM_INVALID_ARGUMENT when the curves have different strides
 */
export function buildWhatIf(trace: TraceEvents, runs: readonly WhatIfRun[], options: WhatIfPageOptions = {}): BuiltWhatIf {
  checkOptionNames('buildWhatIf', options, OPTIONS);
  const payload = new ColumnPayload();
  const strides = runs.flatMap(({ curve }) => curve?.stride ?? []);
  const [stride = Math.max(1, trace.length)] = strides;
  for (const other of strides) checkArgument(other === stride, 'stride of a curve', other, `${stride}, as of the others`);
  const limitsDiffer = new Set(runs.map(limitOf)).size > 1;
  const timeOf = (events: number) => (trace.times?.[Math.min(events, trace.length) - 1] ?? 0) / NS_PER_MS;
  const points = Math.ceil(trace.length / stride);
  const times = trace.times === undefined ? null : Float64Array.from({ length: points }, (_, i) => timeOf((i + 1) * stride));
  const labelOf = (run: WhatIfRun) => (limitsDiffer ? `${settingOf(run)}, ${limitOf(run)}` : settingOf(run));
  const data: WhatIfPageData = {
    version: 1,
    mode: 'whatif',
    title: trace.name,
    facts: factsOf(trace),
    settings: options.settings ?? [],
    notes: options.notes ?? [],
    events: trace.length,
    stride,
    times: times === null ? null : payload.add(times),
    runs: runs.map(({ curve, ...run }) => {
      const setting = settingOf(run);
      const limit = limitOf(run);
      return {
        ...run,
        setting,
        limit,
        label: labelOf(run),
        failedAtMs: run.failure === null || times === null ? null : timeOf(run.failure.event + 1),
        reserved: payload.add(Float64Array.from(curve?.reserved ?? [])),
        allocated: payload.add(Float64Array.from(curve?.allocated ?? [])),
      };
    }),
    verdict: verdictOf(runs, limitsDiffer),
  };
  return { data, payload: payload.toBase64() };
}

/** What the runs trade in memory and native calls that fit at the least limit: of their time nothing is known. */
function verdictOf(runs: readonly WhatIfRun[], limitsDiffer: boolean): string | null {
  const bytesOf = ({ limitBytes }: WhatIfRun) => limitBytes ?? Number.POSITIVE_INFINITY;
  const fitting = runs.filter(({ fits }) => fits);
  const least = Math.min(...fitting.map(bytesOf));
  const [first, ...others] = fitting.filter((run) => bytesOf(run) === least);
  if (first === undefined || fitting.length < 2) return null;
  const limit = limitsDiffer ? `With ${limitOf(first)} ` : '';
  if (others.length === 0)
    return `${limit}only ${settingOf(first)} fits, and reserves ${formatBytes(first.peakReservedBytes)} at its peak.`;
  const costs = [first, ...others].map((run) => ({
    name: settingOf(run),
    bytes: run.peakReservedBytes,
    nativeCalls: run.nativeAllocs + run.nativeFrees,
  }));
  return `${limit}${tradeOf(costs, { verb: 'reserves', noun: 'memory at its peak' }).text}.`;
}

/** The manager, and of PyTorch's the configuration. */
function settingOf({ manager, conf }: WhatIfRun): string {
  return conf === null ? manager : conf || 'the default of PyTorch';
}

function limitOf({ limitBytes, limitName = '' }: WhatIfRun): string {
  if (limitBytes === null) return 'no limit';
  return limitName === '' ? formatBytes(limitBytes) : `${limitName}, ${formatBytes(limitBytes)}`;
}
