import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { MemoryError } from '../../src/core/errors.js';
import { convertTrace, loadTrace, parseTrace, TRACE_WRITERS, TraceKind } from '../../src/trace/index.js';
import { searchRuns } from '../config/search.js';
import { atLeast } from '../fixtures/same.js';
import { randomTrace, type ToldEvent, told, written } from './random-trace.js';

const GOLDEN = join(import.meta.dirname, 'golden');
const folder = mkdtempSync(join(tmpdir(), 'stowage-formats-'));
afterAll(() => rmSync(folder, { recursive: true }));
const formats = [...TRACE_WRITERS.keys()];
const { alloc, free, nativeAlloc, nativeFree, swap, cleanup, outOfMemory } = TraceKind;

/** What each golden file says, by its facts: the kind and the columns that are not 0 or ''. */
const FACTS: { readonly [file: string]: readonly (Partial<ToldEvent> & { kind: TraceKind })[] } = {
  'app.alloctrace': [
    { kind: alloc, slot: 0, bytes: 1000 },
    { kind: alloc, slot: 1, bytes: 512 },
    { kind: free, slot: 0, bytes: 1000 },
    { kind: alloc, slot: 0 },
    { kind: alloc, slot: 2, bytes: Number.MAX_SAFE_INTEGER },
    { kind: free, slot: 0 },
    { kind: free, slot: 1, bytes: 512 },
  ],
  'app.log': [
    { kind: nativeAlloc, bytes: 2_097_152, pointers: 140_212_345_671_680 },
    { kind: alloc, slot: 0, bytes: 1000, pointers: 140_212_345_671_680 },
    { kind: alloc, slot: 1, bytes: 512, pointers: 140_212_345_672_704 },
    { kind: free, slot: 0, bytes: 1000, pointers: 140_212_345_671_680 },
    { kind: alloc, slot: 0 },
    { kind: outOfMemory, bytes: 2 ** 46 },
    { kind: free, slot: 0 },
    { kind: cleanup },
    { kind: free, slot: 1, bytes: 512, pointers: 140_212_345_672_704 },
    { kind: nativeFree, bytes: 2_097_152, pointers: 140_212_345_671_680 },
  ],
  'app.rmm.csv': [
    { kind: alloc, slot: 0, bytes: 1024, pointers: 0x7f8596000000 },
    { kind: alloc, slot: 1, bytes: 512, pointers: 0x7f8596000400, times: 5000, streams: 2 },
    { kind: free, slot: 0, bytes: 1024, pointers: 0x7f8596000000, times: 20_000 },
    { kind: outOfMemory, bytes: 2 ** 46, times: 250_010_000 },
    { kind: alloc, slot: 0, bytes: 2048, pointers: 0x7f8596000000, times: 1_000_010_000, streams: 0x7f8600000a10 },
    { kind: alloc, slot: 2, times: 1_000_010_000 },
    { kind: free, slot: 2, times: 2_500_010_000 },
    { kind: free, slot: 1, bytes: 512, pointers: 0x7f8596000400, times: 2_500_011_000, streams: 2 },
  ],
  'app.umpire.stats': [
    { kind: alloc, slot: 0, bytes: 1_048_576, pointers: 0x7f0000000000, times: 4096, managers: 'HOST' },
    { kind: alloc, slot: 1, bytes: 1000, pointers: 0x7f0000000000, times: 5120, managers: 'pool', spaces: '0x5581b0' },
    {
      kind: alloc,
      slot: 2,
      bytes: 512,
      pointers: 0x7f0000000400,
      times: 6144,
      managers: 'pool',
      spaces: '0x5581b0',
      tags: 'weights',
    },
    { kind: free, slot: 1, bytes: 1000, pointers: 0x7f0000000000, times: 8192, managers: 'pool', spaces: '0x5581b0' },
    { kind: cleanup, times: 9216, managers: 'pool', spaces: '0x5581b0' },
    { kind: free, slot: 0, bytes: 1_048_576, pointers: 0x7f0000000000, times: 10_240, managers: 'HOST' },
  ],
  'app.pytorch.pickle': [
    { kind: nativeAlloc, bytes: 2_097_152, pointers: 0x7f0000000000 },
    { kind: alloc, slot: 0, bytes: 400, pointers: 0x7f0000000000 },
    { kind: alloc, slot: 1, bytes: 1024, pointers: 0x7f0000000200 },
    { kind: free, slot: 1, bytes: 1024, pointers: 0x7f0000000200 },
    { kind: nativeAlloc, bytes: 20_971_520, pointers: 0x7f0010000000, times: 10_000 },
    {
      kind: alloc,
      slot: 1,
      bytes: 4_194_304,
      pointers: 0x7f0010000000,
      times: 10_000,
      tags: 'weights',
      sites: 'at load (train.py:12)\nat <module> (train.py:40)',
    },
    { kind: nativeAlloc, bytes: 2_097_152, pointers: 0x7f0000000000, times: 15_000, devices: 1 },
    { kind: alloc, slot: 2, bytes: 512, pointers: 0x7f0000000000, times: 15_000, devices: 1 },
    { kind: free, slot: 2, bytes: 512, pointers: 0x7f0000000000, times: 16_000, devices: 1 },
    { kind: alloc, slot: 2, bytes: 1_048_576, pointers: 0x7f0010400000, times: 20_000, streams: 94_000_000_000_000 },
    { kind: free, slot: 2, bytes: 1_048_576, pointers: 0x7f0010400000, times: 30_000, streams: 94_000_000_000_000 },
    { kind: cleanup, times: 40_000, devices: 1 },
    { kind: nativeFree, bytes: 2_097_152, pointers: 0x7f0000000000, times: 40_000, devices: 1 },
    { kind: outOfMemory, bytes: 2 ** 40, times: 60_000 },
  ],
  'app.perfetto.json': [
    { kind: swap, times: 500, managers: 'CachingMemoryManager' },
    { kind: nativeAlloc, bytes: 2_097_152, pointers: 2 ** 32, times: 1000, devices: 1, managers: 'CachingMemoryManager' },
    {
      kind: alloc,
      slot: 0,
      bytes: 1000,
      pointers: 2 ** 32,
      times: 1000,
      devices: 1,
      streams: 3,
      managers: 'CachingMemoryManager',
      tags: 'weights',
      sites: 'at load (app.mjs:3:5)\nat app.mjs:9:1',
    },
    { kind: alloc, slot: 1, bytes: 64, pointers: 2 ** 52, times: 1000, managers: 'DefaultMemoryManager', spaces: 'pinned' },
    { kind: free, slot: 0, bytes: 1000, pointers: 2 ** 32, times: 2250, devices: 1, managers: 'CachingMemoryManager' },
    { kind: outOfMemory, bytes: 2 ** 46, times: 2250, managers: 'CachingMemoryManager' },
    { kind: cleanup, times: 2250, managers: 'CachingMemoryManager' },
    { kind: nativeFree, bytes: 2_097_152, pointers: 2 ** 32, times: 2250, devices: 1, managers: 'CachingMemoryManager' },
  ],
};
const NOTHING: Omit<ToldEvent, 'kind'> = {
  bytes: 0,
  slot: -1,
  times: 0,
  pointers: 0,
  devices: 0,
  streams: 0,
  managers: '',
  pools: 0,
  steps: '',
  tags: '',
  sites: '',
  spaces: '',
};

describe('loadTrace', () => {
  test('reads a Perfetto trace of the first version, which wrote sites out wherever they stood', async () => {
    const [first, present] = ['app.perfetto-1.json', 'app.perfetto.json'].map((file) => loadTrace(join(GOLDEN, file)));
    expect(told(await first!)).toEqual(told(await present!));
  });

  test.each(Object.keys(FACTS))('reads %s to what its facts say', async (file) => {
    expect(told(await loadTrace(join(GOLDEN, file)))).toEqual(FACTS[file]!.map((fact) => ({ ...NOTHING, ...fact })));
  });

  test.each(Object.keys(FACTS))('reads %s gzipped', async (file) => {
    const path = join(folder, `${file}.gz`);
    writeFileSync(path, gzipSync(readFileSync(join(GOLDEN, file))));
    expect(told(await loadTrace(path))).toEqual(told(await loadTrace(join(GOLDEN, file))));
  });
});

describe('TRACE_WRITERS', () => {
  const golden = async (file: string) => ({
    events: await loadTrace(join(GOLDEN, file)),
    text: readFileSync(join(GOLDEN, file), 'utf8'),
  });

  test.each([
    ['alloctrace', 'app.alloctrace'],
    ['perfetto', 'app.perfetto.json'],
  ])('%s writes its golden file to the byte', async (format, file) => {
    const { events, text } = await golden(file);
    expect(written(events, TRACE_WRITERS.get(format)!).bytes.toString()).toBe(text);
  });

  test('rmm writes rows as its logging adaptor does', () => {
    const events = parseTrace(readFileSync(join(GOLDEN, 'app.rmm.csv')), 'app.rmm.csv');
    expect(written(events, TRACE_WRITERS.get('rmm')!).bytes.toString().split('\n').slice(0, 6)).toEqual([
      'Thread,Time,Action,Pointer,Size,Stream',
      '1,00:00:00.000000,allocate,0x7f8596000000,1024,0x0',
      '1,00:00:00.000005,allocate,0x7f8596000400,512,0x2',
      '1,00:00:00.000020,free,0x7f8596000000,1024,0x0',
      '1,00:00:00.250010,allocate failure,(nil),70368744177664,0x0',
      '1,00:00:01.000010,allocate,0x7f8596000000,2048,0x7f8600000a10',
    ]);
  });

  test('umpire writes the lines that its replay code writes', () => {
    const events = parseTrace(readFileSync(join(GOLDEN, 'app.umpire.stats')), 'app.umpire.stats');
    const lines = written(events, TRACE_WRITERS.get('umpire')!).bytes.toString().split('\n');
    expect(lines.slice(2, 6)).toEqual([
      '{"category":"operation","name":"allocate","numeric_args":{"size":1048576},"string_args":{"allocator_ref":"0x1","pointer":"0x7f0000000000"},"tags":{"replay":"true"},"timestamp":4096}',
      expect.stringContaining('"name":"make_allocator"'),
      expect.stringContaining('"numeric_args":{"size":1000}'),
      expect.stringContaining('"name":"named_allocate"'),
    ]);
  });

  test.each(formats)('%s keeps every event and column that it says it holds', (format) => {
    fc.assert(
      fc.property(randomTrace, (events) => {
        const { bytes, writer } = written(events, TRACE_WRITERS.get(format)!);
        // A reader may infer a cleanup that the format does not hold.
        const back = inOrder(
          format,
          told(parseTrace(bytes, 'random')).filter(({ kind }) => writer.kinds.includes(kind)),
        );
        const first = told(events).find((event) => writer.kinds.includes(event.kind) && !isDropped(format, event));
        const held = inOrder(
          format,
          told(events).filter((event) => writer.kinds.includes(event.kind) && !isDropped(format, event)),
        );
        expect(back.map(({ kind, bytes }) => [kind, bytes])).toEqual(held.map(({ kind, bytes }) => [kind, bytes]));
        for (const column of writer.columns) {
          expect(back.map((event) => event[column])).toEqual(held.map((event) => kept(format, column, event, first!)));
        }
        const dropped = told(events).filter((event) => event.kind === alloc && isDropped(format, event)).length;
        expect(writer.dropped?.get('empty block') ?? 0).toBe(dropped);
      }),
      { numRuns: searchRuns(150) },
    );
  });

  test.each(formats)('%s keeps the blocks of real programs', async (format) => {
    const events = await loadTrace('test/traces/resnet.trace.gz');
    const { bytes } = written(events, TRACE_WRITERS.get(format)!);
    const back = parseTrace(bytes, 'resnet');
    const isCall = (event: number) => back.slotOf(event) >= 0;
    const calls = Array.from(back.slots.keys()).filter(isCall);
    expect(calls.map((event) => back.slots[event])).toEqual([...events.slots]);
    expect(calls.map((event) => back.bytesOf(event))).toEqual([...events.bytes]);
  });

  test.each(formats)('%s gives no two live blocks one address when a trace has none', async (format) => {
    const events = parseTrace('#alloctrace v1 x\na 0 8\na 1 8\nf 0\na 2 8\na 3 4096\n', 'x');
    const back = parseTrace(written(events, TRACE_WRITERS.get(format)!).bytes, 'x');
    const live = new Map<number, number>();
    for (let i = 0; i < back.length; i++) {
      if (back.isFree(i)) live.delete(back.slotOf(i));
      else if (back.isAlloc(i)) {
        expect(format === 'alloctrace' || ![...live.values()].includes(back.pointerOf(i))).toBe(true);
        live.set(back.slotOf(i), back.pointerOf(i));
      }
    }
    expect(live.size).toBe(3);
  });
});

describe('convertTrace', () => {
  test('names what the new format cannot hold', async () => {
    const lost = async (format: string) =>
      (await convertTrace(join(GOLDEN, 'app.perfetto.json'), { write: () => undefined }, TRACE_WRITERS.get(format)!)).lost;
    expect(await lost('stowage')).toEqual([]);
    expect(await lost('perfetto')).toEqual([]);
    expect(await lost('rmm')).toEqual([
      '1 native allocation',
      '1 native free',
      '1 swap',
      '1 cleanup',
      'devices',
      "managers' names",
      'tags',
      'allocation sites',
      'spaces',
    ]);
    expect(await lost('pytorch')).toEqual(['1 swap', '1 cleanup', "managers' names", 'spaces']);
  });

  test('tells pointers apart that are live in two spaces', async () => {
    const events = parseTrace(readFileSync(join(GOLDEN, 'app.umpire.stats')), 'x');
    const back = parseTrace(written(events, TRACE_WRITERS.get('rmm')!).bytes, 'x');
    expect([back.allocations, back.count(free), back.unknownFrees]).toEqual([3, 2, 0]);
    expect(new Set([0, 1, 2].map((event) => back.pointerOf(event))).size).toBe(3);
  });
});

describe('parseTrace', () => {
  const inputs = [
    ...Object.keys(FACTS).map((file) => [file, readFileSync(join(GOLDEN, file))] as const),
    [
      'stowage',
      written(parseTrace(readFileSync(join(GOLDEN, 'app.perfetto.json')), 'x'), TRACE_WRITERS.get('stowage')!).bytes,
    ] as const,
    [
      'pytorch of this library',
      written(parseTrace(readFileSync(join(GOLDEN, 'app.perfetto.json')), 'x'), TRACE_WRITERS.get('pytorch')!).bytes,
    ] as const,
  ];

  /** Reads bytes, and is content with events or with an error of one line that names the file. */
  function survives(bytes: Buffer): void {
    try {
      const events = parseTrace(bytes, 'bad.trace');
      atLeast(2 * bytes.length, events.length);
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_BAD_INPUT')) throw error;
      if (!/^bad\.trace[^\n]*$/.test(error.message)) expect.fail(error.message);
    }
  }

  test.each(inputs)('of %s survives being cut at every byte', (_, bytes) => {
    for (let length = 0; length < bytes.length; length++) survives(bytes.subarray(0, length));
  });

  test.each(inputs)('of %s survives changed bytes', (_, bytes) => {
    const change = fc.tuple(fc.nat(bytes.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const changed = Buffer.from(bytes);
        for (const [at, value] of changes) changed[at] = value;
        survives(changed);
      }),
      { numRuns: searchRuns(500) },
    );
  });

  test.each([
    ['app.rmm.csv', 3, '4711,23:59:59.999995,allocate,0x7f8596000400,-512,0x2', 'the size "-512" is not an integer below 2^53'],
    ['app.rmm.csv', 3, '4711,23:59:59.999995,allocate,(nil),512,0x2', 'an allocation of 512 bytes has no pointer'],
    ['app.rmm.csv', 3, '4711,23:59:99,allocate,0x1,512,0x2', 'the time "23:59:99" is not hh:mm:ss.us'],
    ['app.rmm.csv', 3, '4711,23:59:59,grow,0x1,512,0x2', 'the action "grow" is not known: a line reads'],
    ['app.rmm.csv', 3, 'x', '"x" is no row of a log: a line reads'],
    ['app.umpire.stats', 4, '{"category":', 'is no JSON object'],
    [
      'app.umpire.stats',
      4,
      '{"category":"operation","name":"allocate","numeric_args":{"size":-1},"string_args":{"pointer":"0x1"}}',
      'the size of the allocation is "-1", no integer below 2^53',
    ],
    [
      'app.umpire.stats',
      4,
      '{"category":"operation","name":"deallocate","string_args":{"pointer":"top"}}',
      'the pointer of the free is "\\"top\\"", no address below 2^53',
    ],
    [
      'app.perfetto.json',
      6,
      '{"ph":"b","cat":"block","id":1,"ts":1,"tid":0,"args":{"bytes":1.5,"pointer":0}},',
      'the size is "1.5"',
    ],
    ['app.perfetto.json', 11, '{"ph":"e","cat":"block","id":99,"ts":1,"tid":0},', 'the id "99" is that of no live block'],
    ['app.perfetto.json', 1, '{"displayTimeUnit":"ns","otherData":{"x":1},"traceEvents":[', 'was not written by this library'],
  ])('of %s with a bad line %i names file, line and reason', (file, line, bad, reason) => {
    const lines = readFileSync(join(GOLDEN, file), 'utf8').split('\n');
    lines[line - 1] = bad;
    expect(() => parseTrace(lines.join('\n'), file)).toThrow(`${file}:${line}: `);
    expect(() => parseTrace(lines.join('\n'), file)).toThrow(reason);
  });
});

/** Whether a format that holds a kind cannot hold this event of it. */
function isDropped(format: string, { kind, bytes }: ToldEvent): boolean {
  return format === 'pytorch' && (kind === alloc || kind === free) && bytes === 0;
}

/** A snapshot has a list for each device: what happened in the same microsecond on two devices has no order. */
function inOrder(format: string, events: readonly ToldEvent[]): readonly ToldEvent[] {
  return format === 'pytorch' ? [...events].sort((a, b) => a.devices - b.devices) : events;
}

/** A column's value as a format keeps it: some have microseconds, counted from the first event. */
function kept(format: string, column: keyof ToldEvent, event: ToldEvent, first: ToldEvent): unknown {
  if (column === 'times' && (format === 'rmm' || format === 'pytorch')) {
    return (Math.floor(event.times / 1000) - Math.floor(first.times / 1000)) * 1000;
  }
  if (format === 'umpire' && column === 'managers' && event.kind === free) return expect.any(String);
  return event[column];
}
