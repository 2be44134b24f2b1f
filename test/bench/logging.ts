import type { BenchEvents } from './event-file.js';
import { drainThrough, Installed, type ManagerSpec, replayThrough } from './manager-subject.js';
import { median } from './statistics.js';
import { timed } from './thread-time.js';

/** What logging mode costs, against a sink that does nothing. */
export interface LoggingCost {
  /** More than with logging off, median over the rounds. */
  readonly nsPerCall: number;
  /** Garbage, more than with logging off. */
  readonly bytesPerCall: number;
}

const WARM_REPLAYS = 8;
const MIN_ROUND_CALLS = 400_000;

/** Replays a trace with logging off and on in turns, in one manager. Needs `--expose-gc`, and room for young objects. */
export function measureLogging(spec: ManagerSpec, events: BenchEvents, rounds: number): LoggingCost {
  const { slot, manager } = new Installed(spec);
  const pointers = new Float64Array(events.slotCount);
  manager.setLogStream({ write: () => undefined });
  const repeats = Math.max(1, Math.ceil(MIN_ROUND_CALLS / Math.max(events.length, 1)));
  const calls = Math.max(events.length, 1);
  for (let i = 0; i < WARM_REPLAYS; i++) timeOnce(i % 2 === 0);
  const more: number[] = [];
  for (let round = 0; round < rounds; round++) more.push(timeRound(true) - timeRound(false));
  return { nsPerCall: median(more), bytesPerCall: Math.max(0, garbageOnce(true) - garbageOnce(false)) };

  function timeRound(logging: boolean): number {
    return median(Array.from({ length: repeats }, () => timeOnce(logging)));
  }

  function timeOnce(logging: boolean): number {
    manager.setLoggingEnabled(logging);
    const elapsed = timed(() => replayThrough(slot, events, pointers));
    drainThrough(slot, pointers);
    return elapsed / calls;
  }

  function garbageOnce(logging: boolean): number {
    manager.setLoggingEnabled(logging);
    globalThis.gc?.();
    const before = process.memoryUsage().heapUsed;
    replayThrough(slot, events, pointers);
    const garbage = process.memoryUsage().heapUsed - before;
    drainThrough(slot, pointers);
    return garbage / calls;
  }
}
