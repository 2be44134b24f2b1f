import { describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { PoolMemoryManager } from '../../managers/index.js';
import { fastestInTurns, timeReplays } from '../../src/cli/in-turns.js';
import type { ManagerFactory } from '../../src/core/memory-host.js';
import { MemoryError } from '../../src/index.js';
import { traceOf } from '../report/reports.js';

describe('fastestInTurns', () => {
  /** Contestants that measure the given times, one after the other, note their turns, and take so many ms each. */
  function contestants(times: Readonly<Record<string, readonly number[]>>, ms = 1000) {
    const turns: string[] = [];
    let clock = 0;
    const runs = Object.entries(times).map(([name, own]) => {
      let turn = 0;
      return () => {
        turns.push(name);
        clock += ms;
        return own[Math.min(turn++, own.length - 1)] as number;
      };
    });
    return { turns, runs, now: () => clock };
  }

  test('keeps the fastest time of each, the first one left out', () => {
    const { runs, now } = contestants({ a: [1, 30, 20, 40], b: [99, 7, 9, 8] });
    expect(fastestInTurns(runs, undefined, now)).toEqual([20, 7]);
  });

  test('gives equal contestants equal times although code is slow at first', () => {
    // The process gets faster with each run, whoever has his turn.
    let turn = 0;
    const run = () => Math.max(10, 100 - turn++ * 10);
    expect(fastestInTurns([run, run, run])).toEqual([10, 10, 10]);
  });

  test('goes forwards and backwards, so that nobody always follows the same one', () => {
    const { turns, runs, now } = contestants({ a: [1], b: [1], c: [1] });
    fastestInTurns(runs, undefined, now);
    expect(turns.join('')).toBe('abc' + 'abc' + 'cba' + 'abc');
  });

  test.each([
    ['three when each is long', 1000, 3],
    ['more until they have taken half a second', 25, 10],
    ['a hundred at most', 1, 100],
    ['a hundred at most when nothing takes any time', 0, 100],
  ])('has rounds: %s', (_, ms, rounds) => {
    const { turns, runs, now } = contestants({ a: [1], b: [1] }, ms);
    const progress: number[] = [];
    fastestInTurns(runs, (done, total) => progress.push(done, total), now);
    expect(turns).toHaveLength(2 * (1 + rounds));
    expect(progress.slice(-2)).toEqual([rounds, rounds]);
  });

  test('has nothing to measure without contestants', () => {
    expect(fastestInTurns([])).toEqual([]);
  });
});

describe('timeReplays', () => {
  const trace = traceOf([{ alloc: 1000 }, { alloc: 2000 }, { free: 0 }, { free: 1 }]);

  test('replays the managers in turns, each on a device of its own that is empty at the end', () => {
    const turns: string[] = [];
    const replays = ['a', 'b', 'c'].map((name) => {
      const createManager: ManagerFactory = (deviceCount, table) => {
        turns.push(name);
        return new PoolMemoryManager(deviceCount, table);
      };
      return { createManager, device: new SimulatedDevice({ virtual: true }) };
    });
    const times = timeReplays(trace, replays);
    expect(times.map((ns) => ns > 0 && Number.isFinite(ns))).toEqual([true, true, true]);
    expect(turns.slice(0, 12).join('')).toBe('abcabccbaabc');
    for (const { device } of replays) expect(device.memoryInfo(0).freeBytes).toBe(device.memoryInfo(0).totalBytes);
  });

  test('throws what a replay throws', () => {
    const device = new SimulatedDevice({ capacityBytes: 1 });
    const createManager: ManagerFactory = (deviceCount, table) => new PoolMemoryManager(deviceCount, table);
    expect(() => timeReplays(trace, [{ createManager, device }])).toThrow(
      expect.toSatisfy((error) => MemoryError.is(error, 'ERR_MEM_REPLAY')),
    );
  });
});
