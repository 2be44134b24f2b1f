import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemoryError } from '../../src/core/errors.js';
import {
  alignUp,
  bytesOf,
  checkAlignment,
  checkBytes,
  devicePtr,
  formatBytes,
  GiB,
  isPowerOfTwo,
  KiB,
  MiB,
} from '../../src/core/units.js';
import { memoryError } from './fakes.js';

const BAD = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, -(2 ** 53)];

describe('devicePtr', () => {
  test.each([0, 1, 2 ** 32, 2 ** 53 - 1])('takes %i', (address) => {
    expect(devicePtr(address)).toBe(address);
  });

  test.each(BAD)('refuses %d', (pointer) => {
    expect(() => devicePtr(pointer)).toThrow(memoryError('ERR_MEM_INVALID_POINTER', { pointer }));
  });
});

describe('checkBytes', () => {
  test.each(BAD)('refuses %d', (bytes) => {
    expect(() => checkBytes(bytes)).toThrow(memoryError('ERR_MEM_INVALID_SIZE', { bytes }));
  });

  test('takes 0 and 2^53 - 1', () => {
    checkBytes(0);
    checkBytes(2 ** 53 - 1);
  });
});

describe('isPowerOfTwo', () => {
  test('holds for 2^0 to 2^52 alone', () => {
    for (let exponent = 0; exponent <= 52; exponent++) {
      expect(isPowerOfTwo(2 ** exponent)).toBe(true);
      if (exponent > 1) expect([isPowerOfTwo(2 ** exponent - 1), isPowerOfTwo(2 ** exponent + 1)]).toEqual([false, false]);
    }
    for (const value of [...BAD, 0, 0.25]) expect(isPowerOfTwo(value), String(value)).toBe(false);
  });
});

describe('checkAlignment', () => {
  test.each([3, 6, 2 ** 52 + 1, 2 ** 53, -2, 0.5, Number.NaN])('refuses %d', (alignmentBytes) => {
    expect(() => checkAlignment(alignmentBytes)).toThrow(memoryError('ERR_MEM_INVALID_ALIGNMENT', { alignmentBytes }));
  });

  test('takes 0 for no wish', () => {
    checkAlignment(0);
  });
});

describe('alignUp', () => {
  test('gives the least multiple that is not below', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 52 }), fc.integer({ min: 1, max: 2 ** 22 }), (value, step) => {
        const aligned = alignUp(value, step);
        expect(BigInt(aligned) % BigInt(step)).toBe(0n);
        expect(aligned - value).toBeGreaterThanOrEqual(0);
        expect(aligned - value).toBeLessThan(step);
      }),
    );
  });
});

describe('bytesOf', () => {
  test('multiplies dims and element size', () => {
    expect([bytesOf([2, 3, 4], 8), bytesOf([], 4), bytesOf([5, 0], 4), bytesOf(Uint32Array.of(7), 2)]).toEqual([192, 4, 0, 14]);
  });
});

describe('formatBytes', () => {
  test.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.50 KiB'],
    [MiB, '1.00 MiB'],
    [2.5 * GiB, '2.50 GiB'],
    [2 ** 53 - 1, '8.00 PiB'],
  ])('writes %i as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
    expect(KiB).toBe(1024);
  });
});

describe('MemoryError', () => {
  describe('is', () => {
    test('goes by name and code, so that errors of another copy count', () => {
      const error = new MemoryError('ERR_MEM_INVALID_SIZE', { bytes: -1 });
      const foreign = Object.assign(new Error('x'), { name: 'MemoryError', code: 'ERR_MEM_INVALID_SIZE' });
      for (const each of [error, foreign]) {
        expect(MemoryError.is(each)).toBe(true);
        expect(MemoryError.is(each, 'ERR_MEM_INVALID_SIZE')).toBe(true);
        expect(MemoryError.is(each, 'ERR_MEM_NATIVE')).toBe(false);
      }
      const others = [new Error('x'), { name: 'MemoryError', code: 'ERR_MEM_NATIVE' }, undefined, 'ERR_MEM_NATIVE'];
      expect(others.map((other) => MemoryError.is(other))).toEqual([false, false, false, false]);
    });
  });

  test('tells code, facts and cause', () => {
    const cause = new Error('cuMemAlloc');
    const error = new MemoryError('ERR_MEM_DOUBLE_FREE', { pointer: 4096 }, cause);
    expect(error).toMatchObject({ name: 'MemoryError', code: 'ERR_MEM_DOUBLE_FREE', facts: { pointer: 4096 }, cause });
    expect(error.message).toBe('pointer 4096 is already free');
  });

  test('gives sizes to the byte, and in units for people', () => {
    const facts = { allocatedBytes: 0, reservedBytes: 3 * 2 ** 30, device: 1 };
    const message = (more: object) =>
      new MemoryError('ERR_MEM_OUT_OF_MEMORY', { requestedBytes: 1536, capacityBytes: 2 ** 32, ...facts, ...more }).message;
    expect(message({})).toBe(
      'out of memory: 1536 bytes (1.50 KiB) requested on device 1; 0 bytes allocated, ' +
        '3221225472 bytes (3.00 GiB) reserved, capacity 4294967296 bytes (4.00 GiB)',
    );
    expect(message({ segmentBytes: 2 ** 21, quota: 'limited to 10 blocks' })).toBe(
      'out of memory: 1536 bytes (1.50 KiB) requested on device 1, in a segment of 2097152 bytes (2.00 MiB); 0 bytes allocated, ' +
        '3221225472 bytes (3.00 GiB) reserved, limited to 10 blocks',
    );
    expect(message({ capacityBytes: Number.POSITIVE_INFINITY })).toContain('capacity Infinity bytes');
    expect(new MemoryError('ERR_MEM_OUT_OF_RANGE', { offsetBytes: 8, bytes: 4096, blockBytes: 100 }).message).toBe(
      '4096 bytes (4.00 KiB) at offset 8 do not lie inside a block of 100 bytes',
    );
  });
});
