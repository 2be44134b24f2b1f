import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Counters, type LruMemoryManager, StatisticsMemoryManager } from '../../managers/index.js';
import { withAllocationTag } from '../../src/core/allocation-tag.js';
import type { DevicePtr } from '../../src/core/units.js';
import { memoryError, TextSink } from '../core/fakes.js';
import { decorated } from './decorator-bench.js';

const statistics = () => decorated((inner) => new StatisticsMemoryManager(inner));

function numbers({ bytes, blocks }: Counters): number[] {
  return [bytes.current, bytes.peak, bytes.total, blocks.current, blocks.peak, blocks.total];
}

describe('StatisticsMemoryManager', () => {
  test('counts bytes as they were asked for, and blocks', () => {
    const { manager } = statistics();
    const first = manager.allocBytes(100, true);
    manager.allocBytes(50, false);
    manager.unlock(first, true);
    manager.allocBytes(0, true);
    manager.allocBytes(20, true);
    expect(numbers(manager.counters())).toEqual([70, 150, 170, 2, 2, 3]);
    manager.checkInvariants();
  });

  test('counts a block as freed when its last lock goes', () => {
    const { manager } = statistics();
    const ptr = manager.allocBytes(100, false);
    manager.userLock(ptr);
    manager.unlock(ptr, false);
    expect(manager.counters().blocks.current).toBe(1);
    manager.userUnlock(ptr);
    expect(manager.counters().blocks.current).toBe(0);
  });

  describe('pushCounters and popCounters', () => {
    test('measure a part and fold it into what is around it', () => {
      const { manager } = statistics();
      const old = manager.allocBytes(100, true);
      expect(numbers(manager.pushCounters())).toEqual([100, 100, 100, 1, 1, 1]);
      expect(numbers(manager.counters())).toEqual([0, 0, 0, 0, 0, 0]);
      const ptr = manager.allocBytes(30, true);
      manager.unlock(ptr, true);
      manager.unlock(old, true);
      manager.allocBytes(10, true);
      manager.checkInvariants();
      // Freed in this level but allocated below: the value goes negative.
      expect(numbers(manager.popCounters())).toEqual([-90, 30, 40, 0, 1, 2]);
      expect(numbers(manager.counters())).toEqual([10, 130, 140, 1, 2, 3]);
    });

    test('refuses to pop the first level', () => {
      const { manager } = statistics();
      expect(() => manager.popCounters()).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'counter depth' }));
      expect(manager.depth).toBe(1);
    });

    test('count as a model does, in random programs', () => {
      type Level = [number, number, number];
      const step = fc.record({
        kind: fc.constantFrom('alloc', 'alloc', 'free', 'push', 'pop'),
        bytes: fc.integer({ min: 1, max: 5000 }),
      });
      fc.assert(
        fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
          const { manager } = statistics();
          const model: Level[] = [[0, 0, 0]];
          const live: [DevicePtr, number][] = [];
          for (const { kind, bytes } of steps) {
            const top = model.at(-1) as Level;
            if (kind === 'alloc') {
              live.push([manager.allocBytes(bytes, true), bytes]);
              top[0] += bytes;
              top[1] = Math.max(top[1], top[0]);
              top[2] += bytes;
            } else if (kind === 'free' && live.length > 0) {
              const [ptr, freed] = live.splice(bytes % live.length, 1)[0] as [DevicePtr, number];
              manager.unlock(ptr, true);
              top[0] -= freed;
            } else if (kind === 'push') {
              manager.pushCounters();
              model.push([0, 0, 0]);
            } else if (kind === 'pop' && model.length > 1) {
              manager.popCounters();
              const above = model.pop() as Level;
              const below = model.at(-1) as Level;
              below[1] = Math.max(below[1], below[0] + above[1]);
              below[0] += above[0];
              below[2] += above[2];
            }
            expect(numbers(manager.counters()).slice(0, 3)).toEqual(model.at(-1));
            manager.checkInvariants();
          }
        }),
        { numRuns: 60 },
      );
    });
  });

  describe('measure', () => {
    test('gives the counters of what ran, and pops when that throws', () => {
      const { manager } = statistics();
      const { result, counters } = manager.measure(() => {
        manager.pushCounters();
        return manager.allocBytes(10, true);
      });
      expect(manager.allocated(result)).toBeGreaterThan(0);
      expect(counters.bytes).toEqual({ current: 10, peak: 10, total: 10 });
      expect(() =>
        manager.measure(() => {
          throw new Error('no');
        }),
      ).toThrow('no');
      expect(manager.depth).toBe(1);
      expect(manager.counters().bytes.current).toBe(10);
    });
  });

  describe('tags', () => {
    test('are counted apart, with those of the levels around', () => {
      const { manager } = statistics();
      const weights = withAllocationTag('weights', () => manager.allocBytes(100, true));
      manager.allocBytes(1, true);
      manager.pushCounters();
      withAllocationTag('activations', () => manager.allocBytes(20, true));
      manager.unlock(weights, true);
      expect(manager.tags).toEqual(['weights', 'activations']);
      expect(manager.counters('weights').bytes).toEqual({ current: -100, peak: 0, total: 0 });
      manager.popCounters();
      expect(numbers(manager.counters('weights'))).toEqual([0, 100, 100, 0, 1, 1]);
      expect(numbers(manager.counters('activations'))).toEqual([20, 20, 20, 1, 1, 1]);
      expect(numbers(manager.counters())).toEqual([21, 121, 121, 2, 3, 3]);
      expect(numbers(manager.counters('never seen'))).toEqual([0, 0, 0, 0, 0, 0]);
    });

    test('may be many', () => {
      const { manager } = statistics();
      for (let i = 0; i < 40; i++) withAllocationTag(`tag ${i}`, () => manager.allocBytes(1 + i, true));
      expect(manager.counters('tag 39').bytes.current).toBe(40);
      manager.pushCounters();
      expect(manager.counters('tag 39').bytes.current).toBe(0);
      manager.popCounters();
      expect(manager.counters('tag 39').bytes.current).toBe(40);
    });
  });

  describe('reconcile', () => {
    test('counts what a reference count freed past it', () => {
      const { manager } = decorated((inner) => new StatisticsMemoryManager(inner), 'lru');
      const lru = manager.inner as LruMemoryManager;
      const ptr = manager.allocBytes(100, true);
      lru.incrementRef(ptr);
      manager.unlock(ptr, true);
      lru.decrementRef(ptr);
      expect(manager.counters().bytes.current).toBe(100);
      expect(manager.reconcile()).toBe(1);
      expect(manager.counters().bytes.current).toBe(0);
      // The next block at that address would have told as well.
      const again = manager.allocBytes(100, true);
      lru.incrementRef(again);
      manager.unlock(again, true);
      lru.decrementRef(again);
      expect(manager.allocBytes(100, true)).toBe(again);
      expect(manager.counters().blocks.current).toBe(1);
    });
  });

  test('prints the top level', () => {
    const { manager } = statistics();
    manager.allocBytes(1024, true);
    const sink = new TextSink();
    manager.printInfo('now', 0, sink);
    expect(sink.lines.at(-1)).toBe('Level 1: 1.00 KiB in 1 block, peak 1.00 KiB, total 1.00 KiB in 1');
  });
});
