import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TraceRecorder } from '../../src/trace/recording/trace-recorder.js';
import type { BenchEvents } from './event-file.js';
import { createReplay, drainThrough, Installed, type ManagerSpec } from './manager-subject.js';
import { median } from './statistics.js';
import { timed } from './thread-time.js';

/** What recording costs, into a file in the system's folder for temporary files. */
export interface RecordingCost {
  /** More than without a recorder, median over the rounds; the writes are in it. */
  readonly nsPerEvent: number;
  readonly bytesPerEvent: number;
}

const WARM_REPLAYS = 8;
const MIN_ROUND_EVENTS = 400_000;

/** Replays a trace with and without a recorder in turns, in one manager. */
export function measureRecording(spec: ManagerSpec, events: BenchEvents, rounds: number): RecordingCost {
  const folder = mkdtempSync(join(tmpdir(), 'stowage-bench-'));
  const file = join(folder, 'bench.stowtrace');
  try {
    const { runtime, slot } = new Installed(spec);
    const pointers = new Float64Array(events.slotCount);
    const replay = createReplay(slot, events, pointers);
    const repeats = Math.max(1, Math.ceil(MIN_ROUND_EVENTS / Math.max(events.length, 1)));
    let recorded = 0;
    const timeOnce = (recording: boolean): number => {
      const recorder = recording ? new TraceRecorder(file) : undefined;
      recorder?.add(runtime);
      const elapsed = timed(replay);
      recorder?.dispose();
      recorded = recorder?.events ?? recorded;
      drainThrough(slot, pointers);
      return elapsed / Math.max(events.length, 1);
    };
    const timeRound = (recording: boolean): number => median(Array.from({ length: repeats }, () => timeOnce(recording)));
    for (let i = 0; i < WARM_REPLAYS; i++) timeOnce(i % 2 === 0);
    const more: number[] = [];
    for (let round = 0; round < rounds; round++) more.push(timeRound(true) - timeRound(false));
    return { nsPerEvent: median(more), bytesPerEvent: statSync(file).size / Math.max(recorded, 1) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
