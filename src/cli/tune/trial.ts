import { MemoryError } from '../../core/errors.js';
import { KiB } from '../../core/units.js';
import type { TuneGoal, TunePoint } from '../../report/report-data.js';
import '../../defaults.js';
import { MemoryRuntime } from '../../runtime/memory-runtime.js';
import { installManager, type ReplayResult, replayTrace } from '../../trace/replay.js';
import type { TraceEvents } from '../../trace/trace-events.js';
import { simulatedDevice } from '../choices.js';
import { timeReplays } from '../in-turns.js';
import type { Family, Settings } from './candidates.js';
import type { Trial } from './search.js';

/** Where the search goes by time: so many replays of a setting, the fastest of which counts. Other load only adds time. */
const TIMED_REPLAYS = 3;
/** The precision of a least capacity. */
const CAPACITY_STEP_BYTES = 64 * KiB;

/** How settings are tried. */
export interface TrialOptions {
  readonly goal: TuneGoal;
  /** The capacity of the simulated device; undefined for plenty. */
  readonly capacityBytes: number | undefined;
  /** The assumed cost of a native call: on the simulated device it takes no time. */
  readonly nativeCallNs: number;
}

/** The measurements of a replay under one setting. The time is that of the manager, and the assumed cost of the native calls. */
export interface TuneTrial extends Trial, Pick<TunePoint, 'code' | 'peakReservedBytes' | 'nsPerEvent' | 'leastCapacityBytes'> {
  readonly nativeCalls: number;
}

/** Replays a trace under one setting, for the goal of a search. Its time is a first one: {@link timeTrials} makes it comparable. */
export function tryOut(events: TraceEvents, family: Family, settings: Settings, options: TrialOptions): TuneTrial {
  const { goal, capacityBytes } = options;
  const replay = (capacity: number | undefined) => replayOnce(events, family, settings, capacity);
  const facts = { family, settings, code: family.code(settings) };
  const first = replay(capacityBytes);
  const nothing = { peakReservedBytes: Number.NaN, nsPerEvent: Number.NaN, nativeCalls: 0, leastCapacityBytes: null };
  if (first === undefined) return { ...facts, ...nothing, done: false, score: [] };
  let fastest = first.nsPerEvent;
  for (let again = 1; goal === 'time' && again < TIMED_REPLAYS; again++)
    fastest = Math.min(fastest, replay(capacityBytes)?.nsPerEvent ?? fastest);
  const nativeCalls = first.nativeAllocs + first.nativeFrees;
  const { peakReservedBytes } = first;
  const leastCapacityBytes =
    goal === 'capacity'
      ? leastCapacity(events.peakLiveBytes, peakReservedBytes, (capacity) => replay(capacity) !== undefined)
      : null;
  const score = [leastCapacityBytes ?? peakReservedBytes, nativeCalls];
  const trial = { ...facts, peakReservedBytes, nsPerEvent: fastest, nativeCalls, leastCapacityBytes, done: true, score };
  return withTime(trial, fastest, events, options);
}

/** Measures complete trials in turns, so that none was faster because it came later in the search. */
export function timeTrials(
  events: TraceEvents,
  trials: readonly TuneTrial[],
  options: TrialOptions,
  onProgress?: (rounds: number, total: number) => void,
): TuneTrial[] {
  const replays = trials.map(({ family, settings }) => ({
    createManager: family.create(settings),
    device: simulatedDevice(options.capacityBytes),
  }));
  const times = timeReplays(events, replays, onProgress);
  return trials.map((trial, i) => withTime(trial, times[i]!, events, options));
}

/** @param replayNs - the time of an event on the simulated device, whose native calls cost nothing */
function withTime(trial: TuneTrial, replayNs: number, events: TraceEvents, { goal, nativeCallNs }: TrialOptions): TuneTrial {
  const nsPerEvent = replayNs + (trial.nativeCalls * nativeCallNs) / Math.max(1, events.calls);
  return { ...trial, nsPerEvent, score: goal === 'time' ? [nsPerEvent] : trial.score };
}

/**
 * Finds, by bisection, a capacity in which a replay runs while it fails in one that is a step smaller. A still smaller one may
 * also do: more memory does not help every policy.
 *
 * @param least - no replay needs less
 * @param enough - one that is known to be enough
 */
export function leastCapacity(least: number, enough: number, runs: (capacityBytes: number) => boolean): number {
  if (least >= enough || runs(least)) return least;
  let tooLittle = least;
  let found = enough;
  while (found - tooLittle > CAPACITY_STEP_BYTES) {
    const middle = Math.round((tooLittle + found) / 2);
    if (runs(middle)) found = middle;
    else tooLittle = middle;
  }
  return found;
}

/** @returns undefined when the trace runs out of memory */
function replayOnce(
  events: TraceEvents,
  family: Family,
  settings: Settings,
  capacityBytes: number | undefined,
): ReplayResult | undefined {
  using runtime = new MemoryRuntime(simulatedDevice(capacityBytes));
  try {
    installManager(runtime, family.create(settings));
    return replayTrace(events, runtime);
  } catch (error) {
    if (MemoryError.is(error, 'ERR_MEM_REPLAY') && MemoryError.is(error.cause, 'ERR_MEM_OUT_OF_MEMORY')) return undefined;
    throw error;
  }
}
