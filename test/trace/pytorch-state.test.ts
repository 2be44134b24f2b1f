import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PickleReader, type PickleValue } from '../../src/trace/formats/pickle-reader.js';
import { loadTrace, parseTrace, type TraceEvents, TraceKind } from '../../src/trace/index.js';
import { pickled } from './pickled.js';

const KiB = 1024;
const MiB = 1024 * KiB;
/** Recorded by PyTorch on a card, and too large for the repository. */
const REAL = join(import.meta.dirname, '../../../shared/snapshots');

interface Segment {
  readonly total_size: number;
  readonly requested_size: number;
  readonly blocks: { readonly state: string }[];
}

/** `reserved >= live` at every event, and the sums that are reserved and live at the end. */
function followed(events: TraceEvents): { reserved: number; live: number } {
  let [reserved, live] = [0, 0];
  for (let i = 0; i < events.length; i++) {
    const kind = events.kindOf(i);
    const bytes = events.bytesOf(i);
    if (kind === TraceKind.nativeAlloc) reserved += bytes;
    else if (kind === TraceKind.nativeFree) reserved -= bytes;
    else if (kind === TraceKind.alloc) live += bytes;
    else if (kind === TraceKind.free) live -= bytes;
    if (live > reserved) throw new Error(`event ${i}: ${live} bytes live in ${reserved} reserved`);
  }
  return { reserved, live };
}

function segmentsOf(root: PickleValue): Segment[] {
  const snapshot = root as unknown as { segments: Segment[] } | Segment[];
  return Array.isArray(snapshot) ? snapshot : snapshot.segments;
}

/** Holds a trace against the segments of its snapshot. */
function checkState(segments: readonly Segment[], events: TraceEvents): TraceEvents {
  const sum = (of: (segment: Segment) => number) => segments.reduce((total, segment) => total + of(segment), 0);
  expect(followed(events)).toEqual({ reserved: sum((s) => s.total_size), live: sum((s) => s.requested_size) });
  expect(events.liveBlocks).toBe(sum((s) => s.blocks.filter(({ state }) => state === 'active_allocated').length));
  expect(events.unknownFrees).toBe(0);
  return events;
}

function checkPickle(pickle: Buffer): TraceEvents {
  return checkState(segmentsOf(new PickleReader(pickle).read()), parseTrace(pickle, 'x.pickle'));
}

const block = (address: number, size: number, requested_size = 0) => ({
  address,
  size,
  requested_size,
  state: requested_size > 0 ? 'active_allocated' : 'inactive',
  frames: [],
});
const segment = (address: number, is_expandable: boolean, blocks: ReturnType<typeof block>[]) => ({
  device: 0,
  address,
  total_size: blocks.reduce((sum, { size }) => sum + size, 0),
  requested_size: blocks.reduce((sum, one) => sum + one.requested_size, 0),
  stream: 0,
  segment_type: 'large',
  is_expandable,
  frames: [],
  blocks,
});
const entry = (action: string, addr: number, size: number) => ({ action, addr, size, stream: 0, time_us: 5, frames: [] });

describe('the state before the history of a snapshot', () => {
  test.each([false, true])('is what the segments say where there is no history (expandable: %s)', (expandable) => {
    const segments = [segment(2 ** 40, expandable, [block(2 ** 40, 4 * MiB, 4 * MiB - 100), block(2 ** 40 + 4 * MiB, 36 * MiB)])];
    const events = checkPickle(pickled({ segments, device_traces: [[]] }));
    expect([events.peakReservedBytes, events.liveBytes]).toEqual([40 * MiB, 4 * MiB - 100]);
  });

  test('is that of a bare list of segments, as torch.cuda.memory_snapshot gives it', () => {
    const segments = [segment(2 ** 40, false, [block(2 ** 40, 4 * MiB, 4 * MiB), block(2 ** 40 + 4 * MiB, 16 * MiB)])];
    const events = checkPickle(pickled(segments));
    expect([events.peakReservedBytes, events.liveBytes, events.liveBlocks]).toEqual([20 * MiB, 4 * MiB, 1]);
  });

  test('takes addresses and requested sizes that old snapshots leave out from the blocks before', () => {
    const blocks = [
      { size: MiB, state: 'active_allocated' },
      { size: MiB, state: 'active_allocated', requested_size: 5 },
    ];
    const old = { device: 0, address: 2 ** 40, total_size: 2 * MiB, blocks };
    const events = parseTrace(pickled([old]), 'x');
    expect([events.pointerOf(1), events.bytesOf(1), events.pointerOf(2), events.bytesOf(2)]).toEqual([
      2 ** 40,
      MiB,
      2 ** 40 + MiB,
      5,
    ]);
  });

  test('holds what an expandable segment unmapped in the history, and not what it mapped', () => {
    const at = 2 ** 40;
    const segments = [segment(at, true, [block(at, 20 * MiB, 9), block(at + 20 * MiB, 40 * MiB, 8)])];
    const history = [
      entry('segment_unmap', at + 60 * MiB, 20 * MiB),
      entry('segment_unmap', at + 20 * MiB, 20 * MiB),
      entry('segment_map', at + 20 * MiB, 20 * MiB),
      entry('alloc', at + 20 * MiB, 8),
    ];
    const events = checkPickle(pickled({ segments, device_traces: [history] }));
    expect(events.kindOf(0)).toBe(TraceKind.nativeAlloc);
    expect([events.pointerOf(0), events.bytesOf(0)]).toEqual([at, 80 * MiB]);
    expect(events.peakReservedBytes).toBe(80 * MiB);
  });

  test('is one where an expandable segment came apart in the history', () => {
    const at = 2 ** 40;
    const pieces = [
      segment(at, true, [block(at, 20 * MiB, 9)]),
      segment(at + 40 * MiB, true, [block(at + 40 * MiB, 20 * MiB, 8)]),
    ];
    const history = [
      entry('free_requested', at + 4 * MiB, 50 * MiB),
      entry('free_completed', at + 4 * MiB, 50 * MiB),
      entry('segment_unmap', at + 20 * MiB, 20 * MiB),
      entry('alloc', at + 40 * MiB, 8),
    ];
    const { allocator } = checkPickle(pickled({ segments: pieces, device_traces: [history] }));
    expect(allocator!.earlier.map(({ address, bytes, blocks }) => [address, bytes, blocks.length])).toEqual([[at, 60 * MiB, 2]]);
  });

  test('keeps native calls apart whose memory touches', () => {
    const segments = [0, 1].map((i) => segment(2 ** 40 + i * 2 * MiB, false, [block(2 ** 40 + i * 2 * MiB, 2 * MiB, 7)]));
    const history = [entry('segment_free', 2 ** 40 + 4 * MiB, 2 * MiB)];
    const events = checkPickle(pickled({ segments, device_traces: [history] }));
    expect([0, 1, 2].map((i) => events.bytesOf(i))).toEqual([2 * MiB, 2 * MiB, 2 * MiB]);
    expect(events.count(TraceKind.nativeAlloc)).toBe(3);
  });

  test('names the block that is wrong', () => {
    const wrong = { ...segment(2 ** 40, false, [block(2 ** 40, -5, 1)]), total_size: 5 };
    expect(() => parseTrace(pickled([wrong]), 'x')).toThrow('x: block 0 of segment 0: "size" is no integer below 2^53');
  });
});

/** What PyTorch's own counters said of a run, or of the unlimited one of several. */
interface Reported {
  readonly snapshot?: string;
  readonly peakReserved?: number;
  readonly peakRequested?: number;
  readonly ooms?: number;
  readonly 'reserved_bytes.all.peak'?: number;
  readonly num_ooms?: number;
}

function reportedFor(path: string): Reported | undefined {
  const json = path.replace('.pickle.gz', '.json');
  if (!existsSync(json)) return undefined;
  const report = JSON.parse(readFileSync(json, 'utf8')) as Reported | Reported[];
  return Array.isArray(report) ? report.find(({ snapshot }) => snapshot === basename(path)) : report;
}

describe('the snapshots of PyTorch on a card', () => {
  /** Small ones are kept here; all others are taken where they are at hand. */
  const folders = [join(import.meta.dirname, 'snapshots'), REAL].filter((folder) => existsSync(folder));
  const files = folders.flatMap((folder) =>
    (readdirSync(folder, { recursive: true }) as string[])
      .filter((name) => name.endsWith('.pickle.gz'))
      .sort()
      .map((name) => join(folder, name)),
  );
  const cases = files.map((path) => [relative(import.meta.dirname, path), path] as const);

  describe.each(cases)('%s', (_name, path) => {
    let root: PickleValue;
    let segments: Segment[];

    beforeAll(() => {
      root = new PickleReader(gunzipSync(readFileSync(path))).read();
      segments = segmentsOf(root);
    });

    // All of them together would take too much memory.
    afterAll(() => {
      root = null;
      segments = [];
    });

    test('adds up to its own segments, and to what PyTorch reported', async () => {
      const events = checkState(segments, await loadTrace(path));
      const reported = reportedFor(path);
      expect(events.peakReservedBytes).toBe(
        reported?.peakReserved ?? reported?.['reserved_bytes.all.peak'] ?? events.peakReservedBytes,
      );
      expect(events.peakLiveBytes).toBe(reported?.peakRequested ?? events.peakLiveBytes);
      expect(events.count(TraceKind.outOfMemory)).toBe(
        reported?.ooms ?? reported?.num_ooms ?? events.count(TraceKind.outOfMemory),
      );
    });

    if (/\dmb/.test(path)) return;

    test('adds up when its history begins anywhere', () => {
      const [history] = (root as { [key: string]: PickleValue })['device_traces'] as PickleValue[][];
      const part = history!.slice(-150);
      fc.assert(
        fc.property(fc.nat(part.length), (from) => {
          checkState(segments, parseTrace(pickled({ segments, device_traces: [part.slice(from)] }), 'x.pickle'));
        }),
        { numRuns: 3 },
      );
    });
  });
});
