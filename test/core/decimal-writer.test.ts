import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_DECIMAL_BYTES, writeDecimal } from '../../src/core/decimal-writer.js';
import { is } from '../fixtures/same.js';

const START = 3;
const GUARD = 0xee;

/** What is written, after checks that nothing is touched beside its place. */
function written(value: number): string {
  const bytes = new Uint8Array(START + MAX_DECIMAL_BYTES + 8).fill(GUARD);
  const end = writeDecimal(new DataView(bytes.buffer), START, value);
  const isTouched = bytes.some((byte, i) => byte !== GUARD && (i < START || i >= START + MAX_DECIMAL_BYTES));
  if (isTouched) expect.unreachable(`${value} is written beside its place`);
  return String.fromCharCode(...bytes.subarray(START, end));
}

const POWERS = [...Array.from({ length: 16 }, (_, i) => 10 ** i), ...Array.from({ length: 54 }, (_, i) => 2 ** i)];

describe('writeDecimal', () => {
  test('writes every number of up to five digits', () => {
    for (let value = 0; value < 1e5; value++) if (written(value) !== String(value)) expect(written(value)).toBe(String(value));
  });

  test('writes the neighbours of each power of ten and of two, and their negatives', () => {
    const values = POWERS.flatMap((power) => [power - 1, power, power + 1]).filter(Number.isSafeInteger);
    for (const value of values) {
      expect(written(value)).toBe(String(value));
      expect(written(0 - value)).toBe(String(0 - value));
    }
    expect(written(2 ** 53)).toBe('9007199254740992');
  });

  test('writes integers of all magnitudes', () => {
    const integers = fc
      .tuple(fc.maxSafeInteger(), fc.integer({ min: 0, max: 52 }))
      .map(([value, bits]) => Math.trunc(value / 2 ** bits));
    fc.assert(
      fc.property(integers, (value) => {
        is(written(value), String(value));
      }),
      { numRuns: 20_000 },
    );
  });

  test('cuts fractions off', () => {
    const values = fc.double({ min: -(2 ** 53), max: 2 ** 53, noNaN: true });
    fc.assert(
      fc.property(values, (value) => {
        expect(written(value)).toBe(String(Math.trunc(value)));
      }),
    );
    expect([0.5, -0.5, -0, 99_999_999.9, -1.5].map(written)).toEqual(['0', '0', '0', '99999999', '-1']);
  });

  test('writes all digits beyond 2^53, up to 24', () => {
    const values = [2 ** 54, 1e16, 1e17, 123_456_789 * 2 ** 40, 2 ** 64, 1e21, 1e24 - 2 ** 27];
    for (const value of values) expect(written(value)).toBe(String(BigInt(value)));
    expect(written(-(2 ** 64))).toBe('-18446744073709551616');
  });

  test.each([1e24, -1e24, 1e300, Number.POSITIVE_INFINITY, Number.NaN])('writes no more than one zero for %d', (value) => {
    expect(written(value).replace('-', '')).toBe('0');
  });
});
