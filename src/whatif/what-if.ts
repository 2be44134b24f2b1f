import { checkArgument, MemoryError } from '../core/errors.js';
import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import { type Frame, framesOfSite } from '../trace/site-frames.js';
import { NS_PER_US, TraceEvents } from '../trace/trace-events.js';
import { GRANULE_BYTES } from './driver-addresses.js';
import { type EarlierMemory, earlierMemory } from './earlier-state.js';
import { findLeastLimit } from './least-limit.js';
import { RecordedProgram } from './recorded-program.js';
import { checkLimit, isRecorded, type ReadSetting, readSetting, type WhatIfLimit, type WhatIfSetting } from './setting.js';
import { type RunOptions, type RunOutcome, runProgram, type WhatIfFigures } from './setting-run.js';
import { notesOf } from './what-if-notes.js';

/** What is asked. */
export interface WhatIfOptions {
  /** Each setting is run under each of them. @defaultValue none: a card without a limit */
  readonly limits?: readonly WhatIfLimit[] | undefined;
  /** Whether the least limit is searched, where there is none. @defaultValue true */
  readonly leastLimit?: boolean | undefined;
  /** The device whose events are run. @defaultValue the one with the most allocations */
  readonly device?: number | undefined;
  /** The results have curves of at most so many points. @defaultValue 0, no curves */
  readonly curvePoints?: number | undefined;
  /** Called with the events done, and about how many there are, over all runs. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

const OPTIONS: OptionNames<WhatIfOptions> = {
  limits: true,
  leastLimit: true,
  device: true,
  curvePoints: true,
  onProgress: true,
};

/** The request that cannot be served. */
export interface WhatIfFailure {
  /** Its event in the trace, from 0. */
  readonly event: number;
  readonly requestedBytes: number;
  /** What was in use then, as the allocator rounds it. */
  readonly allocatedBytes: number;
  /** What was reserved then, after cached memory was given back. */
  readonly reservedBytes: number;
  /** Microseconds since the recording began. */
  readonly timeUs: number;
  /** The program's step or annotation; null where the recording has none. */
  readonly step: string | null;
  /** The program's stack, the innermost frame first; empty where it was not recorded. */
  readonly frames: readonly Frame[];
}

/** What a program would have come to under one setting and limit. */
export interface WhatIfResult extends WhatIfFigures {
  /** As it was given; null for a manager that is not PyTorch's. */
  readonly conf: string | null;
  readonly limitBytes: number | null;
  readonly fits: boolean;
  /** Where the program failed: the figures below are up to there. */
  readonly failure: WhatIfFailure | null;
  /** A limit that it fits into, while it does not into one that is 2 MiB smaller; null when it was not searched. */
  readonly leastLimitBytes: number | null;
}

/** The results, and what is to be said beside them. */
export interface WhatIfAnswer {
  /** Setting by setting, each under all limits in their order. */
  readonly results: readonly WhatIfResult[];
  /** A sentence each: what the recording does not tell, and what of a setting has no effect. */
  readonly notes: readonly string[];
}

/** How many runs the search for a least limit is taken to need. */
const ROUNDS = 12;

/**
 * Runs what a program asked for under settings and limits, on a card of numbers: nothing of it needs a device.
 * Cost: some 0.3 µs an event for each run, and about twelve runs for a least limit.
 *
 * @param settings - PyTorch's allocator under configurations, and other managers
 * @param events - a loaded trace, as `loadTrace` gives it
 * @throws ERR_MEM_INVALID_ARGUMENT for a bad configuration, with the place, before anything is run
 * @throws ERR_MEM_BAD_INPUT for a snapshot that has no history of the device
 * @throws ERR_MEM_UNSUPPORTED_PLATFORM for pages that no card has
 */
export function whatIf(events: TraceEvents, settings: readonly WhatIfSetting[], options: WhatIfOptions = {}): WhatIfAnswer {
  checkOptionNames('whatIf', options, OPTIONS);
  const { limits = [], leastLimit = true, curvePoints = 0 } = options;
  limits.forEach(checkLimit);
  checkArgument(Number.isSafeInteger(curvePoints) && curvePoints >= 0, 'curvePoints', curvePoints, 'an integer of at least 0');
  checkArgument(events instanceof TraceEvents, 'events', events, 'a loaded trace, such as await loadTrace(path)');
  const program = new RecordedProgram(events, options.device);
  checkHistory(program);
  const read = settings.map(readSetting);
  const asked: readonly (WhatIfLimit | null)[] = limits.length === 0 ? [null] : limits;
  const rounds = limits.length > 0 ? limits.length : leastLimit ? 1 + ROUNDS : 1;
  const stride = curvePoints > 0 ? Math.max(1, Math.ceil(events.length / curvePoints)) : 0;
  const refusing = new Set<string>();
  let granted = 0;
  const results = read.flatMap((setting, place) => {
    let done = 0;
    const earlier = earlierUnder(program, setting);
    const run = (limit: WhatIfLimit | null, more: Partial<RunOptions> = {}): RunOutcome => {
      const before = (place * rounds + Math.min(done++, rounds - 1)) * events.length;
      const onProgress = (now: number) => options.onProgress?.(before + now, read.length * rounds * events.length);
      const outcome = runProgram(program, { ...runOptions(setting, limit, earlier), ...more, onProgress });
      if (outcome.refusesStreams) refusing.add(setting.manager);
      granted = Math.max(granted, outcome.granted);
      return outcome;
    };
    return asked.map((limit) => {
      const outcome = run(limit, { stride });
      const searches = limit === null && leastLimit && outcome.failedAt < 0;
      const leastLimitBytes = searches
        ? findLeastLimit(outcome.peakAllocatedBytes, outcome.peakReservedBytes, (bytes) => run({ bytes }).failedAt < 0)
        : null;
      return resultOf(events, setting, limit, outcome, leastLimitBytes);
    });
  });
  options.onProgress?.(1, 1);
  const overLimitBytes = Math.max(
    0,
    ...results.map(({ peakReservedBytes, limitBytes }) => peakReservedBytes - (limitBytes ?? Number.POSITIVE_INFINITY)),
  );
  return { results, notes: notesOf(program, read, { limits: asked, refusing: [...refusing], granted, overLimitBytes }) };
}

/** Refuses a snapshot that shows its end alone: what was requested on the way there is not in it. */
function checkHistory(program: RecordedProgram): void {
  const { allocator, file, kinds } = program.events;
  if (allocator === undefined || kinds.some((_, i) => i >= allocator.earlierEvents && !program.isForeign(i))) return;
  const reason =
    'there is no history in it, only the state at its end: call ' +
    'torch.cuda.memory._record_memory_history(max_entries=1_000_000) before the model is made, and _dump_snapshot after some steps';
  throw new MemoryError('ERR_MEM_BAD_INPUT', { file, line: 0, reason });
}

/** How a program is run under a setting and a limit. @param earlier - what can be restored, if the limit admits it */
export function runOptions(setting: ReadSetting, limit: WhatIfLimit | null, earlier: readonly EarlierMemory[]): RunOptions {
  const isShare = setting.parsed !== undefined && limit !== null && limit.of !== 'card';
  return {
    create: setting.create(isShare ? limit.bytes : undefined),
    capacityBytes: limit === null || isShare ? Number.POSITIVE_INFINITY : limit.bytes,
    earlier: reservedBytes(earlier) <= (limit?.bytes ?? Number.POSITIVE_INFINITY) ? earlier : [],
  };
}

function reservedBytes(memory: readonly EarlierMemory[]): number {
  return memory.reduce((sum, { segment }) => sum + segment.bytes, 0);
}

/** What can be restored: all that was there before the recording, if the setting is the recorded one. */
export function earlierUnder(program: RecordedProgram, setting: ReadSetting): EarlierMemory[] {
  if (setting.parsed === undefined || !isRecorded(setting, program.events)) return [];
  const { settings } = setting.parsed;
  const memory = earlierMemory(program, settings);
  const isOfItsKind = memory.every(
    ({ expandable, segment }) => expandable === settings.expandableSegments && segment.bytes % GRANULE_BYTES === 0,
  );
  return isOfItsKind ? memory : [];
}

function resultOf(
  events: TraceEvents,
  { conf, manager }: ReadSetting,
  limit: WhatIfLimit | null,
  outcome: RunOutcome,
  leastLimitBytes: number | null,
): WhatIfResult {
  const {
    failedAt,
    curve,
    granted: _,
    refusesStreams: __,
    manager: ___,
    lastAllocatedBytes,
    lastReservedBytes,
    ...figures
  } = outcome;
  const memory = { allocatedBytes: lastAllocatedBytes, reservedBytes: lastReservedBytes };
  const failure = failedAt < 0 ? null : { ...failureOf(events, failedAt), ...memory };
  const common = {
    conf,
    manager,
    limitBytes: limit?.bytes ?? null,
    fits: failure === null,
    failure,
    ...figures,
    leastLimitBytes,
  };
  return curve === undefined ? common : { ...common, curve };
}

function failureOf(events: TraceEvents, event: number): Omit<WhatIfFailure, 'allocatedBytes' | 'reservedBytes'> {
  return {
    event,
    requestedBytes: events.bytesOf(event),
    timeUs: events.timeOf(event) / NS_PER_US,
    step: events.stepOf(event) || events.tagOf(event) || null,
    frames: framesOfSite(events.siteOf(event)),
  };
}
