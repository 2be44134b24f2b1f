import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllocConf } from '../../managers/index.js';
import { compiled } from '../fixtures/compiled.js';
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
  });

  test('names the event, the time and the frames of the request that fails', async () => {
    const { code, stdout } = await stowageHere(['whatif', OOM, '--limit', '2GiB']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/fails at event 103 of 104 \(99 %\), after 0\.003 s: 66\.76 MiB are requested/);
    expect(stdout).toContain('\n    oom (pools.py:35)\n    run (pools.py:9)\n    <module> (pools.py:38)\n');
    expect(stdout).toContain('The recorded program was refused 1 request');
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

  test('says which setting came furthest where none fits', async () => {
    const { stdout } = await stowageHere(['whatif', SNAPSHOT, '--search', '--limit', '1GiB']);
    expect(stdout).toContain(', 0 of them fit in 1.00 GiB.\nThe one that came furthest:\n');
  });

  test('writes a page with the curves', () => {
    const file = join(folder, 'whatif.html');
    const { code, stdout } = stowage(['whatif', SNAPSHOT, '--conf', 'expandable_segments:True', '--conf', '', '--report', file]);
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
    [[SNAPSHOT, '--conf', 'expandable_segments:True,large_segment_size_mb:21'], 'is 21, but must be an even number of MiB'],
    [[SNAPSHOT, '--limit', '24Gb'], '--limit is "24Gb", but must be a size above 0'],
    [[SNAPSHOT, '--card', 'h100'], '(did you mean h100-80g?)'],
    [[SNAPSHOT, '--card', 'l4,'], '--card is ""'],
    [[SNAPSHOT, '--manager', 'pol'], '(did you mean pool?)'],
    [[SNAPSHOT, '--search', '--manager', 'pool'], '--search tries settings of its own'],
    [[SNAPSHOT, '--search', '--limit', '1GiB', '--card', 'l4'], '--search takes one limit or one card'],
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
