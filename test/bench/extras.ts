import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { measureCalls } from './call-turns.js';
import type { CallRow } from './calls.js';
import type { Contestant } from './contestants.js';
import { type GrowthRow, LIVE_BLOCKS, measureGrowth } from './growth.js';
import type { HostFigures } from './hosts.js';
import type { SinkKind } from './logging.js';
import type { ManagerSpec } from './manager-subject.js';
import { ROW_BYTES } from './random-reads.js';
import type { RecordingCost } from './recording.js';
import type { PreparedTrace } from './trace-folder.js';

/** A measurement beside the traces. */
export type ExtraTask =
  | { readonly kind: 'random reads'; readonly rows: number }
  | { readonly kind: 'hosts'; readonly root: string }
  | { readonly kind: 'call'; readonly call: string; readonly bytes: number }
  | { readonly kind: 'recording'; readonly spec: ManagerSpec; readonly eventFile: string; readonly rounds: number }
  | {
      readonly kind: 'logging' | 'logging garbage';
      readonly spec: ManagerSpec;
      readonly sink: SinkKind;
      readonly eventFile: string;
      readonly rounds: number;
    };

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
  readonly calls: readonly CallRow[];
  readonly hosts: HostFigures | undefined;
}

const LOGGED = 'caching';
const SINK_KINDS: readonly SinkKind[] = ['bytes', 'text'];
// Young objects must not be collected while garbage is counted. What logging and recording take is timed without that: every
// new object would be memory that is touched for the first time.
const ROOM_FOR_GARBAGE = ['--expose-gc', '--max-semi-space-size=256', '--min-semi-space-size=256'];
const run = promisify(execFile);

/** What is measured beside the traces, and with what. */
export interface ExtrasPlan {
  readonly contestants: readonly Contestant[];
  readonly traces: readonly PreparedTrace[];
  readonly rounds: number;
  /** The folder of the repository. */
  readonly root: string;
  /** The folder of the compiled benchmark. */
  readonly compiled: string;
  readonly onProgress: (what: string) => void;
}

/** Measures what logging and recording cost, and how costs grow with the number of live blocks. One process at a time. */
export async function measureExtras({ contestants, traces, rounds, root, compiled, onProgress }: ExtrasPlan): Promise<Extras> {
  const main = join(compiled, 'extras-main.js');
  const logging: LoggingRow[] = [];
  const recording: RecordingRow[] = [];
  const calls: CallRow[] = [];
  if (contestants.some(({ name }) => name === LOGGED)) {
    for (const { name, eventFile } of traces) {
      const spec = { manager: LOGGED };
      for (const sink of SINK_KINDS) {
        onProgress(`logging: ${name}, sink of ${sink}`);
        const task = { spec, sink, eventFile, rounds } as const;
        const nsPerCall = await inChild<number>({ kind: 'logging', ...task });
        const garbageBytesPerCall = await inChild<number>({ kind: 'logging garbage', ...task }, ROOM_FOR_GARBAGE);
        logging.push({ manager: LOGGED, trace: name, sink, nsPerCall, garbageBytesPerCall });
      }
      onProgress(`recording: ${name}`);
      const cost = await inChild<RecordingCost>({ kind: 'recording', spec, eventFile, rounds });
      recording.push({ manager: LOGGED, trace: name, ...cost });
    }
    calls.push(...(await measureCalls({ rounds, main, onProgress })));
  }
  let hosts: HostFigures | undefined;
  if (contestants.some(({ name }) => name === LOGGED)) {
    onProgress('engines under a manager');
    hosts = await inChild<HostFigures>({ kind: 'hosts', root });
  }
  const growth = await measureGrowth({ contestants, folder: compiled, main: join(compiled, 'contestant-main.js'), onProgress });
  if (growth.length > 0) growth.push(await control());
  return { growth, logging, recording, calls, hosts };

  /** What a machine's caches alone make of growth. */
  async function control(): Promise<GrowthRow> {
    const ns: number[] = [];
    for (const rows of LIVE_BLOCKS) {
      onProgress(`growth: random reads of ${rows} rows`);
      ns.push(await inChild<number>({ kind: 'random reads', rows }));
    }
    return { allocator: 'random read (control)', program: `rows of ${ROW_BYTES} B`, ns, failures: [] };
  }

  async function inChild<T>(task: ExtraTask, flags: readonly string[] = []): Promise<T> {
    const { stdout } = await run(process.execPath, [...flags, main, JSON.stringify(task)]);
    return JSON.parse(stdout) as T;
  }
}
