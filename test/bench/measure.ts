import { smallestCapacity } from './capacity.js';
import { ContestantProcess } from './contestant-process.js';
import { type Contestant, PEER_A } from './contestants.js';
import type { BenchEvents } from './event-file.js';
import type { Measured } from './rows.js';
import { median } from './statistics.js';
import type { ColdFacts } from './subject.js';

/** Replays are repeated within a round until about that many events are done. */
const EVENTS_PER_ROUND = 400_000;
const MIN_REPEATS = 3;
const MAX_REPEATS = 1000;
/** What one contestant may take for all rounds of a trace: one that is slower takes part in fewer rounds. */
const MAX_TIMED_MS = 20_000;

/** What a trace is measured with. */
export interface Measurement {
  readonly trace: string;
  readonly events: Pick<BenchEvents, 'length' | 'peakLiveBytes'>;
  readonly eventFile: string;
  readonly contestants: readonly Contestant[];
  readonly rounds: number;
  /** The file of contestant-main. */
  readonly main: string;
  readonly onProgress: (what: string) => void;
}

/** One contestant on its way through a trace. */
interface Run {
  readonly process: ContestantProcess;
  cold?: ColdFacts;
  /** How long a first replay took, with all that goes with it. */
  coldMs: number;
  /** Nanoseconds an event, by round. */
  readonly times: number[];
  minCapacityBytes: number | null;
  laterPeakBytes: number | null;
  failure?: string;
}

/**
 * Measures all contestants on one trace. Each first replays cold, then warms up; then all of them take turns, round by
 * round, so that what disturbs the machine disturbs them alike; capacities are tried at the end.
 */
export async function measureTrace(measurement: Measurement): Promise<Measured[]> {
  const { contestants, eventFile, main, rounds, onProgress } = measurement;
  const runs = contestants.map<Run>((contestant) => ({
    process: new ContestantProcess(contestant, eventFile, main),
    coldMs: 0,
    times: [],
    minCapacityBytes: null,
    laterPeakBytes: null,
  }));
  try {
    for (const run of runs) {
      onProgress(`${run.process.contestant.name}: warming up`);
      await attempt(run, () => prepare(run));
    }
    for (let round = 0; round < rounds; round++) {
      onProgress(`round ${round + 1} of ${rounds}`);
      for (const run of runs) {
        if (round < roundsOf(run, rounds)) await attempt(run, () => takeTurn(run, measurement));
      }
    }
    for (const run of runs) {
      onProgress(`${run.process.contestant.name}: smallest capacity`);
      await attempt(run, () => finish(run, measurement));
    }
    const base = runs.find((run) => run.process.contestant.name === PEER_A)?.times ?? [];
    return runs.map((run) => measuredOf(run, base, measurement));
  } finally {
    for (const run of runs) run.process.stop();
  }
}

/** A contestant that fails stays in the table, with the reason. */
async function attempt(run: Run, work: () => Promise<void>): Promise<void> {
  if (run.failure !== undefined) return;
  try {
    await work();
  } catch (error) {
    run.failure = error instanceof Error ? error.message : String(error);
  }
}

async function prepare(run: Run): Promise<void> {
  const start = performance.now();
  run.cold = await run.process.cold();
  run.coldMs = performance.now() - start;
  if (run.coldMs < MAX_TIMED_MS / 10) await run.process.warmUp();
}

async function takeTurn(run: Run, { events }: Measurement): Promise<void> {
  const wanted = Math.min(MAX_REPEATS, Math.max(MIN_REPEATS, Math.ceil(EVENTS_PER_ROUND / Math.max(events.length, 1))));
  run.times.push(await run.process.round(run.coldMs > 1000 ? 1 : wanted));
}

function roundsOf(run: Run, rounds: number): number {
  return Math.max(1, Math.min(rounds, Math.floor(MAX_TIMED_MS / Math.max(run.coldMs, 1))));
}

async function finish(run: Run, { events }: Measurement): Promise<void> {
  const { cold, process } = run;
  if (cold === undefined) return;
  if (process.contestant.javaScript !== undefined) run.laterPeakBytes = (await process.after()).peakReservedBytes;
  if (cold.minCapacityBytes !== undefined) run.minCapacityBytes = cold.minCapacityBytes;
  else if (hasCapacity(process.contestant)) {
    const reserved = cold.peakReservedBytes ?? events.peakLiveBytes;
    run.minCapacityBytes = await smallestCapacity((bytes) => process.fits(bytes), events.peakLiveBytes, reserved);
  }
}

/** Peers that take memory from the system cannot be given less of it. */
function hasCapacity({ name, native }: Contestant): boolean {
  return native === undefined || name === PEER_A;
}

function measuredOf(run: Run, base: readonly number[], { trace, events, rounds }: Measurement): Measured {
  const { cold, times, failure } = run;
  const { name, isPeer } = run.process.contestant;
  const ratios = times.flatMap((time, round) => (base[round] === undefined ? [] : [time / base[round]]));
  const reserved = cold?.peakReservedBytes ?? null;
  const notes: string[] = [];
  if (failure !== undefined) notes.push(`failed: ${failure}`);
  else if (times.length < rounds) notes.push(`${times.length} of ${rounds} rounds, because a replay takes long`);
  return {
    isPeer,
    notes,
    laterPeakReservedBytes: run.laterPeakBytes,
    row: {
      trace,
      allocator: name,
      nsPerEvent: times.length === 0 ? null : median(times),
      nsRatioToPeerA: ratios.length === 0 ? null : median(ratios),
      nativeCalls: cold?.nativeCalls ?? null,
      peakReservedBytes: reserved,
      peakLiveBytes: events.peakLiveBytes,
      utilisation: reserved === null || reserved === 0 ? null : events.peakLiveBytes / reserved,
      minCapacityBytes: run.minCapacityBytes,
    },
  };
}
