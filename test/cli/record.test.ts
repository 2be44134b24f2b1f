import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadTrace } from '../../src/trace/index.js';
import { compiled, moduleUrl } from '../fixtures/compiled.js';
import { mainFile, stowage, stowageHere } from './compiled-cli.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-record-'));
const out = join(folder, 'app.stowtrace');
let app = '';
beforeAll(() => {
  void compiled();
  app = join(folder, 'app.mjs');
  writeFileSync(
    app,
    `import { defaultRuntime } from ${JSON.stringify(moduleUrl('src/index.js'))};
     const runtime = defaultRuntime();
     const load = () => runtime.allocate(3 * 2 ** 20, { tag: 'weights' });
     globalThis.kept = load();
     for (let i = 1; i <= 100; i++) runtime.allocate(i).dispose();
     // A refusal, for the recording.
     try { runtime.allocate(2 ** 52) } catch (error) { if (error.code !== 'ERR_MEM_OUT_OF_MEMORY') throw error; }
     console.log('the output of the program', process.argv[2]);
     if (process.argv[2] === 'wait') setInterval(() => undefined, 1000);
     process.exitCode = 7;`,
  );
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

describe('stowage record', () => {
  test('runs a program, passes its exit code on, and prints a summary', async () => {
    const { code, stdout, stderr } = stowage(['record', '--out', out, '--', process.execPath, app, '--sites']);
    expect([code, stdout]).toEqual([7, 'the output of the program --sites\n']);
    expect(stderr).toContain(`${out}: 208 events of app.mjs in `);
    expect(stderr).toMatch(/^ {2}allocations {3}101, 1 refusal$/m);
    expect(stderr).toMatch(/^ {2}peak live {5}3\.00 MiB in at most 2 blocks$/m);
    expect(stderr).toMatch(/^ {2}native calls {2}2 to get, 2 to give back$/m);
    expect(stderr).toMatch(
      /^ {2}leaks {9}1 block, 3\.00 MiB, live at the end\n {4}3\.00 MiB in 1 block tagged "weights" of Caching/m,
    );
    expect(stderr).not.toContain('app.mjs:');
    expect((await loadTrace(out)).cutOff).toBeUndefined();
  });

  test('shows where leaks were allocated when it records sites', () => {
    const { stderr } = stowage(['record', '--sites', '1', '-o', out, '--', process.execPath, app]);
    expect(stderr).toMatch(/^ {6}at load \(.*app\.mjs:3:\d+\)$/m);
  });

  test('hands signals on, and shows what was recorded until then', async () => {
    const child = spawn(process.execPath, [mainFile(), 'record', '-o', out, '--', process.execPath, app, 'wait'], {
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    let stderr = '';
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    await once(child.stdout, 'data');
    await expect.poll(async () => (await loadTrace(out)).length, { interval: 100 }).toBe(207);
    child.kill('SIGTERM');
    const [code] = await once(child, 'exit');
    expect(code).toBe(128 + 15);
    expect(stderr).toContain('207 events of app.mjs');
    expect(stderr).toContain('the recording was cut off after 207 events: SIGTERM ended the program');
    expect(stderr).toMatch(/^ {2}live {10}1 block, 3\.00 MiB, when SIGTERM ended it: whether any of it leaks cannot be told$/m);
    expect(stderr).not.toContain('leaks  ');
  });

  test('says when nothing was recorded', async () => {
    const { code, stderr } = await stowageHere(['record', '-o', out, '--', process.execPath, '-e', 'process.exitCode = 3']);
    expect([code, stderr]).toEqual([3, `stowage: ${out}: nothing was recorded: the program used no memory of stowage\n`]);
    expect(existsSync(out)).toBe(false);
  });

  test('says when the program cannot be run, and nothing else', async () => {
    const { code, stderr } = await stowageHere(['record', '-o', out, '--', 'no-such-program']);
    expect([code, stderr]).toEqual([127, 'stowage: no-such-program: the program cannot be run: it is not found\n']);
    expect(existsSync(out)).toBe(false);
  });

  test.each([
    [['record'], "missing required argument 'command'"],
    [['record', '--sites', 'all', '--', 'node'], '--sites is "all", but must be a number of frames from 1 to 999'],
  ])('refuses %j', async (args, message) => {
    expect(await stowageHere(args)).toEqual({ code: 2, stdout: '', stderr: `stowage: ${message}\n` });
  });
});

describe('stowage convert', () => {
  const golden = (file: string): string => join('test/trace/golden', file);

  test.each(['stowage', 'pytorch'])('writes %s, and replay and convert read it', async (format) => {
    const converted = join(folder, `app.${format}`);
    const first = await stowageHere(['convert', golden('app.log'), converted, '--to', format]);
    expect(first.code).toBe(0);
    expect(first.stdout).toMatch(new RegExp(`^.*app\\.${format}: 10 events of app\\.log \\(call log\\) as ${format}, `));
    expect((await stowageHere(['replay', converted, '--json'])).code).toBe(0);
    const again = await stowageHere(['convert', converted, join(folder, 'again'), '-t', 'alloctrace']);
    expect(again.code).toBe(0);
    const lines = readFileSync(join(folder, 'again'), 'utf8').split('\n').slice(1);
    const empty = format === 'pytorch' ? [] : ['a 2 0'];
    expect(lines.filter((line) => line.startsWith('a'))).toEqual(['a 0 1000', 'a 1 512', ...empty]);
  });

  test('names in one line what the new format cannot hold', async () => {
    const { code, stderr } = await stowageHere(['convert', golden('app.log'), join(folder, 'x'), '-t', 'rmm']);
    expect([code, stderr]).toEqual([
      0,
      `stowage: ${join(folder, 'x')}: rmm cannot hold 1 native allocation, 1 native free, 1 cleanup\n`,
    ]);
  });

  test('says that a recording was cut off', async () => {
    const cut = join(folder, 'cut.stowtrace');
    await stowageHere(['convert', golden('app.perfetto.json'), cut, '-t', 'stowage']);
    writeFileSync(cut, readFileSync(cut).subarray(0, -1));
    const { code, stderr } = await stowageHere(['convert', cut, join(folder, 'x'), '-t', 'perfetto']);
    expect([code, stderr]).toEqual([0, `stowage: ${cut}: the recording was cut off after 0 events\n`]);
  });

  test('leaves what was there when the input is bad', async () => {
    const file = join(folder, 'kept');
    const bad = join(folder, 'bad.trace');
    writeFileSync(file, 'kept');
    writeFileSync(bad, '#alloctrace v1 bad\na 0 10\nf 7\n');
    const { code, stderr } = await stowageHere(['convert', bad, file, '-t', 'perfetto']);
    expect([code, stderr]).toEqual([2, `stowage: ${bad}:3: id 7 was never allocated\n`]);
    expect(readFileSync(file, 'utf8')).toBe('kept');
    expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  test.skipIf(process.platform === 'win32')('writes into a pipe', () => {
    const { stdout } = spawnSync(
      'sh',
      [
        '-c',
        `"${process.execPath}" "${mainFile()}" convert ${golden('app.log')} /dev/stderr -t alloctrace 2>&1 >/dev/null | head -2`,
      ],
      {
        encoding: 'utf8',
      },
    );
    expect(stdout).toBe('#alloctrace v1 app.log\na 0 1000\n');
  });

  test.skipIf(!existsSync('/dev/full'))('fails when the disk is full', () => {
    const { code, stderr } = stowage(['convert', golden('app.log'), '/dev/full', '-t', 'rmm']);
    expect([code, stderr]).toEqual([1, 'stowage: /dev/full: the trace could not be written to its end\n']);
  });

  test.each([
    [['app.log', 'x', '--to', 'perfeto'], '--to is "perfeto", but must be one of', 'did you mean perfetto?'],
    [['app.log', 'x'], "required option '-t, --to <format>' not specified", ''],
    [['nowhere', 'x', '--to', 'rmm'], 'there is no such file', ''],
    [['app.log', 'none/x', '--to', 'rmm'], 'none/x: its folder does not exist', ''],
  ])('refuses %j', async (args, message, more) => {
    const { code, stderr } = await stowageHere(['convert', golden(args[0]!), ...args.slice(1)]);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
    expect(stderr).toContain(more);
  });
});
