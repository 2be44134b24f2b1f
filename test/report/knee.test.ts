import { describe, expect, test } from 'vitest';
import { type Cost, kneeOf } from '../../src/report/knee.js';

describe('kneeOf', () => {
  test.each<readonly [string, Cost[], number]>([
    [
      'the least product of memory and time',
      [
        [475, 10_367],
        [489, 146],
        [510, 98],
        [900, 60],
      ],
      2,
    ],
    [
      'not the least memory when it costs much time',
      [
        [475, 2300],
        [510, 100],
      ],
      1,
    ],
    [
      'the least memory when it costs little time',
      [
        [475, 100],
        [510, 99],
      ],
      0,
    ],
    [
      'the first of equal ones',
      [
        [2, 3],
        [3, 2],
      ],
      0,
    ],
    ['the only one', [[1, 1]], 0],
    ['nothing when there is none', [], -1],
  ])('finds %s', (_, costs, place) => {
    expect(kneeOf(costs)).toBe(place);
  });
});
