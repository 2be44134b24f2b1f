import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { type PickleDictionary, PickleReader } from '../../src/trace/formats/pickle-reader.js';
import { loadTrace, parseTrace, TRACE_WRITERS, type TraceEvents } from '../../src/trace/index.js';
import { searchRuns } from '../config/search.js';
import { randomTrace, written } from './random-trace.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-pytorch-'));
afterAll(() => rmSync(folder, { recursive: true }));
const snapshotOf = (events: TraceEvents): Buffer => written(events, TRACE_WRITERS.get('pytorch')!).bytes;
const python = spawnSync('python3', ['--version'], { encoding: 'utf8' });
if (python.error !== undefined && process.env['CI'] !== undefined) throw python.error;

interface Block {
  address: number;
  size: number;
  requested_size: number;
  state: string;
  frames: unknown[];
}

interface Segment {
  device: number;
  address: number;
  total_size: number;
  allocated_size: number;
  active_size: number;
  requested_size: number;
  blocks: Block[];
}

interface Snapshot {
  segments: Segment[];
  device_traces: { action: string; addr?: number; device_free?: number; size: number }[][];
}

/** The instructions that PyTorch's viewer has, by the first byte, and how many bytes follow; -1 and -4 for a length and text. */
const VIEWER: ReadonlyMap<number, number> = new Map([
  [0x80, 1],
  [0x7d, 0],
  [0x5d, 0],
  [0x28, 0],
  [0x65, 0],
  [0x75, 0],
  [0x86, 0],
  [0x88, 0],
  [0x89, 0],
  [0x4a, 4],
  [0x4b, 1],
  [0x4d, 2],
  [0x8a, -1],
  [0x58, -4],
  [0x71, 1],
  [0x72, 4],
  [0x68, 1],
  [0x6a, 4],
  [0x2e, 0],
]);

/** Walks over the instructions as the viewer does. @returns the most values that one instruction appends or sets */
function walk(pickle: Buffer): number {
  let at = 0;
  let most = 0;
  let depth = 0;
  const marks: number[] = [];
  for (;;) {
    const opcode = pickle[at++]!;
    const operand = VIEWER.get(opcode);
    if (operand === undefined) throw new Error(`the viewer has no instruction 0x${opcode.toString(16)} (byte ${at - 1})`);
    if (operand === -1) at += 1 + pickle[at]!;
    else if (operand === -4) at += 4 + pickle.readUInt32LE(at);
    else at += operand;
    if (opcode === 0x28) marks.push(depth);
    else if (opcode === 0x65 || opcode === 0x75) {
      const mark = marks.pop()!;
      most = Math.max(most, depth - mark);
      depth = mark;
    } else if (opcode === 0x86) depth--;
    else if (opcode === 0x2e) {
      expect([depth, marks.length, at]).toEqual([1, 0, pickle.length]);
      return most;
    } else if (![0x80, 0x71, 0x72].includes(opcode)) depth++;
  }
}

/** What the viewer takes for granted about a snapshot. */
function checkForViewer(snapshot: Snapshot): void {
  const live = new Map<string, number>();
  snapshot.device_traces.forEach((trace, device) => {
    for (const { action, addr, size } of trace) {
      if (action === 'alloc') live.set(`${device} ${addr}`, size);
      else if (action === 'free_completed') live.delete(`${device} ${addr}`);
    }
  });
  const seen = new Map<string, number>();
  for (const segment of snapshot.segments) {
    expect(snapshot.device_traces[segment.device]).toBeDefined();
    let next = segment.address;
    for (const block of segment.blocks) {
      expect(block.address).toBe(next);
      expect(block.size).toBeGreaterThan(0);
      expect(['active_allocated', 'inactive']).toContain(block.state);
      if (block.state === 'active_allocated') seen.set(`${segment.device} ${block.address}`, block.size);
      next += block.size;
    }
    expect(next).toBe(segment.address + segment.total_size);
    const sum = (blocks: Block[], of: 'size' | 'requested_size') => blocks.reduce((total, block) => total + block[of], 0);
    const active = segment.blocks.filter(({ state }) => state === 'active_allocated');
    expect(segment.allocated_size).toBe(sum(active, 'size'));
    expect(segment.active_size).toBe(sum(active, 'size'));
    expect(segment.requested_size).toBe(sum(active, 'requested_size'));
  }
  expect([...seen].sort()).toEqual([...live].sort());
  expect(snapshot.device_traces.flat().some((entry) => 'category' in entry)).toBe(false);
  checkHistory(snapshot);
}

/** Every block lies in a segment at every moment: the viewer goes back from the segments at the end. */
function checkHistory(snapshot: Snapshot): void {
  snapshot.device_traces.forEach((trace, device) => {
    const segments = snapshot.segments
      .filter((segment) => segment.device === device)
      .map(({ address, total_size }) => ({ start: address, end: address + total_size }));
    for (const { action, addr = 0, size } of [...trace].reverse()) {
      if (action === 'segment_free') segments.push({ start: addr, end: addr + size });
      if (action === 'segment_alloc') {
        const at = segments.findIndex(({ start }) => start === addr);
        expect(at).toBeGreaterThanOrEqual(0);
        segments.splice(at, 1);
      }
      if (action === 'alloc') expect(segments.some(({ start, end }) => start <= addr && addr + size <= end)).toBe(true);
    }
  });
}

describe('PyTorchWriter', () => {
  test.each(['resnet'])('writes a snapshot of %s as the viewer takes it', async (name) => {
    const pickle = snapshotOf(await loadTrace(`test/traces/${name}.trace.gz`));
    expect(walk(pickle)).toBeLessThanOrEqual(2000);
    const snapshot = new PickleReader(pickle).read() as unknown as Snapshot;
    expect(snapshot.segments.length).toBeGreaterThan(0);
    checkForViewer(snapshot);
  });

  test('writes snapshots of random recordings as the viewer takes them', () => {
    fc.assert(
      fc.property(randomTrace, (events) => {
        const pickle = snapshotOf(events);
        walk(pickle);
        checkForViewer(new PickleReader(pickle).read() as unknown as Snapshot);
      }),
      { numRuns: searchRuns(150) },
    );
  });

  test('gives a live block whose native memory went before it a segment', () => {
    const log = ['nativeAlloc 4096 65536 ', 'alloc 512 1 65536 ', 'alloc 512 1 67584 ', 'nativeFree 65536 ', ''].join('\n');
    checkForViewer(new PickleReader(snapshotOf(parseTrace(log, 'x.log'))).read() as unknown as Snapshot);
  });

  test('cuts segments where native calls did, and joins what a block lies across', () => {
    const log = ['nativeAlloc 4096 65536 ', 'nativeAlloc 4096 69632 ', 'nativeAlloc 4096 73728 ', 'alloc 6000 1 65536 ', ''].join(
      '\n',
    );
    const { segments } = new PickleReader(snapshotOf(parseTrace(log, 'x.log'))).read() as unknown as Snapshot;
    expect(segments.map(({ address, total_size }) => [address, total_size])).toEqual([
      [65_536, 8192],
      [73_728, 4096],
    ]);
  });

  test.skipIf(python.error !== undefined)('writes what Python reads to the same values', () => {
    fc.assert(
      fc.property(randomTrace, (events) => {
        const pickle = snapshotOf(events);
        const file = join(folder, 'snapshot.pickle');
        writeFileSync(file, pickle);
        const script = 'import json, pickle, sys; json.dump(pickle.load(open(sys.argv[1], "rb")), sys.stdout)';
        const { stdout, stderr } = spawnSync('python3', ['-c', script, file], { encoding: 'utf8', maxBuffer: 2 ** 28 });
        expect(stderr).toBe('');
        expect(JSON.parse(stdout)).toEqual(JSON.parse(JSON.stringify(new PickleReader(pickle).read())));
      }),
      { numRuns: 5 },
    );
  });
});

describe('PickleReader', () => {
  test.skipIf(python.error !== undefined).each([2, 3, 4, 5])('reads what Python pickles by protocol %i', (protocol) => {
    const script = `
import pickle, sys
shared = ["a", {"b": None}]
value = {"list": list(range(2500)), "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)], "shared": [shared, shared],
  "numbers": [0, 255, 256, 65535, 65536, -1, -2147483648, 2147483648, -2147483649, 2 ** 53 - 1, -(2 ** 53) + 1, 0.5, -1e300],
  "texts": ["", "x" * 300, "zw\\u00f6lf \\U0001f9e0"], "flags": [True, False, None], "bytes": [b"ab"] if ${protocol} > 2 else []}
sys.stdout.buffer.write(pickle.dumps(value, ${protocol}))`;
    const { stdout, stderr } = spawnSync('python3', ['-c', script]);
    expect(stderr.toString()).toBe('');
    const value = new PickleReader(stdout).read() as PickleDictionary;
    const shared = value['shared'] as unknown[];
    expect(value).toMatchObject({
      list: Array.from({ length: 2500 }, (_, i) => i),
      tuples: [[], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4]],
      numbers: [
        0,
        255,
        256,
        65_535,
        65_536,
        -1,
        -(2 ** 31),
        2 ** 31,
        -(2 ** 31) - 1,
        Number.MAX_SAFE_INTEGER,
        -Number.MAX_SAFE_INTEGER,
        0.5,
        -1e300,
      ],
      texts: ['', 'x'.repeat(300), 'zwölf 🧠'],
      flags: [true, false, null],
    });
    expect(shared[0]).toBe(shared[1]);
    expect(shared[0]).toEqual(['a', { b: null }]);
  });

  const bad = (...bytes: (number | string)[]): Buffer =>
    Buffer.concat(bytes.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.of(part))));

  test.each([
    ['a global', bad(0x80, 2, 'cposix\nsystem\n', '.'), 'byte 2: the instruction 0x63 builds no plain data, and is not executed'],
    ['a call', bad(0x80, 2, 'N', ')', 'R', '.'), 'byte 4: the instruction 0x52 builds no plain data, and is not executed'],
    ['a global by names on the stack', bad(0x80, 4, 0x8c, 1, 'a', 0x8c, 1, 'b', 0x93, '.'), 'byte 8: the instruction 0x93'],
    ['an object', bad(0x80, 2, 'N', ')', 0x81, '.'), 'byte 4: the instruction 0x81'],
    ['a persistent id', bad(0x80, 2, 'Px\n.'), 'byte 2: the instruction 0x50'],
    ['an extension', bad(0x80, 2, 0x82, 1, '.'), 'byte 2: the instruction 0x82'],
    ['a prototype', bad(0x80, 2, '}X', 9, 0, 0, 0, '__proto__', '}', 's.'), 'byte 18: a key is "__proto__"'],
    ['an empty stack', bad(0x80, 2, '.'), 'byte 3: there is no value here'],
    ['an unknown number', bad(0x80, 2, 'h', 7, '.'), 'byte 2: there is no value with number 7'],
    ['a text longer than the file', bad(0x80, 2, 'X', 255, 255, 0, 0, 'ab'), 'byte 9: the pickle is cut off'],
    ['another root', bad(0x80, 2, 'N', '.'), 'the pickle is no snapshot: it is no dictionary and no list'],
    [
      'a number that no value can have',
      bad(0x80, 2, '}r', 255, 255, 255, 255, '.'),
      'byte 3: 4294967295 is no number of a value',
    ],
    ['an empty list of segments', bad(0x80, 2, ']', '.'), 'there are no allocations in its 0 segments and 0 entries'],
    ['values that lie deep', bad(0x80, 2, '('.repeat(300), '.'), 'byte 258: values lie more than 256 deep'],
    [
      'what unpacks to much more than its bytes',
      bad(0x80, 2, '}'.repeat(100_000)),
      'byte 7276: there are more than 7274 lists and dictionaries, too many for a snapshot of its size',
    ],
    ['no traces', bad(0x80, 2, '}X', 8, 0, 0, 0, 'segments', ']', 's.'), 'the pickle is no snapshot: it has no "device_traces"'],
  ])('refuses %s', (_, bytes, reason) => {
    expect(() => parseTrace(bytes, 'x.pickle')).toThrow(`x.pickle: ${reason}`);
  });

  test('refuses a list that is named over and over', () => {
    // A trace of 1000 entries that are one and the same, for 1000 devices that have one and the same trace.
    const text = (value: string) => `X${String.fromCharCode(value.length)}\0\0\0${value}`;
    const trace = `]q\u0002(}q\u0001${'h\u0001'.repeat(999)}e`;
    const pickle = `}(${text('device_traces')}](${trace}${'h\u0002'.repeat(999)}e${text('segments')}]u.`;
    expect(() => parseTrace(Buffer.from(`\u0080\u0002${pickle}`, 'latin1'), 'x.pickle')).toThrow(
      'entry 45 of device 4: the pickle names the same values over and over',
    );
  });
});

describe('the golden snapshot', () => {
  test('is read again after it was written', async () => {
    const golden = readFileSync(join(import.meta.dirname, 'golden', 'app.pytorch.pickle'));
    const events = parseTrace(golden, 'x');
    const again = parseTrace(snapshotOf(events), 'x');
    expect(again.counts).toEqual(events.counts);
    checkForViewer(new PickleReader(snapshotOf(events)).read() as unknown as Snapshot);
  });
});
