import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';
import { mainFile, type Outcome, stowage, stowageHere } from './compiled-cli.js';

const GOLDEN = resolve('test/trace/golden/app.log');
const FIRST_LINE = 'Thread,Time,Action,Pointer,Size,Stream\n';
const root = mkdtempSync(join(tmpdir(), 'stowage-output-'));
let folder = root;
let count = 0;
beforeAll(() => void compiled(), 120_000);
beforeEach(() => {
  folder = join(root, String(count++));
  mkdirSync(folder);
});
afterAll(() => rmSync(root, { recursive: true }));

const file = (name: string): string => join(folder, name);
const convert = (input: string, output: string): Promise<Outcome> =>
  stowageHere(['convert', input, output, '--to', 'rmm'], folder);
const shell = (script: string): string =>
  spawnSync('sh', ['-c', script, 'sh', process.execPath, mainFile(), GOLDEN], { encoding: 'utf8', cwd: folder }).stdout;
const isConverted = (name: string): boolean => readFileSync(file(name), 'utf8').startsWith(FIRST_LINE);

describe.skipIf(process.platform === 'win32')('the outputs of the command', () => {
  test('go through links, and the links stay', async () => {
    writeFileSync(file('target'), 'before');
    symlinkSync('target', file('link'));
    symlinkSync('link', file('second'));
    symlinkSync('fresh', file('to-nothing'));
    for (const name of ['second', 'to-nothing']) expect((await convert(GOLDEN, name)).code).toBe(0);
    expect([isConverted('target'), isConverted('fresh')]).toEqual([true, true]);
    for (const name of ['link', 'second', 'to-nothing']) expect(lstatSync(file(name)).isSymbolicLink()).toBe(true);
    expect((await stowageHere(['replay', GOLDEN, '--report', 'link', '--log', 'to-nothing'], folder)).code).toBe(0);
    expect(readFileSync(file('target'), 'utf8')).toMatch(/^<!doctype html>/);
    expect(readFileSync(file('fresh'), 'utf8')).toMatch(/^initialize/);
    for (const name of ['link', 'to-nothing']) expect(lstatSync(file(name)).isSymbolicLink()).toBe(true);
  });

  test('keep the permissions and the other names of a file', async () => {
    writeFileSync(file('old'), 'before');
    chmodSync(file('old'), 0o640);
    writeFileSync(file('one'), 'before');
    linkSync(file('one'), file('other'));
    for (const name of ['old', 'one', 'new']) expect((await convert(GOLDEN, name)).code).toBe(0);
    expect([statSync(file('old')).mode & 0o777, statSync(file('new')).mode & 0o777]).toEqual([0o640, 0o600]);
    expect(isConverted('other')).toBe(true);
  });

  test('are for their owner alone where they hold what a program does, and pages are as other files of the user', async () => {
    const args = ['--log', 'secret.log', '--report', 'shown.html'];
    expect((await stowageHere(['replay', GOLDEN, ...args], folder)).code).toBe(0);
    const modes = ['secret.log', 'shown.html'].map((name) => statSync(file(name)).mode & 0o777);
    expect(modes).toEqual([0o600, 0o666 & ~process.umask()]);
  });

  test('are standard output for -, and by its own name, where the message makes way', () => {
    for (const name of ['-', '/dev/stdout']) {
      const { stdout, stderr } = stowage(['convert', GOLDEN, name, '--to', 'rmm'], {}, folder);
      expect(stdout.split('\n').slice(0, 2).join('\n')).toMatch(/^Thread,Time,.*\n1,00:00:00\.000000,allocate,/);
      expect(stderr).toContain(`${name}: 10 events of app.log`);
    }
    expect(shell('"$1" "$2" convert "$3" /dev/stdout -t rmm 2>/dev/null > file; cat file')).toMatch(/^Thread,Time/);
    expect(shell('"$1" "$2" replay "$3" --report - 2>/dev/null')).toMatch(/^<!doctype html>/);
    expect(readdirSync(folder)).toEqual(['file']);
    expect(lstatSync('/dev/stdout').isSymbolicLink()).toBe(true);
  });

  test('go into a pipe, whose reader may stop early', () => {
    expect(shell('mkfifo pipe; head -1 pipe & "$1" "$2" convert "$3" pipe -t rmm >/dev/null 2>&1; echo $?; wait')).toContain(
      '0\n',
    );
    expect(shell('"$1" "$2" convert "$3" - -t rmm 2>/dev/null | true')).toBe('');
    expect(lstatSync(file('pipe')).isFIFO()).toBe(true);
  });

  test.runIf(process.platform === 'linux')('go into an open file by its number, in place, also one whose name is gone', () => {
    writeFileSync(file('open'), 'before, and longer than that');
    const script = (tail: string) =>
      `exec 3<>open; ${tail}"$1" "$2" convert "$3" /dev/fd/3 -t rmm >/dev/null; echo $?; cat /dev/fd/3`;
    expect(shell(script(''))).toMatch(/^0\nThread,Time/);
    expect(isConverted('open')).toBe(true);
    expect(shell(script('rm open; '))).toMatch(/^0\nThread,Time/);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('are not the input, by whatever name', async () => {
    const bytes = readFileSync(GOLDEN);
    writeFileSync(file('in'), bytes);
    linkSync(file('in'), file('hard'));
    symlinkSync('in', file('link'));
    for (const [input, output] of [
      ['in', 'in'],
      ['in', 'hard'],
      ['in', 'link'],
      ['link', 'in'],
    ] as const) {
      const message = `stowage: ${output}: it is the input, too: name another file\n`;
      expect(await convert(input, output)).toEqual({ code: 2, stdout: '', stderr: message });
      for (const option of ['--report', '--log']) {
        expect(await stowageHere(['replay', input, option, output], folder)).toEqual({ code: 2, stdout: '', stderr: message });
      }
      expect((await stowageHere(['tune', input, '--report', output], folder)).stderr).toBe(message);
    }
    expect(shell('"$1" "$2" convert - in -t rmm < in; echo $?')).toBe('2\n');
    expect(readFileSync(file('in'))).toEqual(bytes);
    const both = await stowageHere(['replay', GOLDEN, '--log', 'x', '--report', './x'], folder);
    expect(both).toEqual({ code: 2, stdout: '', stderr: 'stowage: x: it is the same file as ./x: name another one\n' });
  });

  test.each([
    ['x'.repeat(300), 'its name is too long'],
    ['file/x', 'its folder is not a folder'],
    ['file/x/y', 'its folder is not a folder'],
    ['none/x', 'its folder does not exist'],
    ['.', 'it is a folder, not a file'],
    ['x/', 'it is a folder, not a file'],
    ['loop', 'its links lead in a circle'],
  ])('refuse %s in one line before anything starts', async (name, reason) => {
    writeFileSync(file('file'), '');
    symlinkSync('loop', file('loop'));
    const refused = { code: 2, stdout: '', stderr: `stowage: ${name}: ${reason}\n` };
    expect(await convert('no-such-input', name)).toEqual(refused);
    for (const option of ['--report', '--log']) {
      expect(await stowageHere(['replay', 'no-such-input', option, name], folder)).toEqual(refused);
    }
    expect(await stowageHere(['record', '-o', name, '--', 'touch', 'started'], folder)).toEqual(refused);
    expect(readdirSync(folder).sort()).toEqual(['file', 'loop']);
  });

  test('leave nothing beside their place when the run is interrupted', async () => {
    spawnSync('mkfifo', [file('in')]);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const child = spawn(process.execPath, [mainFile(), 'convert', 'in', 'out', '-t', 'rmm'], { cwd: folder, stdio: 'ignore' });
      const pipe = openSync(file('in'), 'w');
      writeSync(pipe, gunzipSync(readFileSync('test/traces/resnet.trace.gz')));
      while (!readdirSync(folder).some((name) => name.endsWith('.part'))) await new Promise((turn) => setTimeout(turn, 20));
      child.kill(signal);
      expect(await once(child, 'exit')).toEqual([null, signal]);
      closeSync(pipe);
      expect(readdirSync(folder)).toEqual(['in']);
    }
  });

  test('are not touched by a program that does not record, and a link to an old recording stays', async () => {
    writeFileSync(file('old'), 'before');
    symlinkSync('old', file('link'));
    expect(stowage(['record', '-o', 'link', '--', 'true'], {}, folder).stderr).toContain('link: nothing was recorded');
    expect(lstatSync(file('link')).isSymbolicLink()).toBe(true);
    expect(existsSync(file('old'))).toBe(true);
    expect(await stowageHere(['record', '-o', '-', '--', 'touch', 'started'], folder)).toMatchObject({ code: 2, stdout: '' });
    expect(existsSync(file('started'))).toBe(false);
  });

  test('of a child that records are never written through a planted link', () => {
    writeFileSync(file('victim'), 'kept');
    const { status, stderr } = runChild(
      `import { symlinkSync } from 'node:fs';
       import { defaultRuntime } from ${JSON.stringify(moduleUrl('src/index.js'))};
       symlinkSync('victim', process.env.STOWAGE_TRACE + '.' + process.pid);
       defaultRuntime().allocate(100).dispose();`,
      { env: { STOWAGE_TRACE: file('trace'), STOWAGE_TRACE_OWNER: '1' } },
    );
    expect([status, stderr]).toEqual([0, '']);
    expect(readFileSync(file('victim'), 'utf8')).toBe('kept');
    expect(readdirSync(folder).filter((name) => /^trace\.\d+$/.test(name))).toHaveLength(1);
  });
});
