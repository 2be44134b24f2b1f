import { describe, expect, test } from 'vitest';
import { FailingMemoryManager, type FailingOptions } from '../../managers/index.js';
import { NULL_PTR } from '../../src/core/units.js';
import { memoryError, TextSink } from '../core/fakes.js';
import { decorated } from './decorator-bench.js';

const failing = (options: FailingOptions) => decorated((inner) => new FailingMemoryManager(inner, options));

/** Which of so many allocations fail, by number from 1. */
function failures(manager: FailingMemoryManager, attempts: number, bytes = 64): number[] {
  const failed: number[] = [];
  for (let i = 1; i <= attempts; i++) {
    try {
      manager.unlock(manager.allocBytes(bytes, true), true);
    } catch {
      failed.push(i);
    }
  }
  return failed;
}

describe('FailingMemoryManager', () => {
  test.each([{ every: 0 }, { every: 1.5 }, { probability: 1.1 }, { probability: Number.NaN }, { seed: 0.5 }, { aboveBytes: -1 }])(
    'refuses %o',
    (options) => {
      expect(() => failing(options)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    },
  );

  test('fails no allocation unless told to', () => {
    expect(failures(failing({}).manager, 100)).toEqual([]);
  });

  test('fails every n-th allocation, as out of memory, before the inner manager sees it', () => {
    const { bench, manager } = failing({ every: 3 });
    expect(failures(manager, 10)).toEqual([3, 6, 9]);
    expect([manager.attempts, manager.failures]).toEqual([10, 3]);
    const before = bench.state();
    manager.allocBytes(0, true);
    manager.allocBytes(1, true);
    expect(() => manager.allocBytes(7, true)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', { requestedBytes: 7, device: 0 }));
    expect(bench.state()).not.toEqual(before);
    expect(manager.stats(0)?.ooms).toBe(0);
  });

  test('fails a random share, the same for the same seed', () => {
    const share = (seed?: number) => failures(failing({ probability: 0.25, ...(seed !== undefined && { seed }) }).manager, 4000);
    const first = share(7);
    expect(first).toEqual(share(7));
    expect(first).not.toEqual(share(8));
    expect(share()).toEqual(share(1));
    // Four standard deviations around 1000 of 4000.
    expect(Math.abs(first.length - 1000)).toBeLessThan(110);
    expect(failures(failing({ probability: 1 }).manager, 5)).toHaveLength(5);
  });

  test('fails above a size', () => {
    const { manager } = failing({ aboveBytes: 1000 });
    expect(failures(manager, 2, 1000)).toEqual([]);
    expect(failures(manager, 2, 1001)).toEqual([1, 2]);
  });

  test('neither fails nor counts bad arguments and 0 bytes', () => {
    const { manager } = failing({ every: 1 });
    expect(manager.allocBytes(0, true)).toBe(NULL_PTR);
    expect(() => manager.allocBytes(-1, true)).toThrow(memoryError('ERR_MEM_INVALID_SIZE'));
    expect(() => manager.allocBytes(1, true, 5)).toThrow(memoryError('ERR_MEM_INVALID_ALIGNMENT'));
    expect(manager.attempts).toBe(0);
  });

  test('prints how many failed', () => {
    const { manager } = failing({ every: 2 });
    failures(manager, 5);
    const sink = new TextSink();
    manager.printInfo('now', 0, sink);
    expect(sink.lines.at(-1)).toBe('Made to fail: 2 of 5 allocations');
  });
});
