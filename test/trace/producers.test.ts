import { describe, expect, test } from 'vitest';
import { parseTrace, TraceKind } from '../../src/trace/index.js';
import { told } from './random-trace.js';

/** Lines as Umpire's json_file_store writes them, for one allocator of a host resource and one pool. */
const HOST = '0x5581a0';
const POOL = '0x5581b0';
let now = 1_700_000_000_000_000_000n;
const umpire = (name: string, numeric: object, texts: object, tags: object = { replay: 'true' }): string => {
  now += 1024n;
  const line = { category: 'operation', name, numeric_args: numeric, string_args: texts, tags };
  return `${JSON.stringify(line).slice(0, -1)},"timestamp":${now}}`;
};
const make = (allocator_ref: string, allocator_name: string): string =>
  umpire('make_memory_resource', { introspection: 1 }, { allocator_ref }, { allocator_name, replay: 'true' });
const allocate = (allocator_ref: string, size: number, pointer: string): string =>
  umpire('allocate', { size }, { allocator_ref, pointer });
const deallocate = (allocator_ref: string, pointer: string): string => umpire('deallocate', {}, { allocator_ref, pointer });
const begin = (allocator_ref: string, current_ptr: string, size: number): string =>
  umpire('reallocate', { size }, { allocator_ref, current_ptr }, { allocator_name: 'x', replay: 'true' });
const end = (allocator_ref: string, new_ptr: string): string =>
  umpire('reallocate', {}, { allocator_ref, new_ptr }, { allocator_name: 'x' });
const replay = (...lines: string[]) => parseTrace([make(HOST, 'HOST'), make(POOL, 'pool'), ...lines, ''].join('\n'), 'x.stats');
const sizes = (events: ReturnType<typeof parseTrace>): string[] =>
  told(events).map(({ kind, bytes, pointers }) => `${kind === TraceKind.alloc ? '+' : '-'}${bytes}@${pointers.toString(16)}`);

describe("Umpire's replay", () => {
  test('names the allocator by the tag of its making', () => {
    const events = replay(allocate(POOL, 64, '0x1000'));
    expect(events.managerOf(0)).toBe('pool');
  });

  test('follows a reallocation that the resource does itself', () => {
    const events = replay(
      allocate(HOST, 1000, '0x2000'),
      begin(HOST, '0x2000', 5000),
      end(HOST, '0x2000'),
      begin(HOST, '0x2000', 9000),
      end(HOST, '0x8000'),
      deallocate(HOST, '0x8000'),
    );
    expect(sizes(events)).toEqual(['+1000@2000', '-1000@2000', '+5000@2000', '-5000@2000', '+9000@8000', '-9000@8000']);
    expect([events.peakLiveBytes, events.liveBlocks, events.unknownFrees]).toEqual([9000, 0, 0]);
  });

  test('counts a reallocation once that an allocator does by allocating and freeing', () => {
    const events = replay(
      allocate(POOL, 1000, '0x2000'),
      begin(POOL, '0x2000', 5000),
      allocate(POOL, 5000, '0x3000'),
      umpire('copy', { size: 1000 }, { src: '0x2000', dst: '0x3000', src_allocator_ref: POOL, dst_allocator_ref: POOL }),
      deallocate(POOL, '0x2000'),
      end(POOL, '0x3000'),
      deallocate(POOL, '0x3000'),
    );
    expect(sizes(events)).toEqual(['+1000@2000', '+5000@3000', '-1000@2000', '-5000@3000']);
    expect([events.peakLiveBytes, events.liveBlocks, events.unknownFrees]).toEqual([6000, 0, 0]);
  });

  test('counts a reallocation once that begins without a block, or ends with 0 bytes', () => {
    const events = replay(
      begin(HOST, '0', 300),
      allocate(HOST, 300, '0x2000'),
      end(HOST, '0x2000'),
      begin(HOST, '0x2000', 0),
      deallocate(HOST, '0x2000'),
      allocate(HOST, 0, '0x9000'),
      end(HOST, '0x9000'),
    );
    expect(sizes(events)).toEqual(['+300@2000', '-300@2000', '+0@9000']);
    expect(events.unknownFrees).toBe(0);
  });

  test('keeps the block of another thread that got the old address meanwhile', () => {
    const events = replay(
      allocate(HOST, 1000, '0x2000'),
      begin(HOST, '0x2000', 5000),
      allocate(HOST, 77, '0x2000'),
      end(HOST, '0x8000'),
      deallocate(HOST, '0x2000'),
    );
    expect(sizes(events)).toEqual(['+1000@2000', '-1000@2000', '+77@2000', '+5000@8000', '-77@2000']);
  });

  test('passes over the free of a null pointer, which Umpire allows', () => {
    const events = replay(allocate(HOST, 8, '0x2000'), deallocate(HOST, '(nil)'), deallocate(HOST, '0x2000'));
    expect([events.length, events.unknownFrees]).toEqual([2, 0]);
  });

  test('takes arguments that are null as left out', () => {
    const line = `{"category":"statistic","name":"current_size","numeric_args":null,"string_args":null,"tags":null,"timestamp":null}`;
    expect(replay(line, allocate(HOST, 8, '0x2000')).length).toBe(1);
  });

  test.each([
    [begin(HOST, 'top', 8), 'the pointer of the reallocation is "\\"top\\"", no address below 2^53'],
    [begin(HOST, '0x1', -8), 'the size of the reallocation is "-8", no integer below 2^53'],
    [end(HOST, 'top'), 'the new pointer of the reallocation is "\\"top\\"", no address below 2^53'],
    [umpire('allocate', { size: [8] }, {}), 'the size of the allocation is a list, no integer below 2^53'],
  ])('refuses %s', (line, reason) => {
    expect(() => replay(line)).toThrow(`x.stats:3: ${reason}`);
  });

  test('refuses a value that is nested deeper than a stack', () => {
    const line = `{"category":"operation","name":"allocate","numeric_args":{"size":${'['.repeat(30_000)}${']'.repeat(30_000)}}}`;
    expect(() => replay(line)).toThrow('x.stats:3: the size of the allocation is a list, no integer below 2^53');
  });
});

describe("RMM's log", () => {
  const log = (...rows: string[]) => parseTrace(['Thread,Time,Action,Pointer,Size,Stream', ...rows].join('\n'), 'log.csv');

  test('reads the whole rows of a program that was killed, and says where it ends', () => {
    const events = log('2342727,15:47:02.841961,allocate,0x10012400000,1048576,0', '2342727,15:47:02.84');
    expect([events.length, events.liveBytes, events.cutOff]).toEqual([1, 1_048_576, 'the file was cut off after line 2']);
  });

  test('does not take a row without its end, which may have lost digits', () => {
    const row = '2342727,15:47:02.841961,allocate,0x10012400000,1048576,0';
    expect(log(row, row.replace('0x1001', '0x2001')).length).toBe(1);
  });

  test('reads pointers and streams as hexadecimal, with or without 0x', () => {
    const events = log('1,00:00:00.000001,allocate,10012400000,8,10', '1,00:00:00.000002,free,0x10012400000,8,0x10', '');
    expect(told(events).map(({ kind, pointers, streams }) => [kind, pointers, streams])).toEqual([
      [TraceKind.alloc, 0x10012400000, 16],
      [TraceKind.free, 0x10012400000, 16],
    ]);
  });

  test('passes over the free of a null pointer', () => {
    expect(log('1,00:00:00.000001,allocate,0x10,8,0', '1,00:00:00.000002,free,(nil),0,0', '').unknownFrees).toBe(0);
  });
});

describe('a Perfetto trace', () => {
  const HEADER = '{"displayTimeUnit":"ns","otherData":{"format":"stowage 1","name":"x","clock":"ns"},"traceEvents":[\n';
  const alloc = (id: number, more = '') =>
    `{"ph":"b","cat":"block","id":${id},"name":"block","pid":1,"tid":null,"ts":1,"args":{"pointer":64,"bytes":8${more}}},\n`;

  test('is read up to its last whole line when its program was killed', () => {
    const events = parseTrace(`${HEADER}${alloc(1)}${alloc(2).slice(0, 30)}`, 'x.json');
    expect([events.length, events.cutOff]).toEqual([1, 'the file was cut off after line 2']);
    expect(parseTrace(`${HEADER}${alloc(1)}`, 'x.json').cutOff).toBe('the file was cut off after line 2');
    expect(parseTrace(`${HEADER}${alloc(1)}]}\n`, 'x.json').cutOff).toBeUndefined();
  });

  test('takes properties that are null as left out', () => {
    expect(parseTrace(`${HEADER}${alloc(1, ',"stream":null,"tag":null')}]}\n`, 'x.json').length).toBe(1);
  });
});
