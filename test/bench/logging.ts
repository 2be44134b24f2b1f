import type { LogSink } from '../../src/core/call-log.js';
import type { BenchEvents } from './event-file.js';
import { createReplay, drainThrough, Installed, type ManagerSpec } from './manager-subject.js';
import { median } from './statistics.js';
import { timed } from './thread-time.js';

/** What a sink takes that does nothing with it: bytes that it is lent, or text of its own. */
export type SinkKind = 'bytes' | 'text';

const SINKS: Readonly<Record<SinkKind, LogSink>> = {
  bytes: { write: () => undefined, writeBytes: () => undefined },
  text: { write: () => undefined },
};
const WARM_REPLAYS = 8;
const MIN_ROUND_CALLS = 400_000;

/** One manager that replays one trace with logging off and on. */
class LoggedReplay {
  readonly #events: BenchEvents;
  readonly #installed: Installed;
  readonly #pointers: Float64Array;
  readonly #replayEvents: () => void;

  constructor(spec: ManagerSpec, sink: SinkKind, events: BenchEvents) {
    this.#events = events;
    this.#installed = new Installed(spec);
    this.#pointers = new Float64Array(events.slotCount);
    this.#replayEvents = createReplay(this.#installed.slot, events, this.#pointers);
    this.#installed.manager.setLogStream(SINKS[sink]);
    for (let i = 0; i < WARM_REPLAYS; i++) this.nsPerCall(i % 2 === 0);
  }

  get calls(): number {
    return Math.max(this.#events.length, 1);
  }

  nsPerCall(logging: boolean): number {
    return this.#replay(logging, timed);
  }

  /** Needs `--expose-gc`, and room for young objects. */
  garbagePerCall(logging: boolean): number {
    return this.#replay(logging, (replay) => {
      globalThis.gc?.();
      const before = process.memoryUsage().heapUsed;
      replay();
      return process.memoryUsage().heapUsed - before;
    });
  }

  #replay(logging: boolean, measure: (replay: () => void) => number): number {
    const { slot, manager } = this.#installed;
    manager.setLoggingEnabled(logging);
    const measured = measure(this.#replayEvents);
    drainThrough(slot, this.#pointers);
    return measured / this.calls;
  }
}

/** What a call takes more with logging on, in nanoseconds: the median over rounds, off and on in turns. */
export function measureLogging(spec: ManagerSpec, sink: SinkKind, events: BenchEvents, rounds: number): number {
  const replay = new LoggedReplay(spec, sink, events);
  const repeats = Math.max(1, Math.ceil(MIN_ROUND_CALLS / replay.calls));
  const timeRound = (logging: boolean) => median(Array.from({ length: repeats }, () => replay.nsPerCall(logging)));
  return median(Array.from({ length: rounds }, () => timeRound(true) - timeRound(false)));
}

/** The garbage that a call makes more with logging on, in bytes. */
export function measureLoggingGarbage(spec: ManagerSpec, sink: SinkKind, events: BenchEvents): number {
  const replay = new LoggedReplay(spec, sink, events);
  return Math.max(0, replay.garbagePerCall(true) - replay.garbagePerCall(false));
}
