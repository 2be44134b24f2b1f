import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { formatBytes } from '../../src/core/units.js';
import { type PickleDictionary, PickleReader, type PickleValue } from '../../src/trace/formats/pickle-reader.js';
import { loadTrace, parseTrace, type TraceEvents, TraceKind } from '../../src/trace/index.js';
import { whatIf } from '../../src/whatif/index.js';
import { RecordedProgram } from '../../src/whatif/recorded-program.js';
import { readSetting } from '../../src/whatif/setting.js';
import { runProgram } from '../../src/whatif/setting-run.js';
import { earlierUnder, runOptions } from '../../src/whatif/what-if.js';
import { pickled } from '../trace/pickled.js';
import { confOf, DEFAULT_SNAPSHOT, OWN_RUNS, type OwnRun, REPORTED } from './snapshots.js';

describe('from the snapshot of the default setting', async () => {
  const events = await loadTrace(DEFAULT_SNAPSHOT);
  const rows = REPORTED.map((row) => {
    const limit = row.limitBytes === null ? 'no limit' : formatBytes(row.limitBytes);
    return [`${confOf(row) || 'the default'}, ${limit}`, row] as const;
  });

  test('all settings and limits are predicted', () => expect(rows).toHaveLength(54));

  test.each(rows)('%s: as PyTorch reported', (_name, row) => {
    const { limitBytes } = row;
    const limits = limitBytes === null ? [] : [{ bytes: limitBytes }];
    const [result] = whatIf(events, [{ conf: confOf(row) }], { limits, leastLimit: false }).results;
    const { fits, peakReservedBytes, peakAllocatedBytes, retries, ooms, nativeAllocs, nativeFrees } = result!;
    expect(fits).toBe(row.ok);
    expect(ooms).toBe(row.ooms);
    expect(Math.abs(nativeAllocs - row.deviceAllocs)).toBeLessThanOrEqual(0.01 * row.deviceAllocs);
    expect(Math.abs(nativeFrees - row.deviceFrees)).toBeLessThanOrEqual(Math.max(1, 0.01 * row.deviceFrees));
    expect(Math.abs(peakReservedBytes - row.peakReserved) / row.peakReserved).toBeLessThan(0.005);
    if (row.ok) {
      // Where no limit bites all figures are exact; where one does, these rows have come out exact, too.
      expect(peakReservedBytes).toBe(row.peakReserved);
      expect(retries).toBe(row.retries);
    }
    if (limitBytes === null) expect([nativeAllocs, nativeFrees]).toEqual([row.deviceAllocs, row.deviceFrees]);
    expect(Math.abs(peakAllocatedBytes - row.peakAllocated) / row.peakAllocated).toBeLessThan(0.001);
  });
});

/** A native call of the recording or of a run, as text. */
const call = (isGot: boolean, bytes: number, stream: number) => `${isGot ? '+' : '-'}${bytes} on ${stream}`;

function recordedCalls(events: TraceEvents): { readonly calls: string[]; readonly addresses: Map<number, number[]> } {
  const calls: string[] = [];
  const addresses = new Map<number, number[]>();
  for (let i = events.allocator!.earlierEvents; i < events.length; i++) {
    const kind = events.kindOf(i);
    const bytes = events.bytesOf(i);
    if (kind === TraceKind.nativeAlloc) addresses.set(bytes, [...(addresses.get(bytes) ?? []), events.pointerOf(i)]);
    if (kind === TraceKind.nativeAlloc || kind === TraceKind.nativeFree) {
      calls.push(call(kind === TraceKind.nativeAlloc, bytes, events.streamOf(i)));
    } else if (kind === TraceKind.outOfMemory) calls.push(`refused ${bytes}`);
  }
  return { calls, addresses };
}

/** Runs a snapshot under its own setting; the n-th segment of a size gets its recorded address. */
function runOwn(events: TraceEvents, { limitBytes }: OwnRun) {
  const { calls: recorded, addresses } = recordedCalls(events);
  const program = new RecordedProgram(events);
  const setting = readSetting({ conf: events.allocator!.conf });
  const calls: string[] = [];
  const outcome = runProgram(program, {
    ...runOptions(setting, limitBytes === null ? null : { bytes: limitBytes }, earlierUnder(program, setting)),
    onCall: ({ kind, bytes, stream }) => calls.push(call(kind === 'alloc' || kind === 'commit', bytes, stream)),
    placeAt: (bytes) => addresses.get(bytes)?.shift(),
  });
  if (outcome.failedAt >= 0) calls.push(`refused ${events.bytesOf(outcome.failedAt)}`);
  return { recorded, calls, outcome };
}

describe('each snapshot under its own setting', () => {
  test('is here for the default and for private pools', () => expect(OWN_RUNS.length).toBeGreaterThanOrEqual(7));

  test.each(OWN_RUNS.map((run) => [run.name, run] as const))('%s: gets and gives the same segments', async (_name, run) => {
    const { recorded, calls, outcome } = runOwn(await loadTrace(run.path), run);
    expect(calls).toEqual(recorded);
    expect(outcome.peakReservedBytes).toBe(run.peakReserved);
    expect(outcome.peakAllocatedBytes).toBe(run.peakAllocated);
  });

  // For how long free memory had been free before, which garbage collection goes by, is not recorded.
  const restored = OWN_RUNS.filter(({ name }) => !/^(?:gc08|split20gc)-/.test(name));
  test.each(restored.map((run, place) => [run.name, run, place] as const))(
    '%s: gets and gives the same segments where the history begins late',
    (_name, run, place) => {
      const root = new PickleReader(gunzipSync(readFileSync(run.path))).read() as PickleDictionary;
      const [history] = root['device_traces'] as PickleValue[][];
      const from = Math.floor(history!.length * ((0.37 + 0.31 * place) % 1));
      const pickle = pickled({ ...root, device_traces: [history!.slice(from)] });
      const { recorded, calls } = runOwn(parseTrace(pickle, run.name), run);
      expect(calls).toEqual(recorded);
    },
  );

  test.each(OWN_RUNS.filter(({ name }) => name.startsWith('oom')).map((run) => [run.name, run] as const))(
    '%s: fails where the recording did, in the same line of Python',
    async (_name, { path, limitBytes }) => {
      const events = await loadTrace(path);
      const limits = [{ bytes: limitBytes! }];
      const [result] = whatIf(events, [{ conf: events.allocator!.conf }], { limits }).results;
      expect(result!.failure).toMatchObject({
        event: events.kinds.indexOf(TraceKind.outOfMemory),
        requestedBytes: 70_000_128,
        step: null,
        frames: [
          { name: 'oom', filename: 'pools.py', line: 35 },
          { name: 'run', filename: 'pools.py', line: 9 },
          { name: '<module>', filename: 'pools.py', line: 38 },
        ],
      });
    },
  );
});
