import type { Device } from '../core/device.js';
import type { ManagerFactory } from '../core/memory-host.js';
import { MemoryRuntime } from '../runtime/memory-runtime.js';
import { installManager, type ReplayOptions, replayTrace } from '../trace/replay.js';
import type { TraceEvents } from '../trace/trace-events.js';

const MIN_ROUNDS = 3;
const MAX_ROUNDS = 100;
/** Short replays are repeated until they have taken so much time together, with what they need before and behind. */
const ENOUGH_MS = 500;

/** A replay that is measured. */
export interface TimedReplay extends Pick<ReplayOptions, 'swaps'> {
  /** A device of its own: what a replay leaves behind is freed before the next one. */
  readonly device: Device;
  readonly createManager: ManagerFactory;
}

/**
 * Measures replays of a trace, unchecked and without a log, see {@link fastestInTurns}.
 *
 * @param now - a clock, in ms: it tells how long is measured, not what is measured
 * @returns the time of an event of each, in ns
 * @throws as `replayTrace`
 */
export function timeReplays(
  events: TraceEvents,
  replays: readonly TimedReplay[],
  onProgress?: (rounds: number, total: number) => void,
  now?: () => number,
): number[] {
  const runs = replays.map(({ device, createManager, swaps }) => () => {
    using runtime = new MemoryRuntime(device);
    installManager(runtime, createManager);
    return replayTrace(events, runtime, { swaps }).nsPerEvent;
  });
  return fastestInTurns(runs, onProgress, now);
}

/**
 * Measures contestants in turns, every second round backwards, and keeps the fastest time of each: no place in the list is
 * better than another, and other load on the machine only adds time. The first round warms up; it counts for nobody.
 *
 * @param runs - each measures once and returns the time of one of its steps, in ns
 * @param onProgress - called after each round that counts
 * @param now - a clock, in ms
 */
export function fastestInTurns(
  runs: readonly (() => number)[],
  onProgress?: (rounds: number, total: number) => void,
  now = () => performance.now(),
): number[] {
  for (const run of runs) run();
  const fastest = runs.map(() => Number.POSITIVE_INFINITY);
  const order = [...runs.entries()];
  const began = now();
  for (let round = 1, rounds = MIN_ROUNDS; round <= rounds; round++) {
    for (const [place, run] of order) {
      fastest[place] = Math.min(fastest[place]!, run());
    }
    order.reverse();
    rounds = Math.min(MAX_ROUNDS, Math.max(MIN_ROUNDS, Math.ceil((ENOUGH_MS * round) / (now() - began))));
    onProgress?.(round, rounds);
  }
  return fastest;
}
