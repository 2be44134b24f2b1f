import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { MemoryExplanation } from '../../src/explain/index.js';
import { mainFile, stowage, stowageHere } from '../cli/compiled-cli.js';
import { LIMIT_MS } from '../config/limits.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-explain-test-'));
const path = (name: string) => join(folder, name);
const read = (name: string) =>
  JSON.parse(readFileSync(path(name), 'utf8')) as MemoryExplanation & { children?: MemoryExplanation[] };

describe.skipIf(process.platform !== 'linux')('stowage explain', { timeout: LIMIT_MS }, () => {
  beforeAll(() => void mainFile(), LIMIT_MS);
  afterAll(() => rmSync(folder, { recursive: true }));

  test('explains a program from inside, and leaves its output and exit code as they are', () => {
    const { code, stdout, stderr } = stowage([
      'explain',
      '--out',
      path('a.json'),
      '--',
      process.execPath,
      '-e',
      'console.log("out"); process.exitCode = 3',
    ]);
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' });
    expect(stdout).toMatch(/^out\n/);
    expect(stdout).toMatch(/^process \d+: .*node -e /m);
    expect(stdout).toMatch(/MiB resident, \d+\.\d % named\n/);
    expect(stdout).toMatch(/ old_space$/m);
    expect(stdout).toMatch(/^ {2}C library +[\d.]+ \w+ \(estimated\)$/m);
    expect(read('a.json')).toMatchObject({ version: 1, view: 'inside' });
    expect(statSync(path('a.json')).size).toBeGreaterThan(1000);
  });

  test('prints JSON with what the children of the program have', () => {
    const child = 'require("node:child_process").spawnSync(process.execPath, ["-e", "1"])';
    const { stdout } = stowage(['explain', '--json', '--', process.execPath, '-e', child]);
    const { version, pid, residentBytes, namedBytes, categories, children } = JSON.parse(stdout);
    expect([version, typeof pid, children.length]).toEqual([1, 'number', 1]);
    expect(namedBytes / residentBytes).toBeGreaterThan(0.95);
    expect(Object.keys(categories[0]).sort()).toEqual(['advice', 'kind', 'name', 'reclaimableBytes', 'residentBytes']);
    expect(children[0].pid).not.toBe(pid);
  });

  test('keeps the options of Node that the program was to have', () => {
    const program = 'console.log(JSON.stringify([typeof globalThis.gc, process.env.NODE_OPTIONS.split(" ")[0]]))';
    const { stdout } = stowage(['explain', '--json', '--out', path('o.json'), '--', process.execPath, '-e', program], {
      NODE_OPTIONS: '--expose-gc',
    });
    expect(JSON.parse(stdout)).toEqual(['function', '--expose-gc']);
  });

  test.each([
    ['ends', ''],
    // As one to a group of processes does, which the command forwards, too.
    [
      'ends, and that comes again meanwhile',
      'const fs = require("fs"), { renameSync } = fs; fs.renameSync = (...paths) => { process.kill(process.pid, "SIGTERM"); renameSync(...paths); }; require("module").syncBuiltinESMExports();',
    ],
  ])('explains a program that a signal %s, and ends as the program did', async (_, before) => {
    const args = [
      'explain',
      '--out',
      path('signal.json'),
      '--',
      process.execPath,
      '-e',
      `${before} setInterval(() => {}, 1e6); console.log("ready")`,
    ];
    const child = spawn(process.execPath, [mainFile(), ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    await once(child.stdout, 'data');
    child.stdout.resume();
    child.kill('SIGTERM');
    const [code] = await once(child, 'exit');
    expect(code).toBe(128 + 15);
    expect(read('signal.json').categories.length).toBeGreaterThan(5);
    rmSync(path('signal.json'));
  });

  test('leaves signals to a program that listens to them', () => {
    const program =
      'process.on("SIGTERM", () => { console.log("mine"); process.exit(5); }); setTimeout(() => process.kill(process.pid, "SIGTERM"), 10); setTimeout(() => {}, 1e6)';
    const { code, stdout } = stowage(['explain', '--json', '--out', path('own.json'), '--', process.execPath, '-e', program]);
    expect({ code, stdout }).toEqual({ code: 5, stdout: 'mine\n' });
    expect(read('own.json').view).toBe('inside');
  });

  test('says what trying to give back returned', () => {
    stowage(['explain', '--trim', '--out', path('t.json'), '--', process.execPath, '-e', '1']);
    expect(read('t.json').giveBack.map(({ step, how }) => [step, how])).toEqual([
      ['V8', 'tried'],
      ['managers', 'tried'],
      ['C library', 'tried'],
    ]);
  });

  test('says so when no process explained itself, and leaves nothing behind', () => {
    const temporary = mkdtempSync(join(folder, 'tmp-'));
    const { code, stdout, stderr } = stowage(['explain', '--', '/bin/sh', '-c', 'exit 4'], { TMPDIR: temporary });
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
    expect(stderr).toBe('stowage: no process explained itself: the program ran no Node, or was killed\n');
    expect(readdirSync(temporary)).toEqual([]);
  });

  test('explains now and then a program that it watches', () => {
    const program =
      'const kept = []; setInterval(() => kept.push(Buffer.alloc(1 << 20, 1)), 10); setTimeout(() => process.exit(), 2500)';
    const { stderr } = stowage(['explain', '--watch', '0.5', '--out', path('w.json'), '--', process.execPath, '-e', program]);
    expect(stderr).toMatch(/grew by +kind +name\n.*array-buffers/);
  });

  test('explains another process by what the kernel says, and calls unknown what it cannot ask', async () => {
    const child = spawn(process.execPath, ['-e', 'console.log(1); setInterval(() => {}, 1e6)'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(child.stdout, 'data');
      const { code, stdout } = await stowageHere(['explain', '--json', '--html', path('p.html'), String(child.pid)]);
      expect(code).toBe(0);
      const { pid, view, categories, giveBack } = JSON.parse(stdout) as MemoryExplanation;
      expect([pid, view]).toEqual([child.pid, 'outside']);
      const kinds = new Set(categories.map(({ kind }) => kind));
      expect(kinds.has('unknown') && kinds.has('binary')).toBe(true);
      expect(kinds.has('v8-heap') || kinds.has('c-heap-live')).toBe(false);
      expect(giveBack.every(({ bytes, how }) => bytes === null && how === 'unknown')).toBe(true);
      expect(readFileSync(path('p.html'), 'utf8')).toContain('V8 and the C library were not asked');
    } finally {
      child.kill();
    }
  });

  test('compares two explanations', async () => {
    const sizes = (bytes: number) => ({
      ...read('a.json'),
      categories: [{ kind: 'binary', name: 'x\u001b[2J', residentBytes: bytes, reclaimableBytes: null }],
    });
    writeFileSync(path('1.json'), JSON.stringify(sizes(2 ** 20)));
    writeFileSync(path('2.json'), JSON.stringify(sizes(2 ** 22)));
    const { stdout } = await stowageHere(['explain', '--json', '--diff', path('1.json'), path('2.json')]);
    expect(JSON.parse(stdout)).toEqual({
      version: 1,
      grown: [{ site: 'x\u001b[2J', tag: 'binary', bytes: 3 * 2 ** 20, blocks: null }],
    });
    expect((await stowageHere(['explain', '--diff', path('1.json'), path('2.json')])).stdout).toBe(
      ' grew by  kind    name\n3.00 MiB  binary  x?[2J\n',
    );
    expect((await stowageHere(['explain', '--diff', path('2.json'), path('1.json')])).stdout).toBe('nothing grew\n');
  });

  test.each([
    [[], 'name a process, or a program'],
    [['--diff', 'a.json'], '--diff takes two files'],
    [['--diff', 'no-a.json', 'no-b.json'], 'it cannot be read'],
    [['2147483646'], 'there is none of that number'],
    [['--watch', 'often', '1'], '--watch is "often"'],
    [['--watch', '0', '--', 'node'], '--watch is "0"'],
    [['--trim', '1'], '--trim goes with a program alone'],
  ])('refuses %j, and leaves nothing behind', async (args, message) => {
    // Others make temporary folders meanwhile.
    const own = mkdtempSync(path('tmp-'));
    vi.stubEnv('TMPDIR', own);
    onTestFinished(() => void vi.unstubAllEnvs());
    const { code, stdout, stderr } = await stowageHere(['explain', ...args]);
    expect(stdout).toBe('');
    expect(stderr).toContain(message);
    expect(code).not.toBe(0);
    expect(readdirSync(own)).toEqual([]);
  });

  test('refuses a name of neither a process nor a program', () => {
    const { code, stdout, stderr } = stowage(['explain', '99999999999']);
    expect(stdout).toBe('');
    expect(stderr).toContain('cannot be run');
    expect(code).not.toBe(0);
  });
});
