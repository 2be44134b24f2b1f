import { describe, expect, test } from 'vitest';
import '../../src/defaults.js';
import { KiB } from '../../src/core/units.js';
import { CALLS, callRows, HANDLE, MALLOC, prepareCall } from './calls.js';
import { extrasText } from './text-report.js';

describe('prepareCall', () => {
  test.each(CALLS.map(({ name }) => name))('measures rounds of %s', (name) => {
    using call = prepareCall(name, KiB, 1, 1);
    expect([call.round(), call.round()].every((ns) => ns > 0)).toBe(true);
  });
});

describe('callRows', () => {
  test('gives a row a call, with the quotients by size with the call that it is compared with, round by round', () => {
    // The second round is disturbed.
    const rounds = (ns: number) => [ns, 2 * ns, ns];
    const rows = callRows(CALLS.map((_, i) => [rounds(i + 1), rounds(2 * (i + 1)), rounds(3 * (i + 1))]));
    expect(rows[0]).toEqual({ call: MALLOC, comparedWith: MALLOC, ns: [1, 2, 3], ratios: [1, 1, 1] });
    expect(rows[2]).toEqual({ call: HANDLE, comparedWith: MALLOC, ns: [3, 6, 9], ratios: [3, 3, 3] });
    for (const { comparedWith, call } of rows) {
      const order = rows.map((row) => row.call);
      expect(order.indexOf(comparedWith)).toBeLessThanOrEqual(order.indexOf(call));
    }
    const text = extrasText({ growth: [], logging: [], recording: [], calls: rows, hosts: undefined });
    expect(text).toMatch(/runtime.allocate, dispose +3 \(3\.00\) +6 \(3\.00\)/);
  });
});
