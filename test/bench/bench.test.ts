import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { loadTrace } from '../../src/trace/trace-reader.js';
import { compiled } from '../fixtures/compiled.js';
import { aheadCells } from './ahead.js';
import { smallestCapacity } from './capacity.js';
import { runBench } from './command.js';
import { ContestantProcess } from './contestant-process.js';
import { lineUp, PEER_A } from './contestants.js';
import { writeEventFile } from './event-file.js';
import { buildNativePeers } from './native-peers.js';
import type { BenchRow, Measured } from './rows.js';
import { geomean, median } from './statistics.js';
import { chart } from './svg-chart.js';
import { missingText } from './text-report.js';

const ROOT = resolve(import.meta.dirname, '../..');
const PEERS = join(import.meta.dirname, 'peers');
const CACHE = join(ROOT, 'node_modules/.cache/stowage-bench-peers');
const BASE = 2n ** 32n;
const TINY = '#alloctrace v1 tiny\na 0 1000\na 1 3000000\nf 0\na 2 0\na 3 512\nf 2\nf 1\n';
const ROW_KEYS = [
  'trace',
  'allocator',
  'nsPerEvent',
  'nsRatioToPeerA',
  'nativeCalls',
  'peakReservedBytes',
  'peakLiveBytes',
  'utilisation',
  'minCapacityBytes',
];

const temp = mkdtempSync(join(tmpdir(), 'stowage-bench-test-'));
afterAll(() => rmSync(temp, { recursive: true, force: true }));

const { caching } = buildNativePeers(PEERS, CACHE);
const reason = 'reason' in caching ? caching.reason : undefined;
if (reason !== undefined && process.env['CI'] !== undefined) throw new Error(`CI compiles the peers, but ${reason}`);

function folder(name: string, files: { readonly [file: string]: string }): string {
  const path = join(temp, name);
  mkdirSync(path);
  for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), text);
  return path;
}

/** Runs the command as `npm run bench` does, over a build that is there already. */
function bench(args: readonly string[]) {
  return spawnSync(
    process.execPath,
    [join(import.meta.dirname, 'run.mjs'), '--dist', join(compiled(), 'dist'), '--managers', 'caching', ...args],
    { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } },
  );
}

/** FNV-1a over addresses, 8 bytes each, lowest first. */
function digestOf(addresses: readonly bigint[]): string {
  const bytes = new Uint8Array(BigUint64Array.from(addresses).buffer);
  let hash = 1469598103934665603n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 1099511628211n);
  return hash.toString(16).padStart(16, '0');
}

describe.skipIf(reason !== undefined)(`peer (a)${reason === undefined ? '' : ` (skipped: ${reason})`}`, () => {
  test.each(['resnet', 'dlrm'])('gives the addresses of Flashlight on the %s trace', async (name) => {
    if ('reason' in caching) throw new Error(caching.reason);
    const eventFile = join(temp, `${name}.events`);
    writeEventFile(eventFile, await loadTrace(join(ROOT, `test/traces/${name}.trace.gz`)));
    const peer = new ContestantProcess(
      { name: PEER_A, isPeer: true, native: { file: caching.file, args: [], env: {} } },
      eventFile,
      '',
    );
    try {
      const golden = gunzipSync(readFileSync(join(ROOT, `test/traces/${name}.flashlight-addr.gz`))).toString('latin1');
      const addresses = golden.trimEnd().split('\n');
      expect(await peer.cold()).toMatchObject({ digest: digestOf(addresses.map((line) => BigInt(line) + BASE)) });
      expect(await peer.fits(2 ** 30)).toBe(true);
      expect(await peer.fits(2 ** 20)).toBe(false);
    } finally {
      peer.stop();
    }
  });
});

describe('npm run bench', () => {
  beforeAll(() => void compiled());

  test('prints a row for each allocator as JSON', () => {
    const quick = ['--rounds', '7', '--warm', '0'];
    const { status, stdout, stderr } = bench(['--traces', folder('tiny', { 'tiny.trace': TINY }), '--json', ...quick]);
    expect(stderr.replaceAll(/^missing: .*\n/gm, '')).toBe('');
    expect(status).toBe(0);
    const { rows, ...rest } = JSON.parse(stdout) as { rows: BenchRow[] };
    expect(rest).toEqual({});
    for (const row of rows) {
      expect(Object.keys(row)).toEqual(ROW_KEYS);
      expect(row).toMatchObject({ trace: 'tiny', peakLiveBytes: 3_001_000 });
      expect(row.nsPerEvent).toBeGreaterThan(0);
    }
    const own = rows.find(({ allocator }) => allocator === 'caching');
    const reserved = { nativeCalls: 2, peakReservedBytes: 22 * 2 ** 20, minCapacityBytes: 22 * 2 ** 20 };
    expect(own).toMatchObject(reserved);
    expect(own?.utilisation).toBeCloseTo(3_001_000 / (22 * 2 ** 20), 12);
    if (reason === undefined) {
      expect(rows.find(({ allocator }) => allocator === PEER_A)).toMatchObject({ ...reserved, nsRatioToPeerA: 1 });
    }
    for (const peer of ['malloc through koffi (peer d)', '@thi.ng/malloc (peer e)']) {
      expect(rows.map(({ allocator }) => allocator)).toContain(peer);
    }
  });

  test('names each peer that is not there', () => {
    vi.stubEnv('CXX', 'no-such-c++');
    vi.stubEnv('CC', 'no-such-cc');
    const { contestants, missing } = lineUp(['caching'], buildNativePeers(PEERS, CACHE));
    vi.unstubAllEnvs();
    expect(contestants.map(({ name }) => name)).not.toContain(PEER_A);
    const text = missingText(missing);
    expect(text).toContain(`missing: ${PEER_A}: there is no compiler no-such-c++`);
    for (const peer of ['glibc malloc (peer b)', 'mimalloc (peer c)', 'jemalloc (peer c)'])
      expect(text).toContain(`missing: ${peer}:`);
  });

  test('ends with code 2 and one line when the folder is not there', () => {
    const { status, stdout, stderr } = bench(['--traces', join(temp, 'nowhere')]);
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^bench: [^\n]+there is no such folder[^\n]*\n$/);
  });

  test.each([
    ['a folder without traces', () => ['--traces', folder('empty', { 'notes.txt': '' })], 'the folder holds no traces'],
    ['a bad trace', () => ['--traces', folder('bad', { 'bad.trace': '#alloctrace v1 bad\na 0 x\n' })], 'bad.trace'],
    ['too few rounds', () => ['--rounds', '3'], '--rounds'],
    ['less than no warm-up', () => ['--warm', '-1'], '--warm'],
    ['a manager that is not known', () => ['--managers', 'cashing'], 'did you mean caching?'],
    ['an option that is not known', () => ['--trace', 'x'], '--traces'],
    ['a document without marks', () => ['--markdown', join(ROOT, 'README.md')], 'bench: begin'],
  ])('refuses %s in one line', async (_, args, message) => {
    const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    try {
      const places = { root: ROOT, peers: PEERS, cache: CACHE, compiled: temp };
      expect(await runBench(args(), places)).toBe(2);
      expect(write.mock.calls).toEqual([[expect.stringMatching(/^bench: [^\n]+\n$/)]]);
      expect(write.mock.calls[0]?.[0]).toContain(message);
    } finally {
      write.mockRestore();
    }
  });
});

describe('smallestCapacity', () => {
  test('finds the least capacity that fits, to 0.5 %', async () => {
    const least = 123_456_789;
    const found = await smallestCapacity(async (bytes) => bytes >= least, 1e8, 2e8);
    expect(found).toBeGreaterThanOrEqual(least);
    expect(found).toBeLessThan(least * 1.0051);
  });

  test('gives null where nothing has a capacity', async () => {
    expect(await smallestCapacity(async () => null, 1, 2)).toBeNull();
  });
});

describe('the report', () => {
  const row: BenchRow = {
    trace: 't',
    allocator: 'caching',
    nsPerEvent: 20,
    nsRatioToPeerA: 2,
    nativeCalls: 3,
    peakReservedBytes: 200,
    peakLiveBytes: 100,
    utilisation: 0.5,
    minCapacityBytes: 150,
  };
  const measured: Measured[] = [
    { row, isPeer: false, laterPeakReservedBytes: 200, notes: [] },
    {
      row: { ...row, allocator: 'a < b', nsPerEvent: 10, nsRatioToPeerA: 1, utilisation: null, nativeCalls: 9 },
      isPeer: true,
      laterPeakReservedBytes: null,
      notes: [],
    },
  ];

  test('says where a peer is ahead', () => {
    expect(aheadCells(measured)).toEqual([['caching', 'a < b on t', 'nobody', 'nobody']]);
  });

  test('draws every allocator, with its name escaped', () => {
    const svg = chart(measured);
    expect(svg).toContain('>caching</text>');
    expect(svg).toContain('>a &lt; b</text>');
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  test('takes the middle', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(geomean([1, 4])).toBeCloseTo(2, 12);
  });
});
