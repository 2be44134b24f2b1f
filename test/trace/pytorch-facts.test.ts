import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadTrace, parseTrace, TRACE_WRITERS, type TraceEvents, TraceKind } from '../../src/trace/index.js';
import { pickled } from './pickled.js';
import { told, written } from './random-trace.js';

const MiB = 2 ** 20;
const AT = 2 ** 40;
const { alloc, free, cleanup, outOfMemory, freeCompleted } = TraceKind;

const entry = (action: string, addr: number, size: number, stream = 0, time_us = 5) => ({
  action,
  addr,
  size,
  stream,
  time_us,
  frames: [],
});
const segment = (
  address: number,
  total_size: number,
  stream: number,
  pool: readonly number[],
  blocks: readonly object[] = [],
) => ({
  device: 0,
  address,
  total_size,
  stream,
  segment_pool_id: pool,
  is_expandable: false,
  blocks,
});
const snapshot = (history: readonly object[], segments: readonly object[] = [], more: object = {}): TraceEvents =>
  parseTrace(pickled({ segments, device_traces: [history], ...more }), 'x.pickle');
const small = (name: string) => loadTrace(join(import.meta.dirname, 'snapshots', `${name}.pickle.gz`));
const eventsOf = (events: TraceEvents, ...kinds: TraceKind[]) =>
  [...events.kinds.keys()].filter((event) => kinds.includes(events.kindOf(event)));
const kindsOf = (events: TraceEvents) => Array.from(events.kinds);

describe('the private pools of a snapshot', () => {
  test.each(['graphs', 'graphs-expandable'])('are those of their segments, in order of appearance (%s)', async (name) => {
    const events = await small(name);
    const allocations = eventsOf(events, alloc);
    const counts = [0, 1, 2, 3].map((pool) => allocations.filter((event) => events.poolOf(event) === pool).length);
    expect(counts).toEqual([116, 30, 29, 29]);
    const first = [1, 2, 3].map((pool) => events.pools!.indexOf(pool));
    expect(first).toEqual([...first].sort((a, b) => a - b));
  });

  test('follow an address through one segment after another', () => {
    const events = snapshot(
      [
        entry('segment_alloc', AT, 2 * MiB),
        entry('alloc', AT, 8),
        entry('free_requested', AT, 8),
        entry('free_completed', AT, 8),
        entry('segment_free', AT, 2 * MiB),
        entry('segment_alloc', AT, 2 * MiB, 7),
        entry('alloc', AT, 9, 7),
      ],
      [segment(AT, 2 * MiB, 7, [1, 0], [{ address: AT, size: 512, requested_size: 9, state: 'active_allocated' }])],
    );
    const allocations = eventsOf(events, alloc);
    expect(allocations.map((event) => events.poolOf(event))).toEqual([0, 1]);
    expect(events.allocator?.unknownPoolBytes).toBe(2 * MiB);
  });

  test('are not those of a segment that came and went: a private pool keeps its memory', () => {
    const life = (at: number, stream: number) => [
      entry('segment_alloc', at, 2 * MiB, stream),
      entry('alloc', at, 8, stream),
      entry('free_requested', at, 8, stream),
      entry('free_completed', at, 8, stream),
    ];
    const other = AT + 64 * MiB;
    const history = [
      ...life(AT, 7),
      ...life(other, 7),
      entry('alloc', AT, 8, 7),
      ...life(other + 64 * MiB, 8),
      entry('segment_free', other, 2 * MiB, 7),
      entry('segment_free', other + 64 * MiB, 2 * MiB, 8),
    ];
    const events = snapshot(history, [segment(AT, 2 * MiB, 7, [0, 4])]);
    const allocations = eventsOf(events, alloc);
    expect(allocations.map((event) => events.poolOf(event))).toEqual([1, 0, 1, 0]);
  });
});

describe('the cleanups of a snapshot', () => {
  test.each(['graphs', 'graphs-expandable'])('are the calls that emptied the cache (%s)', async (name) => {
    const events = await small(name);
    const [at, ...others] = eventsOf(events, cleanup);
    expect(others).toEqual([]);
    expect(events.kindOf(at! + 1)).toBe(TraceKind.nativeFree);
  });

  const other = AT + 64 * MiB;
  /** Shows that there was room for more. */
  const later = entry('segment_alloc', 2 * AT, 64 * MiB);
  test.each<[string, object, number, object[]?]>([
    ['are not the frees before a segment that had found no room', entry('segment_alloc', AT, 42 * MiB), 0],
    ['are the frees before a segment that there was room for', entry('segment_alloc', AT, 2 * MiB), 1, [later]],
    ['are not the frees before a refusal', entry('oom', 0, 2 ** 40), 0],
    ['are the frees before no request', entry('alloc', AT, 8), 1],
  ])('%s', (_name, next, count, later: object[] = []) => {
    const before = [entry('segment_alloc', AT, 20 * MiB), entry('alloc', AT, 8), entry('segment_alloc', other, 20 * MiB)];
    const events = snapshot([...before, entry('segment_free', other, 20 * MiB), next, ...later]);
    expect(events.count(cleanup)).toBe(count);
  });

  test('are not the frees of an allocator that gives memory back for its age', () => {
    const history = [entry('alloc', AT, 8), entry('segment_alloc', other, 20 * MiB), entry('segment_free', other, 20 * MiB)];
    const settings = { allocator_settings: { garbage_collection_threshold: 1 } };
    expect(snapshot([...history, entry('segment_alloc', other, 2 * MiB), later]).count(cleanup)).toBe(1);
    expect(snapshot([...history, entry('segment_alloc', other, 2 * MiB), later], [], settings).count(cleanup)).toBe(0);
  });
});

describe('the completions of a snapshot', () => {
  const [request, done] = [entry('free_requested', AT, 8), entry('free_completed', AT, 8)];
  const begin = [entry('segment_alloc', AT, 2 * MiB), entry('alloc', AT, 8), entry('alloc', AT + 512, 9)];

  test('are no events where a free was complete at once', () => {
    expect(kindsOf(snapshot([...begin, request, done])).slice(1)).toEqual([alloc, alloc, free]);
  });

  test('are events where anything came between', () => {
    const between = [entry('free_requested', AT + 512, 9), entry('free_completed', AT + 512, 9)];
    const events = snapshot([...begin, request, ...between, done]);
    expect(kindsOf(events).slice(1)).toEqual([alloc, alloc, free, free, freeCompleted]);
    expect([events.pointerOf(5), events.bytesOf(5)]).toEqual([AT, 8]);
  });

  test('come at the end for what was still in use there', () => {
    const events = snapshot([...begin, entry('free_requested', AT + 512, 9), request, done]);
    expect(kindsOf(events).slice(1)).toEqual([alloc, alloc, free, free, freeCompleted]);
    expect(events.pointerOf(5)).toBe(AT + 512);
  });

  test('are not made up where the history has none', () => {
    expect(kindsOf(snapshot([...begin, request])).slice(1)).toEqual([alloc, alloc, free]);
  });
});

describe('what a snapshot says beside its events', () => {
  test('is the setting, and the segments with their blocks before the history', async () => {
    const { allocator, ...events } = await small('mempool');
    expect(allocator?.conf).toBe('');
    expect(allocator?.earlierEvents).toBe(12);
    const segments = allocator!.earlier;
    expect(segments.map(({ bytes, blocks }) => [bytes / MiB, blocks.length])).toHaveLength(6);
    for (const { address, bytes, blocks, pool, stream, expandable } of segments) {
      expect(expandable).toBe(false);
      for (const block of blocks) {
        expect(events.kinds[block.event]).toBe(alloc);
        expect(events.pools?.[block.event]).toBe(pool);
        expect(events.streams?.[block.event]).toBe(stream);
        expect(events.pointers?.[block.event]).toBe(block.address);
        expect(block.address >= address && block.address + block.blockBytes! <= address + bytes).toBe(true);
        expect(block.blockBytes! % 512).toBe(0);
      }
    }
    expect(segments.filter(({ pool }) => pool === 1).length).toBe(3);
  });

  test('is the site of a refusal', async () => {
    const events = await small('oom-frames');
    const [refusal] = eventsOf(events, outOfMemory);
    expect(events.siteOf(refusal!)).toBe('at oom (pools.py:35)\nat run (pools.py:9)\nat <module> (pools.py:38)');
    const back = parseTrace(written(events, TRACE_WRITERS.get('pytorch')!).bytes, 'x');
    expect(back.siteOf(eventsOf(back, outOfMemory)[0]!)).toBe(events.siteOf(refusal!));
  });

  test('is the site of each event, whichever list of frames it has', () => {
    const frame = (line: number) => ({ name: 'f', filename: 'a.py', line });
    const sited = [[frame(1), frame(2)], [frame(1)], [frame(2), frame(1)], [frame(1), frame(2)], []];
    const events = snapshot(sited.map((frames, i) => ({ ...entry('alloc', AT + i * 512, 8), frames })));
    const sites = sited.map((_, i) => events.siteOf(i).replaceAll('at f (a.py:', '').replaceAll(')', '').replaceAll('\n', ' '));
    expect(sites).toEqual(['1 2', '1', '2 1', '1 2', '']);
  });

  test('is the step that an event lies in, by the annotations that are open', () => {
    const mark = (name: string, stage: string, time_us: number) => ({ device: 0, name, stage, time_us });
    const events = snapshot(
      [10, 20, 30, 40, 50].map((time, i) => entry('alloc', AT + i * 512, 8, 0, time)),
      [],
      {
        external_annotations: [
          mark('step 1', 'START', 15),
          mark('forward', 'START', 25),
          mark('forward', 'END', 35),
          mark('step 1', 'END', 45),
        ],
      },
    );
    expect([0, 1, 2, 3, 4].map((event) => events.stepOf(event))).toEqual(['', 'step 1', 'step 1 > forward', 'step 1', '']);
  });

  test('is named by the innermost annotations where ends are missing', () => {
    const times = Array.from({ length: 3000 }, (_, i) => i);
    const events = snapshot(
      times.map((time) => entry('alloc', AT + time * 512, 8, 0, time)),
      [],
      { external_annotations: times.map((time) => ({ device: 0, name: `step ${time}`, stage: 'START', time_us: time })) },
    );
    expect(events.stepOf(2999).split(' > ')).toEqual(times.slice(-16).map((time) => `step ${time}`));
  });

  test.each(['stowage', 'perfetto'])('keeps pools, steps and completions in %s', async (format) => {
    const events = await small('graphs');
    const back = parseTrace(written(events, TRACE_WRITERS.get(format)!).bytes, 'x');
    expect(told(back)).toEqual(told(events));
  });
});
