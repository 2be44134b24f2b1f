import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BlockLifetimes, isSeen, NEVER } from '../../src/report/block-lifetimes.js';
import { BucketCurve, bucketStride, curveX, MAX_BUCKETS } from '../../src/report/bucket-curve.js';
import { fragmentation } from '../../src/report/fragmentation.js';
import { SegmentHistory } from '../../src/report/segment-history.js';
import { sizeClasses } from '../../src/report/size-classes.js';
import { traceOf } from './reports.js';

describe('BucketCurve', () => {
  describe('add', () => {
    test('keeps every value when there is room', () => {
      const curve = new BucketCurve(3);
      for (const [event, value] of [5, 1, 9].entries()) curve.add(event, value);
      expect([...curve.points]).toEqual([0, 5, 1, 9]);
      expect([...curveX(3)]).toEqual([0, 1, 2, 3]);
    });

    test('leaves the value as it was over events that are left out', () => {
      const curve = new BucketCurve(4);
      curve.add(0, 7);
      curve.add(3, 8);
      expect([...curve.points]).toEqual([0, 7, 7, 7, 8]);
    });

    test('keeps the lowest and the highest value of each bucket, in their order', () => {
      fc.assert(
        fc.property(
          fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: MAX_BUCKETS + 1, maxLength: MAX_BUCKETS * 3 }),
          (values) => {
            const stride = bucketStride(values.length);
            const curve = new BucketCurve(values.length);
            for (const [event, value] of values.entries()) curve.add(event, value);
            expect(curve.points.length).toBe(curveX(values.length).length);
            for (let bucket = 0; bucket * stride < values.length; bucket++) {
              const inside = values.slice(bucket * stride, (bucket + 1) * stride);
              const points = [...curve.points.subarray(1 + bucket * 2, 3 + bucket * 2)];
              expect([Math.min(...points), Math.max(...points)]).toEqual([Math.min(...inside), Math.max(...inside)]);
            }
          },
        ),
        { numRuns: 5 },
      );
    });
  });
});

describe('SegmentHistory', () => {
  test('has at each moment what a model of single pages has', () => {
    const call = fc.record({
      commit: fc.boolean(),
      page: fc.integer({ min: 0, max: 19 }),
      pages: fc.integer({ min: 1, max: 6 }),
    });
    fc.assert(
      fc.property(fc.array(call, { maxLength: 60 }), (calls) => {
        const history = new SegmentHistory();
        const model = new Set<number>();
        const states: string[] = [''];
        calls.forEach(({ commit, page, pages }, i) => {
          const range = Array.from({ length: pages }, (_, n) => page + n);
          // A device commits only what is not committed.
          if (commit && range.every((one) => !model.has(one))) {
            history.add(page * 10, pages * 10, i + 1, true);
            for (const one of range) model.add(one);
          } else if (!commit) {
            history.removePages(page * 10, pages * 10, i + 1);
            for (const one of range) model.delete(one);
          }
          states.push([...model].sort((a, b) => a - b).join());
          expect(history.reservedBytes).toBe(model.size * 10);
        });
        states.forEach((expected, moment) => {
          const pages: number[] = [];
          history.start.forEach((start, row) => {
            if (history.born[row]! > moment || moment >= history.died[row]!) return;
            for (let at = start; at < start + history.bytes[row]!; at += 10) pages.push(at / 10);
          });
          expect(pages.sort((a, b) => a - b).join()).toBe(expected);
        });
      }),
    );
  });

  test('keeps the peak and when it was first reached', () => {
    const history = new SegmentHistory();
    history.add(1000, 100, 3, false);
    history.add(2000, 50, 7, false);
    history.remove(1000, 9);
    history.add(3000, 60, 11, false);
    expect([history.peakReservedBytes, history.peakMoment, history.reservedBytes]).toEqual([150, 7, 110]);
    expect(history.ranges()).toEqual([
      { start: 2000, end: 2050 },
      { start: 3000, end: 3060 },
    ]);
  });
});

describe('fragmentation', () => {
  test('is the share of free bytes outside the largest free range', () => {
    const ranges = [
      { start: 100, end: 200 },
      { start: 300, end: 400 },
    ];
    // Free: 100 to 110, 120 to 200, 300 to 390.
    expect(fragmentation(ranges, Float64Array.of(390, 110), Float64Array.of(400, 120))).toBeCloseTo(1 - 90 / 180);
  });

  test('is 0 when nothing is free', () => {
    expect(fragmentation([{ start: 0, end: 8 }], Float64Array.of(0), Float64Array.of(8))).toBe(0);
    expect(fragmentation([], Float64Array.of(), Float64Array.of())).toBe(0);
  });
});

describe('BlockLifetimes', () => {
  test('says for each block at which moments it lives', () => {
    const lifetimes = new BlockLifetimes(traceOf([{ alloc: 10 }, { alloc: 20 }, { free: 0 }]));
    expect([...lifetimes.born]).toEqual([1, 2]);
    expect([...lifetimes.died]).toEqual([3, NEVER]);
    expect([...lifetimes.bytes]).toEqual([10, 20]);
  });

  test('gives the rows that live at a moment that can be shown, and no others', () => {
    fc.assert(
      fc.property(
        fc.nat(40),
        fc.nat(40),
        fc.constantFrom(1, 2, 4, 8),
        fc.array(fc.nat(50), { maxLength: 3 }),
        (born, life, stride, moments) => {
          const died = born + 1 + life;
          const shown = [...moments, ...Array.from({ length: 200 }, (_, i) => i * stride)];
          expect(isSeen(born, died, stride, moments)).toBe(shown.some((moment) => born <= moment && moment < died));
        },
      ),
    );
  });
});

describe('sizeClasses', () => {
  test('counts allocations by powers of two, empty classes between others included', () => {
    expect(sizeClasses(traceOf([{ alloc: 0 }, { alloc: 1 }, { alloc: 7 }, { alloc: 4 }]))).toEqual([
      { from: 0, to: 1, allocations: 1, bytes: 0 },
      { from: 1, to: 2, allocations: 1, bytes: 1 },
      { from: 2, to: 4, allocations: 0, bytes: 0 },
      { from: 4, to: 8, allocations: 2, bytes: 11 },
    ]);
  });
});
