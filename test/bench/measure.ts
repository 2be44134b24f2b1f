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

/**
 * Processes that share the rounds of a contestant. Where code and memory come to lie lets an event take up to half as long
 * again in one process of ten, from its first round to its last.
 */
const PROCESSES = 3;

/** What a trace is measured with. */
export interface Measurement {
  readonly trace: string;
  readonly events: Pick<BenchEvents, 'length' | 'peakLiveBytes'>;
  readonly eventFile: string;
  readonly contestants: readonly Contestant[];
  readonly rounds: number;
  /** What a process replays at least before it is measured. */
  readonly warmMs: number;
  /** The file of contestant-main. */
  readonly main: string;
  readonly onProgress: (what: string) => void;
}

/** One contestant on its way through a trace. */
interface Run {
  readonly contestant: Contestant;
  /** The process that is at work now. */
  process?: ContestantProcess;
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
 * Measures all contestants on one trace. Their processes first replay cold, then warm up; then all of them take turns, round
 * by round, so that what disturbs the machine disturbs them alike. After a third of the rounds fresh processes take over.
 */
export async function measureTrace(measurement: Measurement): Promise<Measured[]> {
  const { contestants, rounds } = measurement;
  const runs = contestants.map<Run>((contestant) => ({
    contestant,
    coldMs: 0,
    times: [],
    minCapacityBytes: null,
    laterPeakBytes: null,
  }));
  for (let part = 0; part < PROCESSES; part++) {
    const from = Math.round((rounds * part) / PROCESSES);
    const to = Math.round((rounds * (part + 1)) / PROCESSES);
    const present = runs.filter((run) => run.failure === undefined && from < roundsOf(run, rounds));
    await measureRounds(present, from, to, measurement);
  }
  const base = runs.find(({ contestant }) => contestant.name === PEER_A)?.times ?? [];
  return runs.map((run) => measuredOf(run, base, measurement));
}

/** Measures rounds in a process of its own for each contestant. Capacities are tried behind the first ones. */
async function measureRounds(runs: readonly Run[], from: number, to: number, measurement: Measurement): Promise<void> {
  const { eventFile, main, rounds, warmMs, onProgress } = measurement;
  try {
    for (const run of runs) {
      onProgress(`${run.contestant.name}: warming up`);
      run.process = new ContestantProcess(run.contestant, eventFile, main);
      await attempt(run, (process) => prepare(run, process, warmMs));
    }
    for (let round = from; round < to; round++) {
      onProgress(`round ${round + 1} of ${rounds}`);
      for (const run of runs) {
        if (round < roundsOf(run, rounds)) await attempt(run, (process) => takeTurn(run, process, measurement));
      }
    }
    for (const run of runs) {
      await attempt(run, (process) => noteLaterPeak(run, process));
      if (from > 0) continue;
      onProgress(`${run.contestant.name}: smallest capacity`);
      await attempt(run, (process) => findCapacity(run, process, measurement));
    }
  } finally {
    for (const run of runs) run.process?.stop();
  }
}

/** A contestant that fails stays in the table, with the reason. */
async function attempt(run: Run, work: (process: ContestantProcess) => Promise<void>): Promise<void> {
  if (run.failure !== undefined || run.process === undefined) return;
  try {
    await work(run.process);
  } catch (error) {
    run.failure = error instanceof Error ? error.message : String(error);
  }
}

async function prepare(run: Run, process: ContestantProcess, warmMs: number): Promise<void> {
  const start = performance.now();
  const cold = await process.cold();
  run.cold ??= cold;
  run.coldMs ||= performance.now() - start;
  if (run.coldMs < MAX_TIMED_MS / 10) await process.warmUp(warmMs);
}

async function takeTurn(run: Run, process: ContestantProcess, { events }: Measurement): Promise<void> {
  const wanted = Math.min(MAX_REPEATS, Math.max(MIN_REPEATS, Math.ceil(EVENTS_PER_ROUND / Math.max(events.length, 1))));
  run.times.push(await process.round(run.coldMs > 1000 ? 1 : wanted));
}

function roundsOf(run: Run, rounds: number): number {
  return Math.max(1, Math.min(rounds, Math.floor(MAX_TIMED_MS / Math.max(run.coldMs, 1))));
}

async function noteLaterPeak(run: Run, process: ContestantProcess): Promise<void> {
  if (run.contestant.javaScript === undefined) return;
  const { peakReservedBytes } = await process.after();
  if (peakReservedBytes !== null) run.laterPeakBytes = Math.max(run.laterPeakBytes ?? 0, peakReservedBytes);
}

async function findCapacity(run: Run, process: ContestantProcess, { events }: Measurement): Promise<void> {
  const { cold } = run;
  if (cold === undefined) return;
  if (cold.minCapacityBytes !== undefined) run.minCapacityBytes = cold.minCapacityBytes;
  else if (hasCapacity(run.contestant)) {
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
  const { name, isPeer } = run.contestant;
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
