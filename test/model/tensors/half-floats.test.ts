import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bfloat16Bits, bfloat16Value, float16Bits, float16Value } from '../../../src/model/tensors/half-floats.js';

const allBits = Array.from({ length: 0x10000 }, (_, bits) => bits);

/** The nearest of all f16, found by looking at each. */
function nearestFloat16(value: number): number {
  let best = 0;
  for (let bits = 0; bits < 0x7c00; bits++) {
    const [off, bestOff] = [Math.abs(float16Value(bits) - value), Math.abs(float16Value(best) - value)];
    if (off < bestOff || (off === bestOff && bits % 2 === 0)) best = bits;
  }
  return best;
}

describe('float16', () => {
  test('every value has its bits back', () => {
    const wrong = allBits.filter((bits) => {
      const value = float16Value(bits);
      const back = float16Bits(value);
      return Number.isNaN(value) ? !Number.isNaN(float16Value(back)) : back !== bits;
    });
    expect(wrong).toEqual([]);
    expect(allBits.filter((bits) => Number.isNaN(float16Value(bits))).length).toBe(2 * 1023);
  });

  test('rounds to the nearest', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.double({ min: 0, max: 65519, noNaN: true }), fc.double({ min: 0, max: 1e-4, noNaN: true })),
        (value) => {
          expect(float16Bits(value)).toBe(nearestFloat16(value));
        },
      ),
      { numRuns: 30 },
    );
  });

  test.each([
    [65504, 0x7bff],
    [65519.99, 0x7bff],
    [65520, 0x7c00],
    [-Infinity, 0xfc00],
    [1.00048828125, 0x3c00],
    [1.00146484375, 0x3c02],
    [2047.5, 0x6800],
    [0.00006103515624, 0x0400],
    [2 ** -25, 0],
    [-0, 0x8000],
  ])('%d is %d', (value, bits) => {
    expect(float16Bits(value)).toBe(bits);
  });
});

describe('bfloat16', () => {
  test('every value has its bits back', () => {
    const wrong = allBits.filter((bits) => {
      const value = bfloat16Value(bits);
      const back = bfloat16Bits(value);
      return Number.isNaN(value) ? !Number.isNaN(bfloat16Value(back)) : back !== bits;
    });
    expect(wrong).toEqual([]);
  });

  test.each([
    [1 + 2 ** -8, 0x3f80],
    [1 + 3 * 2 ** -8, 0x3f82],
    [1 + 2 ** -8 + 2 ** -20, 0x3f81],
    [3.4e38, 0x7f80],
    [-1, 0xbf80],
  ])('%d is %d', (value, bits) => {
    expect(bfloat16Bits(value)).toBe(bits);
  });
});
