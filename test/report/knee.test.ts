import { describe, expect, test } from 'vitest';
import { against, type Cost, kneeOf } from '../../src/report/knee.js';

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

describe('against', () => {
  test.each<readonly [Cost, Cost, string]>([
    [[93, 2300], [100, 100], '7 % less memory, 23 times the time'],
    [[100, 100], [93, 2300], '7.5 % more memory, 96 % less time'],
    [[250, 1], [100, 1], '2.5 times the memory, the same time'],
    [[1000, 996], [1001, 1000], 'the same memory, the same time'],
    [[0, 5], [0, 4], 'the same memory, 25 % more time'],
  ])('of %j and %j is %j', (a, b, text) => {
    expect(against(a, b)).toBe(text);
  });
});
