import { describe, expect, test } from 'vitest';
import '../../src/defaults.js';
import { KiB } from '../../src/core/units.js';
import { CALL_GROUPS, type CallRow, HANDLE, MALLOC, measureCalls } from './calls.js';
import { callRows } from './extras.js';
import { extrasText } from './text-report.js';

describe('measureCalls', () => {
  test.each(CALL_GROUPS)('measures the calls of the group %s, the first one as 1', (group) => {
    const rows = measureCalls(group, KiB, 1);
    expect(rows.length).toBeGreaterThanOrEqual(2);
    expect(rows[0]!.ratio).toBe(1);
    for (const { ns, ratio } of rows) expect([ns > 0, ratio > 0]).toEqual([true, true]);
  });
});

describe('callRows', () => {
  test('gives a row a call with its figures by size, each call once', () => {
    const bySize = [1, 2, 3].map((ns) => [
      { call: MALLOC, ns, ratio: 1 },
      { call: HANDLE, ns: 3 * ns, ratio: 3 },
    ]);
    const expected: CallRow[] = [
      { call: MALLOC, comparedWith: MALLOC, ns: [1, 2, 3], ratios: [1, 1, 1] },
      { call: HANDLE, comparedWith: MALLOC, ns: [3, 6, 9], ratios: [3, 3, 3] },
    ];
    expect(callRows(bySize)).toEqual(expected);
    expect(extrasText({ growth: [], logging: [], recording: [], calls: expected, hosts: undefined })).toMatch(
      /dispose +3 \(3\.00\) +6 \(3\.00\)/,
    );
  });
});
