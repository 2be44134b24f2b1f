import { inflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { GiB, MemoryError, MiB } from '../../src/index.js';
import { buildWhatIf, renderPage } from '../../src/report/index.js';
import { traceOf } from './reports.js';
import { whatIfRun } from './whatif-runs.js';

const calls = Array.from({ length: 39 }, () => ({ alloc: 1000 }));
const trace = traceOf(calls);

describe('buildWhatIf', () => {
  test('keeps the figures of each run, and its curves as columns', () => {
    const failure = { event: 21, requestedBytes: 5 * MiB, step: 'step 3', frames: [{ name: 'f', filename: 'a.py', line: 1 }] };
    const failed = whatIfRun({ conf: 'max_split_size_mb:20', limitBytes: GiB, fits: false, failure }, 6);
    const { data, payload } = buildWhatIf(trace, [whatIfRun({ limitBytes: GiB }), failed], {
      settings: [{ label: 'card', value: 'l4' }],
      notes: ['2 MiB are not known.'],
    });
    expect(data).toMatchObject({ version: 1, mode: 'whatif', title: 'made up', events: 39, stride: 4, times: null });
    expect(data).toMatchObject({ settings: [{ label: 'card', value: 'l4' }], notes: ['2 MiB are not known.'] });
    const { curve, ...facts } = failed;
    expect(data.runs[1]).toMatchObject({ ...facts, failedAtMs: null });
    const bytes = Uint8Array.from(inflateRawSync(Buffer.from(payload, 'base64'))).buffer;
    const { offset, length } = data.runs[1]!.reserved;
    expect([...new Float64Array(bytes, offset, length)]).toEqual(curve?.reserved);
    expect(data.runs.map(({ allocated }) => allocated.length)).toEqual([10, 6]);
  });

  test('has the times of the points and of a failure where the trace has times', () => {
    const timed = traceOf(calls, 'timed', true);
    const failure = { event: 21, requestedBytes: 1, step: null, frames: [] };
    const { data, payload } = buildWhatIf(timed, [whatIfRun({ failure }, 6)]);
    const bytes = Uint8Array.from(inflateRawSync(Buffer.from(payload, 'base64'))).buffer;
    // A millisecond a call, and a second in the middle.
    expect([...new Float64Array(bytes, data.times!.offset, data.times!.length)]).toEqual([
      3, 7, 11, 15, 19, 1023, 1027, 1031, 1035, 1038,
    ]);
    expect(data.runs[0]?.failedAtMs).toBe(1021);
  });

  test.each([
    ['configurations', [{ conf: 'a:1' }, {}], ['a:1', 'the default of PyTorch']],
    [
      'limits',
      [{ limitBytes: GiB }, { limitBytes: null }],
      ['the default of PyTorch, 1.00 GiB', 'the default of PyTorch, no limit'],
    ],
    ['managers', [{}, { conf: null, manager: 'pool' }], ['the default of PyTorch', 'pool']],
    [
      'all',
      [
        { conf: 'a:1', limitBytes: GiB },
        { conf: null, manager: 'pool' },
      ],
      ['a:1, 1.00 GiB', 'pool, no limit'],
    ],
    [
      'cards',
      [
        { limitBytes: GiB, limitName: 'l4' },
        { limitBytes: GiB, limitName: 'a10' },
      ],
      ['the default of PyTorch, l4, 1.00 GiB', 'the default of PyTorch, a10, 1.00 GiB'],
    ],
    ['nothing', [{ conf: 'a:1', limitBytes: GiB }], ['a:1']],
  ])('names runs that differ in %s', (_, facts, labels) => {
    const { data } = buildWhatIf(
      trace,
      facts.map((each) => whatIfRun(each)),
    );
    expect(data.runs.map(({ label }) => label)).toEqual(labels);
  });

  test.each([
    [
      'those that fit there',
      [{ peakReservedBytes: 900 * MiB }, { conf: 'a:1', peakReservedBytes: 600 * MiB, nativeAllocs: 500 }],
      'With 1.00 GiB a:1 reserves 33 % less memory at its peak than the default of PyTorch (600.00 MiB against 900.00 MiB); the default',
    ],
    [
      'the only one that fits there',
      [{ peakReservedBytes: 900 * MiB }, { conf: 'a:1', fits: false }],
      'With 1.00 GiB only the default of PyTorch fits, and reserves 900.00 MiB at its peak.',
    ],
  ])('says the trade at the least limit that is enough, of %s', (_, facts, verdict) => {
    const atLimits = [0.5, 1, 2].flatMap((limit) =>
      facts.map((each) => whatIfRun({ ...each, limitBytes: limit * GiB, ...(limit < 1 ? { fits: false } : {}) })),
    );
    expect(buildWhatIf(trace, atLimits).data.verdict).toContain(verdict);
  });

  test('has empty columns for a run without a curve', () => {
    const { data } = buildWhatIf(trace, [whatIfRun(), whatIfRun({ curve: undefined })]);
    expect(data.runs.map(({ reserved }) => reserved.length)).toEqual([10, 0]);
  });

  test('makes a page without runs, and one of a trace without events', () => {
    expect(buildWhatIf(trace, []).data.runs).toEqual([]);
    expect(buildWhatIf(traceOf([]), [whatIfRun({}, 0)]).data.events).toBe(0);
  });

  test('refuses curves whose points do not stand at the same events', () => {
    expect(() => buildWhatIf(trace, [whatIfRun({}, 10, 4), whatIfRun({}, 5, 8)])).toThrow(
      expect.toSatisfy((error) => MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')),
    );
  });

  test('makes a page whose file names cannot end its elements', () => {
    const hostile = '</script><img src=x onerror=alert(1)>';
    const failure = { event: 1, requestedBytes: 1, step: hostile, frames: [{ name: hostile, filename: hostile, line: 1 }] };
    const page = renderPage(buildWhatIf(traceOf(calls, hostile), [whatIfRun({ conf: hostile, failure })], { notes: [hostile] }));
    expect(page).not.toContain('<img');
    expect(page.match(/<\/script>/g)).toHaveLength(4);
  });
});
