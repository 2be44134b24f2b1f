import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllocConf } from '../../managers/index.js';
import { compiled } from '../fixtures/compiled.js';
import { pickled } from '../trace/pickled.js';
import { stowage, stowageHere } from './compiled-cli.js';

const SNAPSHOT = 'test/whatif/snapshots/default.pickle.gz';
const OOM = 'test/trace/snapshots/oom-frames.pickle.gz';
const folder = mkdtempSync(join(tmpdir(), 'stowage-whatif-'));
beforeAll(() => void compiled(), 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

describe('stowage whatif', () => {
  test('says whether the recorded setting fits, and into how little', () => {
    const { code, stdout, stderr } = stowage(['whatif', SNAPSHOT]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('default.pickle.gz (pytorch): 16,974 events, 8,450 allocations');
    expect(stdout).toMatch(/^the default of PyTorch +none +yes +7\.00 GiB +7\.21 GiB +6\.35 GiB/m);
    expect(stdout).toMatch(
      /^7\.00 GiB beside the context are enough: the smallest known cards with as much are rtx3060 \(11\.25 GiB\), t4 \(14\.25 GiB\), /m,
    );
    expect(stdout).toMatch(/--card .* --limit .* --search\.$/m);
  });

  test('names the event, the time and the frames of the request that fails', async () => {
    const { code, stdout } = await stowageHere(['whatif', OOM, '--limit', '2GiB']);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /fails at event 103 of 104 \(99 %\), after 0\.003 s:\n {4}66\.76 MiB are requested; 1\.83 GiB are in use, and \d+\.\d\d MiB are reserved but not in use\n/,
    );
    expect(stdout).toContain('\n    oom (pools.py:35)\n    run (pools.py:9)\n    <module> (pools.py:38)\n');
    expect(stdout).toContain('The recorded program was refused 1 request');
  });

  test('prints no line break and no escape of a snapshot', async () => {
    const path = join(folder, 'odd.pickle');
    const odd = 'a\u001b[31m\nb';
    const entry = {
      action: 'alloc',
      addr: 2 ** 40,
      size: 2 ** 30,
      stream: 0,
      time_us: 1,
      frames: [{ name: odd, filename: odd, line: 3 }],
    };
    const external_annotations = [{ device: 0, time_us: 0, name: odd, stage: 'START' }];
    const allocator_settings = { PYTORCH_CUDA_ALLOC_CONF: odd };
    writeFileSync(path, pickled({ segments: [], device_traces: [[entry]], external_annotations, allocator_settings }));
    const { stdout, stderr } = await stowageHere(['whatif', path, '--limit', '20MiB']);
    for (const text of [stdout, stderr]) expect(text).not.toMatch(/(?!\n)\p{Cc}/u);
    expect(stdout).toContain('recorded under a?[31m?b\n');
    expect(stdout).toContain('in a?[31m?b:');
    expect(stdout).toContain('    a?[31m b (a?[31m b:3)');
  });

  test('prints JSON for each setting and limit', async () => {
    const confs = ['expandable_segments:True', ''];
    const args = [...confs.flatMap((conf) => ['--conf', conf]), '--manager', 'pool', '--limit', '6948913152', '--card', 'l4,t4'];
    const { code, stdout, stderr } = await stowageHere(['whatif', SNAPSHOT, ...args, '--json']);
    expect([code, stderr]).toEqual([0, '']);
    const { version, snapshot, results } = JSON.parse(stdout) as { version: number; snapshot: string; results: object[] };
    expect([version, snapshot, results.length]).toEqual([1, SNAPSHOT, 9]);
    expect(results[0]).toEqual({
      conf: 'expandable_segments:True',
      manager: 'pytorch',
      limitBytes: 6_948_913_152,
      fits: true,
      failure: null,
      peakReservedBytes: 6_935_281_664,
      peakAllocatedBytes: expect.any(Number),
      retries: 1,
      ooms: 0,
      nativeAllocs: 76,
      nativeFrees: 6,
      leastLimitBytes: null,
    });
    expect(results[3]).toMatchObject({
      conf: '',
      fits: false,
      failure: { event: 10_368, requestedBytes: expect.any(Number), timeUs: expect.any(Number), frames: [] },
    });
    expect(results[6]).toMatchObject({ conf: null, manager: 'pool' });
  });

  test('searches settings, and prints them as the environment takes them', async () => {
    const { code, stdout } = await stowageHere(['whatif', SNAPSHOT, '--search', '--limit', '6.5GiB']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/settings tried, \d+ of them fit in 6\.50 GiB\./);
    const found = [...stdout.matchAll(/^ *([\d.]+) GiB +(\d+) {2}PYTORCH_ALLOC_CONF=(\S+)$/gm)];
    expect(found.length).toBeGreaterThan(0);
    expect(found[0]![3]).toContain('expandable_segments:True');
    // As it is printed, with the name of the variable.
    const { stdout: json } = await stowageHere([
      'whatif',
      SNAPSHOT,
      '--conf',
      `PYTORCH_ALLOC_CONF=${found[0]![3]!}`,
      '--limit',
      '6.5GiB',
      '--json',
    ]);
    const { results } = JSON.parse(json) as { results: object[] };
    expect(results).toMatchObject([{ conf: found[0]![3]!, fits: true }]);
  });

  test.each([['6.9GiB'], ['7GiB'], ['7.1GiB'], ['8GiB'], ['t4']])(
    'a search in %s offers what PyTorch takes alone',
    async (limit) => {
      const option = limit === 't4' ? '--card' : '--limit';
      const { code, stdout, stderr } = await stowageHere(['whatif', SNAPSHOT, '--search', option, limit, '--json']);
      expect([code, stderr]).toEqual([0, expect.not.stringContaining('character')]);
      const { results } = JSON.parse(stdout) as { results: { conf: string }[] };
      expect(results.length).toBeGreaterThan(0);
      for (const { conf } of results) expect(() => parseAllocConf(conf)).not.toThrow();
    },
  );

  test.each([
    'PYTORCH_ALLOC_CONF=expandable_segments:True',
    'PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True"',
    "PYTORCH_HIP_ALLOC_CONF='expandable_segments:True'",
  ])('takes %s as a setting', async (text) => {
    const { code, stdout } = await stowageHere(['whatif', OOM, '--conf', text, '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ results: [{ conf: 'expandable_segments:True' }] });
  });

  test('says what of a card is set aside, and which limit a share of it is', async () => {
    const conf = 'per_process_memory_fraction:0.2';
    const file = join(folder, 'share.html');
    const { stdout } = await stowageHere(['whatif', SNAPSHOT, '--conf', conf, '--conf', '', '--card', 'l4', '--report', file]);
    expect(readFileSync(file, 'utf8')).toContain('"limit":"0.2 of l4, 4.35 GiB"');
    expect(stdout).toMatch(/^per_process_memory_fraction:0\.2 +0\.2 of l4, 4\.35 GiB +no/m);
    expect(stdout).toMatch(/^the default of PyTorch +l4, 21\.74 GiB +yes/m);
    expect(stdout).toContain("Set aside for the context and kernels, by an estimate: 768.00 MiB of l4's 22.49 GiB.");
  });

  test('says of what a search found what passes the limit, and what older versions lack', async () => {
    const { stdout } = await stowageHere(['whatif', SNAPSHOT, '--search', '--limit', '6.7GiB']);
    expect(stdout).toMatch(/peak reserved passes a limit here by up to \d+\.\d\d MiB/);
    expect(stdout).toContain('Older versions of PyTorch do not know large_segment_size_mb');
  });

  test('runs each setting once', async () => {
    const { stdout } = await stowageHere(['whatif', OOM, '--manager', 'pytorch,pool', '--limit', '3GiB', '--json']);
    expect((JSON.parse(stdout) as { results: { manager: string }[] }).results.map(({ manager }) => manager)).toEqual([
      'pytorch',
      'pool',
    ]);
  });

  test('asks of one device', async () => {
    const entry = (size: number) => ({ action: 'alloc', addr: 2 ** 40, size, stream: 0, time_us: 5, frames: [] });
    const file = join(folder, 'two.pickle');
    writeFileSync(file, pickled({ segments: [], device_traces: [[entry(2 ** 20)], [entry(2 ** 26)]] }));
    const peak = async (...args: string[]) => {
      const { stdout } = await stowageHere(['whatif', file, ...args, '--json']);
      return (JSON.parse(stdout) as { results: { peakReservedBytes: number }[] }).results[0]!.peakReservedBytes;
    };
    expect([await peak(), await peak('--device', '1')]).toEqual([2 ** 21, 2 ** 26]);
    const { stdout } = await stowageHere(['whatif', file, '--device', '1']);
    expect(stdout).toContain('2 allocations on 2 devices');
    expect(stdout).toContain('These are the requests of device 1; 1 allocation on other devices is left out.');
  });

  test('refuses a snapshot without a history, and says how to record one', async () => {
    const file = join(folder, 'state.pickle');
    const block = { address: 2 ** 40, size: 2 ** 21, requested_size: 2 ** 21, state: 'active_allocated' };
    const segment = { device: 0, address: 2 ** 40, total_size: 2 ** 21, stream: 0, segment_type: 'large', blocks: [block] };
    writeFileSync(file, pickled({ segments: [segment], device_traces: [[]] }));
    const { code, stdout, stderr } = await stowageHere(['whatif', file]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^stowage: .*state\.pickle: there is no history in it.*_record_memory_history\(.*\n$/);
  });

  test('has a help without empty defaults and wide lines', async () => {
    const { stdout } = await stowageHere(['whatif', '--help']);
    expect(stdout).not.toContain('default: []');
    expect(stdout).toContain('Exit code: 0 whether it fits or not');
    expect(Math.max(...stdout.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(100);
  });

  test('writes a page of a search with the default beside what was found', async () => {
    const file = join(folder, 'search.html');
    const { code, stdout } = await stowageHere(['whatif', OOM, '--search', '--limit', '3GiB', '--report', file]);
    expect(code).toBe(0);
    const [totals = 'nothing'] = /\d+ settings tried, \d+ of them fit/.exec(stdout) ?? [];
    const page = readFileSync(file, 'utf8');
    expect(page).toContain(`${totals}. Shown are the default and those that no other one beats.`);
    expect(page).toContain('"setting":"the default of PyTorch"');
  });

  test('says which setting came furthest where none fits', async () => {
    const { stdout } = await stowageHere(['whatif', SNAPSHOT, '--search', '--limit', '1GiB']);
    expect(stdout).toContain(', 0 of them fit in 1.00 GiB.\nThe one that came furthest:\n');
  });

  test('writes a page with the curves', async () => {
    const file = join(folder, 'whatif.html');
    const confs = ['--conf', 'expandable_segments:True', '--conf', ''];
    const { code, stdout } = await stowageHere(['whatif', SNAPSHOT, ...confs, '--report', file]);
    expect(code).toBe(0);
    expect(stdout).toContain(`report    ${file}\n`);
    expect(readFileSync(file, 'utf8')).toContain('expandable_segments:True');
  });

  test('takes traces of other formats', async () => {
    const { code, stdout } = await stowageHere(['whatif', 'test/traces/resnet.trace.gz', '--manager', 'tlsf', '--json']);
    expect(code).toBe(0);
    const { results } = JSON.parse(stdout) as {
      results: { manager: string; leastLimitBytes: number; peakReservedBytes: number }[];
    };
    expect(results.map(({ manager }) => manager)).toEqual(['pytorch', 'tlsf']);
    for (const { leastLimitBytes, peakReservedBytes } of results) expect(leastLimitBytes).toBeLessThanOrEqual(peakReservedBytes);
  });

  test.each([
    [['nothing.pickle'], 'nothing.pickle: there is no such file'],
    [['package.json'], 'package.json:1: its format is not known'],
    [
      [SNAPSHOT, '--conf', 'expandable_segment:True'],
      'PYTORCH_ALLOC_CONF, character 1 is "expandable_segment", but must be a key: did you mean "expandable_segments"?',
    ],
    [[SNAPSHOT, '--limit', '24'], '(did you mean 24GiB?)'],
    [[SNAPSHOT, '--card', '3090'], '(did you mean rtx3090?)'],
    [[SNAPSHOT, '--conf', 'max_split_size_mb:128,expandable_segments:yes'], 'PYTORCH_ALLOC_CONF, character 43 is "yes"'],
    [[SNAPSHOT, '--conf', 'backend:cudaMallocAsync'], 'with cudaMallocAsync the driver places blocks'],
    [[OOM, '--conf', 'expandable_segments:True,large_segment_size_mb:21'], 'is 21, but must be an even number of MiB'],
    [[SNAPSHOT, '--limit', '24Gx'], '--limit is "24Gx", but must be a size above 0'],
    [[SNAPSHOT, '--card', 'h100'], '(did you mean h100-80g?)'],
    [[SNAPSHOT, '--card', 'l4,'], '--card is ""'],
    [[SNAPSHOT, '--manager', 'pol'], '(did you mean pool?)'],
    [[SNAPSHOT, '--search', '--manager', 'pool'], '--search tries settings of its own'],
    [[SNAPSHOT, '--search', '--limit', '1GiB', '--card', 'l4'], '--search takes one limit or one card, since'],
    [[OOM, '--device', '3'], 'device is 3, but must be one of 0'],
    [[SNAPSHOT, '--device', 'x'], '--device is "x"'],
    [[SNAPSHOT, '--repotr', 'x'], "unknown option '--repotr' (did you mean --report?)"],
    [[SNAPSHOT, '--report', '/nowhere/x.html'], 'its folder does not exist'],
    [[], "missing required argument 'snapshot'"],
  ])('refuses %j in one line', async (args, message) => {
    const { code, stdout, stderr } = await stowageHere(['whatif', ...args]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });
});
