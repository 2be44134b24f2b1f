import { describe, expect, test } from 'vitest';
import { MiB } from '../../src/index.js';
import { type TradeRun, tradeOf } from '../../src/report/trade.js';

const run = (name: string, mib: number, nsPerEvent?: number, nativeCalls?: number): TradeRun => ({
  name,
  bytes: mib * MiB,
  nsPerEvent,
  nativeCalls,
});

describe('tradeOf', () => {
  test.each<readonly [string, TradeRun[], string]>([
    [
      'the least memory against the fastest',
      [run('caching', 100, 50, 60), run('pool', 96, 80, 165)],
      'pool holds 4 % less memory at its peak than caching (96.00 MiB against 100.00 MiB); caching is 1.6 times faster (50 ns an event against ' +
        '80 ns) and makes 60 native calls instead of 165',
    ],
    [
      'fewer native calls of the one with the least memory',
      [run('caching', 100, 50, 200), run('pool', 96, 58, 165)],
      'pool holds 4 % less memory at its peak than caching (96.00 MiB against 100.00 MiB); caching is 16 % faster (50 ns an event against 58 ns), ' +
        'with 200 native calls instead of 165',
    ],
    [
      'the one that is best in both',
      [run('a', 100, 50), run('b', 200, 70)],
      'a holds the least memory at its peak, 100.00 MiB, and no other is faster: 50 ns an event',
    ],
    [
      'as much memory where it differs by less than 1 %',
      [run('a', 100, 70, 5), run('b', 100.5, 50, 6)],
      'a holds about as much memory at its peak as b (100.00 MiB against 100.50 MiB); b is 1.4 times faster (50 ns an event against 70 ns), ' +
        'with 6 native calls instead of 5',
    ],
    [
      'what lies between two extremes',
      [run('a', 100, 1000), run('b', 104, 200), run('c', 120, 50), run('d', 110, 300)],
      'a holds 17 % less memory at its peak than c (100.00 MiB against 120.00 MiB); c is 20 times faster (50 ns an event against 1,000 ns). ' +
        'Between them, b: 13 % less memory than c, and 5 times faster than a',
    ],
    [
      'native calls where no time is known',
      [run('a', 100, undefined, 50), run('b', 120, undefined, 20)],
      'a holds 17 % less memory at its peak than b (100.00 MiB against 120.00 MiB); b makes 20 native calls instead of 50',
    ],
    [
      'one without a time beside those that have one',
      [run('recorded', 90, undefined, 50), run('b', 120, 30, 20)],
      'recorded holds 25 % less memory at its peak than b (90.00 MiB against 120.00 MiB); b is the fastest of those whose time is known ' +
        '(30 ns an event) and makes 20 native calls instead of 50',
    ],
    ['the only one', [run('a', 1, 1)], 'a holds the least memory at its peak, 1.00 MiB'],
  ])('says %s', (_, runs, text) => {
    expect(tradeOf(runs).text).toBe(text);
  });

  test('takes times that differ by less than 5 % as equal', () => {
    expect(tradeOf([run('a', 100, 51), run('b', 120, 50)])).toMatchObject({ least: 0, fastest: 0 });
    expect(tradeOf([run('a', 130, 51), run('b', 120, 50), run('c', 100, 90)])).toMatchObject({ least: 2, fastest: 1 });
  });

  test('says it of another kind of memory', () => {
    expect(tradeOf([run('a', 1)], { verb: 'needs', noun: 'capacity' }).text).toBe('a needs the least capacity, 1.00 MiB');
  });
});
