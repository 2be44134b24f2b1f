import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { KiB } from '../../src/core/units.js';
import type { SizeProgram } from './growth.js';
import type { SinkKind } from './logging.js';
import type { ManagerSpec } from './manager-subject.js';
import type { RecordingCost } from './recording.js';
import type { PreparedTrace } from './trace-folder.js';

/** A measurement beside the traces. */
export type ExtraTask =
  | { readonly kind: 'growth'; readonly spec: ManagerSpec; readonly program: SizeProgram; readonly liveBlocks: number }
  | { readonly kind: 'recording'; readonly spec: ManagerSpec; readonly eventFile: string; readonly rounds: number }
  | {
      readonly kind: 'logging' | 'logging garbage';
      readonly spec: ManagerSpec;
      readonly sink: SinkKind;
      readonly eventFile: string;
      readonly rounds: number;
    };

/** What a pair of alloc and free costs, by live blocks. */
export interface GrowthRow {
  readonly manager: string;
  readonly program: SizeProgram;
  /** Nanoseconds, in the order of {@link LIVE_BLOCKS}. */
  readonly nsPerPair: readonly number[];
}

/** What logging mode costs more than with logging off, against a sink that does nothing. */
export interface LoggingRow {
  readonly manager: string;
  readonly trace: string;
  readonly sink: SinkKind;
  readonly nsPerCall: number;
  readonly garbageBytesPerCall: number;
}

export interface RecordingRow extends RecordingCost {
  readonly manager: string;
  readonly trace: string;
}

export interface Extras {
  readonly growth: readonly GrowthRow[];
  readonly logging: readonly LoggingRow[];
  readonly recording: readonly RecordingRow[];
}

/** How many blocks are live while growth is measured. */
export const LIVE_BLOCKS = [1e3, 1e4, 1e5, 1e6] as const;
const PROGRAMS: readonly SizeProgram[] = ['one size', 'mixed sizes'];
const GROWING = ['caching', 'tlsf', 'pool'];
const LOGGED = 'caching';
const SINK_KINDS: readonly SinkKind[] = ['bytes', 'text'];
// Young objects must not be collected while garbage is counted. What logging and recording take is timed without that: every
// new object would be memory that is touched for the first time.
const ROOM_FOR_GARBAGE = ['--expose-gc', '--max-semi-space-size=256', '--min-semi-space-size=256'];
const run = promisify(execFile);

/** What is measured beside the traces, and with what. */
export interface ExtrasPlan {
  readonly managers: readonly string[];
  readonly traces: readonly PreparedTrace[];
  readonly rounds: number;
  /** The file of extras-main. */
  readonly main: string;
  readonly onProgress: (what: string) => void;
}

/** Measures what logging and recording cost, and how costs grow with the number of live blocks. One process at a time. */
export async function measureExtras({ managers, traces, rounds, main, onProgress }: ExtrasPlan): Promise<Extras> {
  const logging: LoggingRow[] = [];
  const recording: RecordingRow[] = [];
  const growth: GrowthRow[] = [];
  if (managers.includes(LOGGED)) {
    for (const { name, eventFile } of traces) {
      const spec = { manager: LOGGED };
      for (const sink of SINK_KINDS) {
        onProgress(`logging: ${name}, sink of ${sink}`);
        const task = { spec, sink, eventFile, rounds } as const;
        const nsPerCall = await inChild<number>({ kind: 'logging', ...task }, []);
        const garbageBytesPerCall = await inChild<number>({ kind: 'logging garbage', ...task });
        logging.push({ manager: LOGGED, trace: name, sink, nsPerCall, garbageBytesPerCall });
      }
      onProgress(`recording: ${name}`);
      const cost = await inChild<RecordingCost>({ kind: 'recording', spec, eventFile, rounds }, []);
      recording.push({ manager: LOGGED, trace: name, ...cost });
    }
  }
  for (const manager of GROWING.filter((name) => managers.includes(name))) {
    for (const program of PROGRAMS) {
      const nsPerPair: number[] = [];
      for (const liveBlocks of LIVE_BLOCKS) {
        onProgress(`growth: ${manager}, ${program}, ${liveBlocks} live blocks`);
        nsPerPair.push(await inChild<number>({ kind: 'growth', spec: specOf(manager), program, liveBlocks }));
      }
      growth.push({ manager, program, nsPerPair });
    }
  }
  return { growth, logging, recording };

  async function inChild<T>(task: ExtraTask, flags = ROOM_FOR_GARBAGE): Promise<T> {
    const { stdout } = await run(process.execPath, [...flags, main, JSON.stringify(task)]);
    return JSON.parse(stdout) as T;
  }
}

function specOf(manager: string): ManagerSpec {
  return manager === 'pool' ? { manager, pageBytes: 64 * KiB } : { manager };
}
