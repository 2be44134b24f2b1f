import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import packageFile from '../../package.json' with { type: 'json' };
import { loadTrace } from '../../src/trace/index.js';
import { compiled } from '../fixtures/compiled.js';
import { HURRIED, mainFile, type Outcome, stowage, stowageHere } from './compiled-cli.js';

const RESNET = 'test/traces/resnet.trace.gz';
const folder = mkdtempSync(join(tmpdir(), 'stowage-cli-'));
beforeAll(() => void compiled(), 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

interface Report {
  version: number;
  results: Record<string, string | number>[];
}

function results(outcome: Outcome): Record<string, string | number>[] {
  const report = JSON.parse(outcome.stdout) as Report;
  expect(report.version).toBe(1);
  return report.results;
}

/** Expects exit code 2, nothing on stdout and one line on stderr. @returns that line */
function refusal({ code, stdout, stderr }: Outcome): string {
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^stowage: [^\n]+\n$/);
  expect(code).toBe(2);
  return stderr.slice('stowage: '.length, -1);
}

describe('stowage', () => {
  test.each([
    [['--version'], stowage],
    [['-V'], stowage],
    [['replay', '--version'], stowageHere],
  ])('prints the version for %j', async (args, run) => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect(await run(args)).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  test.each([
    [['--help'], stowage],
    [['help'], stowageHere],
    [['replay', '--help'], stowageHere],
    [['help', 'replay'], stowageHere],
  ])('prints help for %j', async (args, run) => {
    const { code, stdout, stderr } = await run(args);
    expect(stdout).toMatch(/^Usage: stowage /);
    expect([code, stderr]).toEqual([0, '']);
  });

  test.skipIf(process.platform === 'win32').each(['ulimit -v 4000000', 'set -- "$1" --jitless "$2" "$3"'])(
    'needs neither WebAssembly nor native code to print its version and help: %s',
    (restriction) => {
      for (const [flag, output] of [
        ['--version', /^\d+\.\d+\.\d+\n$/],
        ['--help', /^Usage: stowage /],
      ] as const) {
        const script = `${restriction}; exec "$@"`;
        const { status, stdout } = spawnSync('sh', ['-c', script, 'sh', process.execPath, mainFile(), flag], {
          encoding: 'utf8',
        });
        // Node itself may warn of the restriction.
        expect(status).toBe(0);
        expect(stdout).toMatch(output);
      }
    },
  );

  test('lists its commands in its help; the help of each is at most 100 columns wide', async () => {
    const pending: string[][] = [[]];
    const [seen, wide]: string[][] = [[], []];
    for (let path = pending.shift(); path !== undefined; path = pending.shift()) {
      const name = path.join(' ');
      seen.push(name);
      const { code, stdout } = await stowageHere([...path, '--help']);
      expect([code, stdout.split('\n')[0]]).toEqual([0, expect.stringMatching(`^Usage: stowage ${name}`)]);
      wide.push(...stdout.split('\n').filter((line) => line.length > 100));
      const [, commands = ''] = stdout.split(/^Commands:$/m);
      for (const [, command] of commands.matchAll(/^ {2}([a-z]+) /gm)) if (command !== 'help') pending.push([...path, command!]);
    }
    expect(wide).toEqual([]);
    expect(seen).toEqual(
      expect.arrayContaining(['replay', 'tune', 'whatif', 'serve', 'record', 'convert', 'model', 'shm ls', 'shm rm', 'doctor']),
    );
  });

  test('promises nothing in its help that is no command', async () => {
    const [, description] = (await stowageHere(['--help'])).stdout.split('\n\n');
    expect(description?.replace(/\s+/g, ' ')).toBe(
      'Memory managers for native memory: what a program allocates, and what each manager makes of it.',
    );
  });

  test('tells its exit codes', async () => {
    expect((await stowageHere(['--help'])).stdout).toContain('Exit codes: 0 done, 1 the run failed');
  });

  test.each([
    [[], 'no command is given: see stowage --help'],
    [['replya', RESNET], "unknown command 'replya' (did you mean replay?)"],
    [['--versoin'], "unknown option '--versoin' (did you mean --version?)"],
    [['replay'], "missing required argument 'trace'"],
    [['replay', 'a', 'b'], "too many arguments for 'replay'. Expected 1 argument but got 2."],
    [['replay', RESNET, '--mnager', 'x'], "unknown option '--mnager' (did you mean --manager?)"],
    [['replay', RESNET, '--log'], "option '--log <file>' argument missing"],
    [['re\nplay'], "unknown command 're play' (did you mean replay?)"],
    [['help', 'foo'], "unknown command 'foo'"],
    [['foo', '--help'], "unknown command 'foo'"],
    [['--help', 'foo'], "unknown command 'foo'"],
    [['help', 'replya'], "unknown command 'replya' (did you mean replay?)"],
    [['help', 'shm', 'foo'], "unknown command 'foo'"],
    [['shm', 'help', 'foo'], "unknown command 'foo'"],
    [['shm', 'foo', '--help'], "unknown command 'foo'"],
  ])('refuses %j', async (args, message) => {
    expect(refusal(await stowageHere(args))).toBe(message);
  });
});

describe('stowage replay', () => {
  test('holds every manager to a limit, and goes on with the others when one is refused', async () => {
    const plenty = results(
      await stowageHere(['replay', RESNET, '-m', 'caching,pool,tlsf,lru,default', '--limit', '1GiB', '--json']),
    );
    expect(plenty.map(({ manager }) => manager)).toEqual(['caching', 'pool', 'tlsf', 'lru', 'default']);
    const { code, stdout, stderr } = await stowageHere(['replay', RESNET, '--limit', '400MiB']);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(
      /^stowage: caching: .*:\d+: event \d+ failed: out of memory: .*limited to 419430400 bytes \(400\.00 MiB\), rounding included; \d+ blocks live\n$/,
    );
  });

  test('replays the whole lines of a gzip file that is cut off, and says so', async () => {
    const trace = join(folder, 'cut.trace.gz');
    writeFileSync(trace, readFileSync(RESNET));
    truncateSync(trace, 50_000);
    const { code, stdout, stderr } = await stowageHere(['replay', trace]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^resnet \(alloctrace\): [\d,]+ events, /);
    expect(stderr).toMatch(/cut\.trace\.gz: the (?:file|gzip data) was cut off after line \d+\n$/);
  });

  test('says how many of the events are replayed, as its JSON does', async () => {
    const replay = (...args: string[]) => stowageHere(['replay', 'test/trace/golden/app.pytorch.pickle', '-m', 'pool', ...args]);
    const { results } = JSON.parse((await replay('--json')).stdout) as { results: { events: number }[] };
    expect((await replay()).stdout).toMatch(
      new RegExp(`: \\d+ events \\(${results[0]!.events} of them allocations and frees\\), `),
    );
  });

  test('prints one aligned row for each manager', () => {
    const { code, stdout, stderr } = stowage(['replay', RESNET, '--manager', 'caching,default'], HURRIED);
    const lines = stdout.split('\n');
    expect([code, stderr]).toEqual([0, '']);
    expect(lines[0]).toBe('resnet (alloctrace): 26,012 events, 13,327 allocations, 642 blocks live at the end');
    expect(lines[2]).toMatch(
      /^manager {2}device +events\/s {2}native calls {2}hit rate +peak live {2}peak reserved {2}utilisation$/,
    );
    expect(lines[3]).toMatch(/^caching {2}simulated +[\d,]+ +60 +99\.55 % {2}474\.99 MiB +516\.00 MiB +0\.921$/);
    expect(lines[4]).toMatch(/^default {2}simulated /);
    expect(new Set(lines.slice(2, 5).map((line) => line.length)).size).toBe(1);
    expect(stdout).not.toContain('\u001b');
  });

  test('prints the documented JSON', async () => {
    const [result, ...others] = results(await stowageHere(['replay', RESNET, '--json']));
    expect(others).toEqual([]);
    expect(Object.keys(result!)).toEqual([
      'manager',
      'device',
      'events',
      'allocations',
      'nsPerEvent',
      'nativeAllocs',
      'nativeFrees',
      'hitRate',
      'peakLiveBytes',
      'peakReservedBytes',
      'utilisation',
    ]);
    expect(result).toMatchObject({ manager: 'caching', device: 'simulated', events: 26_012, nativeAllocs: 60, nativeFrees: 0 });
  });

  test('verifies, swaps and logs on real memory as npm start does, and the log replays to the same counts', async () => {
    const log = join(folder, 'resnet.log');
    const [, start = ''] = /main\.js (.*) --log /.exec(packageFile.scripts.start) ?? [];
    expect(start).toBe(`replay ${RESNET} --device cpu --verify --swap-to pool`);
    const { code, stdout, stderr } = await stowageHere([...start.split(' '), '--log', log]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('verified  the first and last byte of 13,327 blocks');
    expect(stdout).toMatch(/^caching -> pool /m);
    expect(stdout).toContain('swapped   to pool before event 13,006: 668 live blocks stay with caching\n');
    expect(stdout).toContain(`call log  ${log} (`);
    if (process.platform !== 'win32') expect(statSync(log).mode & 0o777).toBe(0o600);
    const recorded = await loadTrace(RESNET);
    const replayed = await loadTrace(log);
    // The log has the frees of what the trace left live as well.
    expect(replayed.calls).toBe(recorded.length + recorded.liveBlocks);
    const calls = Array.from(replayed.slots.keys()).filter((event) => replayed.slotOf(event) >= 0);
    expect(calls.slice(0, recorded.length).map((event) => replayed.slots[event])).toEqual([...recorded.slots]);
    expect(calls.slice(0, recorded.length).map((event) => replayed.bytesOf(event))).toEqual([...recorded.bytes]);
    expect(replayed).toMatchObject({
      format: 'call log',
      allocations: 13_327,
      liveBlocks: 0,
      peakLiveBytes: recorded.peakLiveBytes,
    });
    const [again] = results(await stowageHere(['replay', log, '--json']));
    const [first] = results(await stowageHere(['replay', RESNET, '--json']));
    for (const key of ['allocations', 'nativeAllocs', 'nativeFrees', 'hitRate', 'peakLiveBytes', 'peakReservedBytes']) {
      expect([key, again![key]]).toEqual([key, first![key]]);
    }
  });

  test('hands over to the next manager of a list when swapping', async () => {
    const outcome = await stowageHere(['replay', RESNET, '--manager', 'caching,default', '--swap', '--json']);
    expect(results(outcome).map((result) => result['manager'])).toEqual(['caching -> default', 'default -> caching']);
  });

  test('hands over to the manager of --swap-to, from each of a list', async () => {
    const outcome = await stowageHere(['replay', RESNET, '--manager', 'caching,default', '--swap-to', 'tlsf', '--json']);
    expect(results(outcome).map((result) => result['manager'])).toEqual(['caching -> tlsf', 'default -> tlsf']);
  });

  test('says that another manager of the kind takes over when swapping alone', async () => {
    const { stdout } = await stowageHere(['replay', RESNET, '--swap']);
    expect(stdout).toContain('swapped   to another caching before event 13,006: 668 live blocks stay with caching\n');
  });

  test('takes blanks around names and a capacity with a unit', async () => {
    const outcome = await stowageHere(['replay', RESNET, '-m', 'caching, default', '-c', '1.5 GiB', '--json']);
    expect(results(outcome)).toHaveLength(2);
  });

  test.skipIf(process.platform === 'win32')('is content when its reader stops early', () => {
    const { stderr } = spawnSync('sh', ['-c', `"${process.execPath}" "${mainFile()}" replay ${RESNET} | true`], {
      encoding: 'utf8',
      env: { ...process.env, ...HURRIED },
    });
    expect(stderr).toBe('');
  });

  describe('exits with 1', () => {
    test('when memory runs out, and still shows the managers that went through', async () => {
      const { code, stdout, stderr } = await stowageHere(['replay', RESNET, '-m', 'caching,default', '-c', '480MiB', '--json']);
      expect(code).toBe(1);
      expect(stderr).toMatch(
        /^stowage: caching: test\/traces\/resnet\.trace\.gz:7077: event 7075 failed: out of memory: [^\n]+\n$/,
      );
      expect((JSON.parse(stdout) as Report).results.map((result) => result['manager'])).toEqual(['default']);
    });

    test('when memory runs out for the only manager, without a table', () => {
      const { code, stdout, stderr } = stowage(['replay', RESNET, '-c', '100MiB']);
      expect([code, stdout, stderr.split('\n').length]).toEqual([1, '', 2]);
    });

    test.skipIf(!existsSync('/dev/full'))('when the log cannot be written to its end', async () => {
      const { code, stderr } = await stowageHere(['replay', RESNET, '--log', '/dev/full']);
      expect([code, stderr]).toEqual([
        1,
        'stowage: /dev/full: the call log is not complete: ENOSPC: no space left on device, write\n',
      ]);
    });
  });

  describe('refuses', () => {
    test.each([
      [['nowhere.trace'], 'nowhere.trace: there is no such file'],
      [['test'], 'test: it is a folder, not a file'],
      [['package.json'], 'package.json:1: its format is not known: it begins like no allocation trace'],
      [
        [RESNET, '-m', 'cachng'],
        '--manager is "cachng", but must be one of caching, lru, pool, tlsf, pytorch, default, buddy, slab, arena',
      ],
      [
        [RESNET, '-m', 'caching,,default'],
        '--manager is "", but must be one of caching, lru, pool, tlsf, pytorch, default, buddy, slab, arena',
      ],
      [[RESNET, '-d', 'cup'], '--device is "cup", but must be one of cpu, cuda, hip, simulated, opencl (did you mean cpu?)'],
      [[RESNET, '-c', '12XB'], '--capacity is "12XB", but must be a size above 0 such as 512MiB, 1.5GiB or 1024'],
      [[RESNET, '-c', '1MiB', '-d', 'cpu'], "--capacity does not go with --device cpu, whose capacity is the machine's"],
      [[RESNET, '-m', 'caching,default', '--log', 'x.log'], '--log takes the calls of one manager: name one by --manager'],
      [[RESNET, '--verify'], '--verify does not go with --device simulated'],
      [[RESNET, '--log', 'none/x.log'], 'none/x.log: its folder does not exist'],
    ])('%j', async (args, message) => {
      expect(refusal(await stowageHere(['replay', ...args]))).toContain(message);
    });

    test('a trace with a bad line, and leaves no log', async () => {
      const trace = join(folder, 'bad.trace');
      const log = join(folder, 'bad.log');
      writeFileSync(trace, '#alloctrace v1 bad\na 0 10\nf 7\n');
      expect(refusal(await stowageHere(['replay', trace, '--log', log]))).toBe(`${trace}:3: id 7 was never allocated`);
      expect(existsSync(log)).toBe(false);
    });

    test('to overwrite the trace with its log', async () => {
      const trace = join(folder, 'own.trace');
      writeFileSync(trace, '#alloctrace v1 own\na 0 10\n');
      expect(refusal(await stowageHere(['replay', trace, '--log', trace]))).toBe(
        `${trace}: it is the input, too: name another file`,
      );
      expect(readFileSync(trace, 'utf8')).toBe('#alloctrace v1 own\na 0 10\n');
    });

    test('a bad setting of a manager in the environment, and leaves no log', () => {
      const log = join(folder, 'env.log');
      expect(refusal(stowage(['replay', RESNET, '--log', log], { FL_MEM_SPLIT_SIZE_MB: 'x' }))).toContain('FL_MEM_SPLIT_SIZE_MB');
      expect(existsSync(log)).toBe(false);
    });
  });
});
