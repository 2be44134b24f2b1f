import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CUDA, HIP } from '../../adapters/devices/gpu/gpu-status.js';
import { GiB, KiB, MiB } from '../../src/core/units.js';
import { codeOf } from '../fixtures/code-of.js';
import { compiled } from '../fixtures/compiled.js';
import { GpuFixture } from '../fixtures/gpu-fixture.js';
import { parseSettings } from './gpu-program.js';
import { type GpuReport, writeReport } from './gpu-report.js';
import { measureTables } from './main.js';

const ROOT = resolve(import.meta.dirname, '../..');
const DOCUMENT = 'before\n<!-- gpu: begin -->\nold\n<!-- gpu: end -->\nafter\n';
const fixtures = { cuda: new GpuFixture('cuda'), hip: new GpuFixture('hip') };
const scratch = mkdtempSync(join(tmpdir(), 'stowage-gpu-test-'));
const document = join(scratch, 'gpu.md');
const traces = join(scratch, 'traces');
/** So little that a run takes a second. */
const LITTLE = ['--traces', traces, '--events', '100', '--rounds', '1', '--copies', '64KiB'];

beforeAll(async () => {
  mkdirSync(traces);
  copyFileSync(join(ROOT, 'test/traces/resnet.trace.gz'), join(traces, 'resnet.trace.gz'));
  mkdirSync(CACHE, { recursive: true });
  programFolder = mkdtempSync(join(CACHE, 'stowage-gpu-test-'));
  const { compileGpuProgram } = (await import(new URL('compile.mjs', import.meta.url).href)) as Compiler;
  program = compileGpuProgram(programFolder, join(compiled(), 'dist'));
}, 120_000);
afterAll(() => {
  for (const folder of [scratch, programFolder]) rmSync(folder, { recursive: true });
});

/** Runs a program of this folder. */
function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', env });
  return { status, stdout, stderr };
}

interface Compiler {
  compileGpuProgram(target: string, dist: string): string;
}

// Below the root, since the program loads what is installed there.
const CACHE = join(ROOT, 'node_modules/.cache');
let programFolder: string;
/** What `npm run gpu` compiles before it runs it. */
let program: string;

/** Runs `npm run gpu` on the fixture. @param build - what it is to compile, or has compiled already */
function runGpu(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  { kind = 'cuda' as keyof typeof fixtures, build = ['--program', program] } = {},
) {
  const card = ['--device', kind, '--library', fixtures[kind].library];
  const all = [join(import.meta.dirname, 'run.mjs'), ...build, ...card, ...args];
  return run(process.execPath, all, { ...process.env, NODE_OPTIONS: '', ...env });
}

describe('measureTables', () => {
  test.each(['cuda', 'hip'] as const)('measures every allocator and every copy, and leaves nothing behind (%s)', async (kind) => {
    const fixture = fixtures[kind];
    const device = fixture.fresh({ deviceCount: 1, capacityBytes: 2 * GiB });
    const args = ['--device', kind, '--library', fixture.library, ...LITTLE];
    const settings = parseSettings(args, { traces: '', out: document })!;
    const { allocations, fills, bandwidths } = await measureTables(device, settings);
    const native = [`${kind}Malloc/${kind}Free`, `${kind}MallocAsync/${kind}FreeAsync`];
    expect([...new Set(allocations.map((row) => row.allocator))]).toEqual([...native, 'caching', 'tlsf', 'pool']);
    expect(allocations).toHaveLength(5);
    for (const row of allocations) expect(Math.min(row.firstUsPerEvent, row.laterUsPerEvent)).toBeGreaterThan(0);
    expect(fills).toMatchObject([
      { manager: 'caching', blocks: 15, blockBytes: 128 * MiB },
      { manager: 'pool', blocks: 16, blockBytes: 128 * MiB },
    ]);
    expect(bandwidths.map((row) => `${row.memory} ${row.direction}`)).toEqual(
      ['pageable', 'pinned', kind === 'hip' ? 'hipHostMalloc/hipHostFree' : 'cudaMallocHost/cudaFreeHost'].flatMap((memory) => [
        `${memory} to the card`,
        `${memory} from the card`,
      ]),
    );
    for (const row of bandwidths) expect(row.gibPerSecond).toBeGreaterThan(0);
    expect([fixture.used(0), fixture.liveRanges, fixture.pending, device.liveBytes]).toEqual([0, 0, 0, 0]);
  });
});

describe('parseSettings', () => {
  const defaults = { traces: 'traces', out: 'gpu.md' };

  test('has defaults, and takes what it is told', () => {
    const usual = { dialect: CUDA, library: undefined, traces: 'traces', events: 20_000, rounds: 5, out: 'gpu.md' };
    const copyBytes = [64 * KiB, MiB, 16 * MiB, 256 * MiB];
    expect(parseSettings([], defaults)).toEqual({ ...usual, copyBytes });
    const args = [
      '--device',
      'hip',
      '--library',
      'l',
      '--traces',
      't',
      '--events',
      '7',
      '--rounds',
      '9',
      '--copies',
      '1MiB,5B',
      '--no-out',
    ];
    const told = { dialect: HIP, library: 'l', traces: 't', events: 7, copyBytes: [MiB, 5], rounds: 9, out: undefined };
    expect(parseSettings(args, defaults)).toEqual(told);
    expect(parseSettings(['--help'], defaults)).toBeUndefined();
  });

  test.each([
    [['--device', 'opencl']],
    [['--events', '0']],
    [['--rounds', '1e3']],
    [['--copies', '1MiB,']],
    [['--nonsense']],
    [['stray']],
  ])('refuses %j', (args) => {
    expect(codeOf(() => parseSettings(args, defaults))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });
});

describe('writeReport', () => {
  const report: GpuReport = {
    facts: ['On a day: a card.'],
    conformance: 'It passes.',
    examples: [{ name: 'cublas.mts', text: 'It multiplies.', isDone: true }],
    events: 1000,
    rounds: 3,
    allocations: [
      { allocator: 'pool', trace: 'a', firstUsPerEvent: 2, laterUsPerEvent: 1 },
      { allocator: 'pool', trace: 'b', firstUsPerEvent: 4, laterUsPerEvent: 3 },
    ],
    fills: [{ manager: 'pool', blocks: 139, blockBytes: GiB, ms: 250.25, againMs: 0.5 }],
    bandwidths: [{ memory: 'pinned', direction: 'to the card', bytes: 64 * KiB, gibPerSecond: 12.345 }],
  };

  test('writes between the marks, and again in the place of what it wrote', () => {
    for (let i = 0; i < 2; i++) {
      if (i === 0) writeFileSync(document, DOCUMENT);
      writeReport(document, report);
      const text = readFileSync(document, 'utf8');
      expect(text).toMatch(
        /^before\n<!-- gpu: begin -->\n\n- On a day: a card\.\n\nIt passes\.\n\n- `cublas\.mts`: It multiplies\.\n/,
      );
      expect(text).toContain('| allocator | a | b |\n| --- | --- | --- |\n| pool | 1.00 (2.00) | 3.00 (4.00) |\n');
      expect(text).toMatch(/\| manager \| blocks of 1\.00 GiB \|\n.*\n\| pool \| 250\.[23] \(0\.5\) for 139 \|\n/);
      expect(text).toMatch(/\| pinned, to the card \| 12\.3[45] \|\n\n<!-- gpu: end -->\nafter\n$/);
    }
  });

  test.each(['nothing', '<!-- gpu: end --><!-- gpu: begin -->'])('refuses a document without marks: %j', (text) => {
    writeFileSync(document, text);
    expect(codeOf(() => writeReport(document, report))).toBe('ERR_MEM_BAD_INPUT');
    expect(readFileSync(document, 'utf8')).toBe(text);
    expect(codeOf(() => writeReport(join(scratch, 'none.md'), report))).toBe('ERR_MEM_BAD_INPUT');
  });
});

describe('npm run gpu', () => {
  test('runs the suite and the tables, and writes the document', () => {
    writeFileSync(document, DOCUMENT);
    const { status, stdout, stderr } = runGpu(
      ['--out', document, ...LITTLE],
      {},
      { build: ['--dist', join(compiled(), 'dist')] },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringContaining('written to') });
    expect(readFileSync(document, 'utf8')).toBe(`before\n<!-- gpu: begin -->\n\n${stdout.trim()}\n\n<!-- gpu: end -->\nafter\n`);
    // As many tests as vitest registers for the fixture.
    expect(Number(/suite of devices passes: (\d+) tests/.exec(stdout)?.[1])).toBeGreaterThan(40);
    const [, passed, all] = /has beside passes: (\d+) tests of (\d+)\./.exec(stdout) ?? [];
    expect([passed, Number(all) > 40]).toEqual([all, true]);
    expect(stdout).toMatch(
      /^- `devices\.mts`: a fixture on the CPU sent 42 back\n- `cublas\.mts`: cuBLAS (is absent|got 65536)/m,
    );
    expect(stdout).toMatch(/^- `cuda-kernel\.mts`: (the kernel got 4096 of|(NVRTC|libcuda\.so\.1) is absent)/m);
  });

  test('measures copies on a card that places device memory right before memory of the host', () => {
    // Under HIP, which has no examples to run beside.
    const { status, stderr } = runGpu(['--no-out', ...LITTLE], { GPU_FIXTURE_ADJACENT: '1' }, { kind: 'hip' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringContaining('measured resnet') });
  });

  test('names each test that fails, and writes nothing', () => {
    writeFileSync(document, DOCUMENT);
    const { status, stderr } = runGpu(['--out', document], { GPU_FIXTURE_FORGETS_FILLS: '1' });
    expect(stderr).toMatch(/^failed: .*cuda > fill > sets each byte of the range and no other: expected /m);
    expect(stderr).toMatch(/^gpu: \d+ of \d+ tests failed; nothing was written$/m);
    expect(status).toBe(1);
    expect(readFileSync(document, 'utf8')).toBe(DOCUMENT);
  });

  test('measures all the same on a card that lacks something beside, and writes nothing', () => {
    writeFileSync(document, DOCUMENT);
    const lacking = { GPU_FIXTURE_MOVES_NOTHING: '1' };
    const { status, stdout, stderr } = runGpu(['--out', document, ...LITTLE], lacking, { kind: 'hip' });
    expect(stderr).toMatch(/^failed: a card > moves managed memory, and takes advice about it: hipMemPrefetchAsync failed: /m);
    expect(stderr).toMatch(/^gpu: 1 failed; nothing was written$/m);
    expect({ status, stdout }).toEqual({ status: 1, stdout: expect.stringContaining('GiB/s of one copy after the other') });
    expect(readFileSync(document, 'utf8')).toBe(DOCUMENT);
  });

  test('says in one line that there is no card, and writes nothing', () => {
    writeFileSync(document, DOCUMENT);
    const { status, stdout, stderr } = runGpu(['--out', document], { GPU_FIXTURE_STATUS: '100' });
    expect(stderr).toBe('gpu: cuda is absent: cudaErrorNoDevice (100): no device is detected\n');
    expect({ status, stdout }).toEqual({ status: 3, stdout: '' });
    expect(readFileSync(document, 'utf8')).toBe(DOCUMENT);
  });

  test('refuses a document without marks before it runs anything', () => {
    writeFileSync(document, 'no marks');
    const { status, stderr } = runGpu(['--out', document]);
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringMatching(/^gpu: .*gpu\.md: it lacks the lines/) });
  });
});

describe('the bundle', () => {
  const bundle = join(scratch, 'stowage-gpu');

  beforeAll(() => {
    const args = [
      join(import.meta.dirname, 'package.mjs'),
      '--folder',
      bundle,
      '--dist',
      join(compiled(), 'dist'),
      '--node',
      process.execPath,
    ];
    expect(run(process.execPath, args, process.env)).toEqual({ status: 0, stdout: '', stderr: '' });
    copyFileSync(fixtures.cuda.library, join(bundle, 'card.so'));
  }, 120_000);

  test('starts in an empty environment, and says that there is no card', () => {
    const { status, stderr } = run(join(bundle, 'gpu'), ['--library', join(bundle, 'card.so')], { GPU_FIXTURE_STATUS: '35' });
    expect(stderr).toMatch(/^gpu: cuda is absent: cudaErrorInsufficientDriver \(35\): .*\n$/);
    expect(status).toBe(3);
    const missing = run(join(bundle, 'gpu'), ['--library', '/nowhere/libcudart.so'], {});
    expect(missing).toEqual({
      status: 3,
      stdout: '',
      stderr: expect.stringMatching(/^gpu: cuda is absent: \/nowhere\/libcudart\.so: .*\n$/),
    });
  });

  test('runs there, and writes its own document', () => {
    const args = ['--library', join(bundle, 'card.so'), ...LITTLE];
    const { status, stderr } = run(join(bundle, 'gpu'), args, {});
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringContaining('tests.') });
    expect(readFileSync(join(bundle, 'docs/gpu.md'), 'utf8')).toContain('a fixture on the CPU');
  });

  test('has the command too', () => {
    const { status, stdout } = run(join(bundle, 'stowage'), ['doctor'], {});
    expect(stdout).toMatch(/^device +cpu +yes/m);
    expect(status).toBe(0);
  });
});

test('docs/gpu.md holds no figures of the fixture', () => {
  expect(readFileSync(join(ROOT, 'docs/gpu.md'), 'utf8')).not.toContain('fixture');
});
