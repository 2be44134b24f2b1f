import { existsSync, linkSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import '../../src/defaults.js';
import type { Releasable } from '../../src/core/disposable.js';
import { FileLogSink } from '../../src/runtime/file-log-sink.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { parseTrace, recordFlight, recordTrace } from '../../src/trace/index.js';
import { memoryError } from '../core/fakes.js';

const REFUSED = memoryError('ERR_MEM_BAD_INPUT', { reason: 'it is being written in this process already' });
let folder: string;
let runtime: MemoryRuntime;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'stowage-written-'));
  mkdirSync(join(folder, 'sub'));
  runtime = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
});
afterEach(() => {
  runtime.close();
  rmSync(folder, { recursive: true });
});

const WRITERS: readonly (readonly [string, (path: string) => Releasable])[] = [
  ['a recording', (path) => recordTrace(runtime, path)],
  ['a log', (path) => new FileLogSink(path)],
  ['a flight recorder', (path) => recordFlight(new MemoryRuntime(runtime.device, { exitReport: false }), path)],
];
const PAIRS = WRITERS.flatMap(([first, begin]) => WRITERS.map(([second, open]) => [first, second, begin, open] as const));

describe('a file that is being written', () => {
  test.each(PAIRS)('by %s is not written by %s, however its path is spelt', (_first, _second, begin, open) => {
    const path = join(folder, 'same');
    symlinkSync(folder, join(folder, 'link'));
    {
      using writer = begin(path);
      const spellings = [path, relative('', path), join(folder, 'sub', '..', 'same'), join(folder, 'link', 'same')];
      for (const spelling of spellings) expect(() => open(spelling)).toThrow(REFUSED);
      expect(writer).toBeDefined();
    }
    open(path).dispose();
  });

  test('stays a recording that can be read', () => {
    const path = join(folder, 'same');
    {
      using recorder = recordTrace(runtime, path);
      using other = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
      runtime.allocate(100).dispose();
      expect(() => recordTrace(other, path)).toThrow(REFUSED);
      using flight = recordFlight(other, join(folder, 'flight'));
      expect(() => flight.write(path)).toThrow(REFUSED);
      expect([recorder.path, flight.written]).toEqual([path, 0]);
    }
    expect(parseTrace(readFileSync(path), path).peakLiveBytes).toBe(100);
  });

  test.skipIf(process.platform === 'win32')('is known by a hard link, and by a link that leads to it', () => {
    const path = join(folder, 'same');
    using log = new FileLogSink(path);
    linkSync(path, join(folder, 'hard'));
    symlinkSync(path, join(folder, 'soft'));
    for (const name of ['hard', 'soft']) expect(() => recordTrace(runtime, join(folder, name))).toThrow(REFUSED);
    log.write('kept');
    expect(readFileSync(path, 'utf8')).toBe('kept');
  });

  test.skipIf(process.platform === 'win32')(
    'leaves its path to another when it was renamed, as logs are that are rotated',
    () => {
      const [path, old] = [join(folder, 'app.log'), join(folder, 'app.log.1')];
      using before = new FileLogSink(path);
      renameSync(path, old);
      using after = new FileLogSink(path);
      before.write('before');
      after.write('after');
      expect([readFileSync(old, 'utf8'), readFileSync(path, 'utf8')]).toEqual(['before', 'after']);
    },
  );

  test.skipIf(!existsSync('/dev/null'))('is no device, which takes any number', () => {
    using one = new FileLogSink('/dev/null');
    using other = new FileLogSink('/dev/null');
    for (const log of [one, other]) log.write('x');
  });
});
