import { describe, expect, test } from 'vitest';
import { LruMemoryManager, PoolMemoryManager } from '../../managers/index.js';
import { MiB } from '../../src/core/units.js';
import { loadTrace, parseTrace, readTrace, type TraceEvents } from '../../src/trace/index.js';
import { CARDS, searchSettings, whatIf } from '../../src/whatif/index.js';
import { pickled } from '../trace/pickled.js';
import { DEFAULT_SNAPSHOT, OWN_RUNS } from './snapshots.js';

type Table = ConstructorParameters<typeof PoolMemoryManager>[1];
const AT = 2 ** 40;
const entry = (action: string, addr: number, size: number, stream = 0) => ({
  action,
  addr,
  size,
  stream,
  time_us: 5,
  frames: [],
});
const alloc = (addr: number, size: number, stream = 0) => entry('alloc', addr, size, stream);
const free = (addr: number, size: number, stream = 0) => [
  entry('free_requested', addr, size, stream),
  entry('free_completed', addr, size, stream),
];
const snapshot = (...entries: object[]): TraceEvents =>
  parseTrace(
    pickled({ segments: [], device_traces: [entries], allocator_settings: { PYTORCH_CUDA_ALLOC_CONF: '' } }),
    'x.pickle',
  );
const pool = {
  manager: 'pool',
  createManager: (count: number, table: Table) => new PoolMemoryManager(count, table),
};
const peakOf = (events: TraceEvents, conf = '') =>
  whatIf(events, [{ conf }], { leastLimit: false }).results[0]!.peakReservedBytes;

describe('whatIf', () => {
  test('gives a block back when its free completes, not when it is requested', () => {
    const [request, done] = free(AT, 30 * MiB);
    const second = alloc(2 * AT, 30 * MiB);
    expect(peakOf(snapshot(alloc(AT, 30 * MiB), request!, second, done!))).toBe(60 * MiB);
    expect(peakOf(snapshot(alloc(AT, 30 * MiB), request!, done!, second))).toBe(30 * MiB);
  });

  test('waits for what is in use before it refuses', () => {
    const [request, done] = free(AT, 30 * MiB);
    const events = snapshot(alloc(AT, 30 * MiB), request!, alloc(2 * AT, 30 * MiB), done!);
    const [result] = whatIf(events, [{}], { limits: [{ bytes: 40 * MiB }] }).results;
    expect([result!.fits, result!.retries, result!.peakReservedBytes]).toEqual([true, 1, 30 * MiB]);
  });

  test('keeps the memory of streams and of private pools apart', () => {
    const events = snapshot(alloc(AT, 30 * MiB, 7), ...free(AT, 30 * MiB, 7), alloc(AT, 30 * MiB, 8));
    expect(peakOf(events)).toBe(60 * MiB);
    expect(peakOf(snapshot(alloc(AT, 30 * MiB, 7), ...free(AT, 30 * MiB, 7), alloc(AT, 30 * MiB, 7)))).toBe(30 * MiB);
  });

  test('empties the cache where the program did', () => {
    const segment = { ...entry('segment_alloc', AT, 30 * MiB) };
    const history = [segment, alloc(AT, 30 * MiB), ...free(AT, 30 * MiB)];
    const more = [entry('segment_alloc', 2 * AT, 40 * MiB), alloc(2 * AT, 40 * MiB)];
    expect(peakOf(snapshot(...history, ...more))).toBe(70 * MiB);
    // No request followed the free: the program called for it.
    expect(peakOf(snapshot(...history, entry('segment_free', AT, 30 * MiB), alloc(3 * AT, 5), ...more))).toBe(42 * MiB);
  });

  test('tries what the recording was refused, and says so', () => {
    const events = snapshot(alloc(AT, 30 * MiB), entry('oom', 0, 50 * MiB), alloc(2 * AT, 8));
    const { results, notes } = whatIf(events, [{}], { leastLimit: false });
    expect([results[0]!.fits, results[0]!.peakReservedBytes]).toEqual([true, 82 * MiB]);
    expect(notes.join()).toContain('was refused 1 request (1 granted here)');
    const last = snapshot(alloc(AT, 30 * MiB), entry('oom', 0, 50 * MiB), ...free(AT, 30 * MiB));
    const [limited] = whatIf(last, [{}], { limits: [{ bytes: 60 * MiB }] }).results;
    expect(limited!.failure).toMatchObject({ event: 1, requestedBytes: 50 * MiB });
  });

  test('goes on behind a refusal that the recorded program survived', () => {
    const events = snapshot(alloc(AT, 30 * MiB), entry('oom', 0, 50 * MiB), alloc(2 * AT, 20 * MiB));
    const { results, notes } = whatIf(events, [{}], { limits: [{ bytes: 60 * MiB }, { bytes: 40 * MiB }] });
    expect(results[0]).toMatchObject({ fits: true, ooms: 1, peakReservedBytes: 50 * MiB });
    // What the recording was granted is no such refusal.
    expect(results[1]).toMatchObject({ fits: false, failure: { event: 2 } });
    expect(notes.join()).toContain('It went on behind 1');
  });

  test('says of a request that no card has room for that it fails, without a limit, too', () => {
    for (const conf of ['', 'expandable_segments:True']) {
      const { results, notes } = whatIf(snapshot(alloc(AT, 8), entry('oom', 0, 2 ** 46)), [{ conf }]);
      expect(results[0]).toMatchObject({ fits: false, failure: { event: 1 }, leastLimitBytes: null });
      expect(notes.join()).toContain('none granted here');
    }
  });

  test('names the step that fails, and takes streams from managers that keep no order of them', () => {
    const mark = (name: string, stage: string, time_us: number) => ({ device: 0, name, stage, time_us });
    const history = [
      { ...alloc(AT, 8 * MiB, 7), time_us: 10 },
      { ...alloc(2 * AT, 40 * MiB), time_us: 20 },
    ];
    const annotations = [mark('step 1', 'START', 5), mark('forward', 'START', 15), mark('forward', 'END', 30)];
    const pickle = pickled({ segments: [], device_traces: [history], external_annotations: annotations });
    const lru = { manager: 'lru', createManager: (count: number, table: Table) => new LruMemoryManager(count, table) };
    const { results, notes } = whatIf(parseTrace(pickle, 'x.pickle'), [{}, lru], { limits: [{ bytes: 32 * MiB }] });
    for (const { failure } of results) {
      expect(failure).toMatchObject({ event: 1, timeUs: 10, step: 'step 1 > forward' });
      expect(failure!.allocatedBytes).toBeGreaterThanOrEqual(8 * MiB);
      expect(failure!.reservedBytes).toBeGreaterThanOrEqual(failure!.allocatedBytes);
    }
    // A segment of 20 MiB, of which 8 are in use.
    expect(results[0]!.failure).toMatchObject({ allocatedBytes: 8 * MiB, reservedBytes: 20 * MiB });
    expect(notes).toEqual([expect.stringContaining('lru: streams are not supported')]);
  });

  test('finds the least limit, which 2 MiB less is not', async () => {
    const events = await loadTrace(DEFAULT_SNAPSHOT);
    for (const setting of [{}, { conf: 'expandable_segments:True' }, pool]) {
      const leastLimitBytes = whatIf(events, [setting]).results[0]!.leastLimitBytes!;
      const fits = (bytes: number) => whatIf(events, [setting], { limits: [{ bytes }] }).results[0]!.fits;
      expect([fits(leastLimitBytes), fits(leastLimitBytes - 2 * MiB)]).toEqual([true, false]);
    }
  });

  test('runs other managers, one a private pool, under the same limit', async () => {
    const { path } = OWN_RUNS.find(({ name }) => name === 'graphs.pickle.gz')!;
    const events = await loadTrace(path);
    const { results, notes } = whatIf(events, [pool, {}], { limits: [{ bytes: 400 * MiB }, { bytes: 100 * MiB, of: 'card' }] });
    expect(results.map(({ manager, conf, limitBytes, fits }) => [manager, conf, limitBytes! / MiB, fits])).toEqual([
      ['pool', null, 400, true],
      ['pool', null, 100, false],
      ['pytorch', '', 400, true],
      ['pytorch', '', 100, false],
    ]);
    for (const { peakReservedBytes, limitBytes } of results) expect(peakReservedBytes).toBeLessThanOrEqual(limitBytes!);
    expect(notes.join()).toContain('Their pool is not recorded');
  });

  test('says what has no effect, and what is not recorded', async () => {
    const { path } = OWN_RUNS.find(({ name }) => name === 'mempool.pickle.gz')!;
    const events = await loadTrace(path);
    const conf = 'garbage_collection_threshold:0.5,pinned_use_cuda_host_register:True';
    const notes = (limits: { bytes: number; of?: 'card' }[]) =>
      whatIf(events, [{ conf }], { limits, leastLimit: false }).notes.join();
    expect(notes([])).toContain('Before the recording 132.00 MiB were reserved');
    expect(notes([])).toContain('requested anew');
    expect(whatIf(events, [{}]).notes.join()).toContain(
      'in use: they stay at their addresses. A peak before the recording is not seen.',
    );
    expect(notes([])).toContain('pinned_use_cuda_host_register:True changes no memory');
    expect(notes([{ bytes: 2 ** 31, of: 'card' }])).toContain('garbage_collection_threshold has an effect only');
    expect(notes([{ bytes: 2 ** 31 }])).not.toContain('garbage_collection_threshold has an effect only');
  });

  test('gives curves of the highest values, up to the failure', async () => {
    const events = await loadTrace(DEFAULT_SNAPSHOT);
    const limits = [{ bytes: 2 ** 40 }, { bytes: 6 * 2 ** 30 }];
    const [whole, failed] = whatIf(events, [{}], { limits, curvePoints: 100 }).results;
    expect(whole!.curve!.reserved).toHaveLength(Math.ceil(events.length / whole!.curve!.stride));
    expect(Math.max(...whole!.curve!.reserved)).toBe(whole!.peakReservedBytes);
    expect(Math.max(...whole!.curve!.allocated)).toBe(whole!.peakAllocatedBytes);
    expect(failed!.curve!.reserved).toHaveLength(Math.ceil((failed!.failure!.event + 1) / failed!.curve!.stride));
    expect(whole!.curve!.stride).toBe(failed!.curve!.stride);
  });

  test('says by how much a limit is passed', async () => {
    const events = await loadTrace(DEFAULT_SNAPSHOT);
    const conf = 'expandable_segments:True,large_segment_size_mb:256';
    const notes = (gib: number) => whatIf(events, [{ conf }], { limits: [{ bytes: Math.floor(gib * 2 ** 30) }] }).notes.join();
    expect(notes(6.7)).toMatch(/passes a limit here by up to \d+\.\d\d MiB/);
    expect(notes(6.9)).not.toContain('passes a limit');
  });

  test('refuses a stream of events, and says what it takes', () => {
    const stream = readTrace(DEFAULT_SNAPSHOT) as unknown as TraceEvents;
    expect(() => whatIf(stream, [{}])).toThrow('a loaded trace, such as await loadTrace(path)');
    expect(() => searchSettings(stream)).toThrow('a loaded trace, such as await loadTrace(path)');
  });

  test('refuses bad settings and limits before it runs', () => {
    const events = snapshot(alloc(AT, 8));
    expect(() => whatIf(events, [{ conf: 'expandable_segment:True' }])).toThrow('did you mean "expandable_segments"');
    expect(() => whatIf(events, [{ manager: 'pool' }])).toThrow('createManager');
    expect(() => whatIf(events, [{}], { limits: [{ bytes: 0 }] })).toThrow('limit');
    const refused = (setting: object, options: object = {}) => expect(() => whatIf(events, [setting], options));
    refused({ config: 'expandable_segments:True' }).toThrow('did you mean "conf"?');
    refused({ conf: 5 }).toThrow('conf is 5');
    refused({ ...pool, conf: 'expandable_segments:True' }).toThrow('left out beside createManager');
    refused({}, { limits: [{ bytes: MiB, of: 'crad' }] }).toThrow('process or card');
    refused({}, { limits: [{ byte: MiB }] }).toThrow('did you mean "bytes"?');
    refused({}, { curvePoints: -1 }).toThrow('curvePoints is -1');
    expect(() => searchSettings(events, { budget: Number.NaN })).toThrow('budget is NaN');
    expect(() => whatIf(events, [{}], { device: 3 })).toThrow('device');
  });
});

describe('searchSettings', () => {
  test('finds settings that no other one beats, the least memory first', async () => {
    const events = await loadTrace(DEFAULT_SNAPSHOT);
    const { frontier, tried, fitting, closest } = searchSettings(events, { budget: 40 });
    expect([tried, fitting, closest]).toEqual([40, 40, undefined]);
    const [best] = frontier;
    expect(best!.conf).toContain('expandable_segments:True');
    expect(best!.peakReservedBytes).toBeLessThanOrEqual(7_144_996_864);
    const calls = frontier.map(({ nativeAllocs, nativeFrees }) => nativeAllocs + nativeFrees);
    expect(calls).toEqual([...calls].sort((a, b) => b - a));
  });

  test('names the one that came furthest where none fits', async () => {
    const events = await loadTrace(DEFAULT_SNAPSHOT);
    const { frontier, fitting, closest } = searchSettings(events, { limit: { bytes: 2 ** 32 }, budget: 20 });
    expect([frontier, fitting, closest!.fits]).toEqual([[], 0, false]);
  });
});

test('CARDS are at least 15, each with less than its total', () => {
  expect(CARDS.size).toBeGreaterThanOrEqual(15);
  for (const { usableBytes, totalBytes } of CARDS.values()) {
    expect(usableBytes).toBeGreaterThan(0.8 * totalBytes);
    expect(usableBytes).toBeLessThan(totalBytes);
  }
});

describe('what was there before the recording', () => {
  const block = (address: number, size: number, requested_size = 0) => ({
    address,
    size,
    requested_size,
    state: requested_size > 0 ? 'active_allocated' : 'inactive',
  });
  const recorded = (blocks: readonly object[], history: readonly object[]) =>
    parseTrace(
      pickled({
        segments: [
          { device: 0, address: AT, total_size: 20 * MiB, stream: 0, segment_type: 'large', is_expandable: false, blocks },
        ],
        device_traces: [history],
        allocator_settings: { PYTORCH_CUDA_ALLOC_CONF: '' },
      }),
      'x.pickle',
    );

  test('lies where it lay under the recorded setting, and is requested anew under another', () => {
    // 12 MiB fit into the gap as it is, and would into none if the blocks lay side by side.
    const blocks = [block(AT, 2 * MiB, 2 * MiB), block(AT + 2 * MiB, 12 * MiB), block(AT + 14 * MiB, 6 * MiB, 6 * MiB)];
    const events = recorded(blocks, [
      ...free(AT + 2 * MiB, 12 * MiB),
      alloc(AT + 2 * MiB, 12 * MiB),
      ...free(AT + 2 * MiB, 12 * MiB),
    ]);
    const [own, other] = whatIf(events, [{}, { conf: 'max_split_size_mb:20' }], { leastLimit: false }).results;
    expect(own).toMatchObject({ nativeAllocs: 0, peakReservedBytes: 20 * MiB });
    expect(other!.nativeAllocs).toBeGreaterThan(0);
  });

  test('is not all: without a history nothing can be asked', () => {
    const blocks = [block(AT, 20 * MiB, 20 * MiB)];
    expect(() => whatIf(recorded(blocks, []), [{}])).toThrow(/^x\.pickle: there is no history in it.*_record_memory_history/);
    expect(() => searchSettings(recorded(blocks, []))).toThrow('there is no history in it');
    const late = whatIf(recorded(blocks, [alloc(2 * AT, 8)]), [{}], { leastLimit: false });
    expect(late.notes.join()).toContain('A peak before the recording is not seen');
  });

  test('that no allocator can have made is requested', () => {
    const events = recorded([block(AT + 100, 2 * MiB, 2 * MiB), block(AT + 2 * MiB, 18 * MiB)], [alloc(AT + 2 * MiB, 8)]);
    const [result] = whatIf(events, [{}], { leastLimit: false }).results;
    expect([result!.fits, result!.nativeAllocs]).toEqual([true, 1]);
  });
});
