import { describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import {
  CachingMemoryManager,
  LimitingMemoryManager,
  PoolMemoryManager,
  PyTorchMemoryManager,
  TlsfMemoryManager,
} from '../../managers/index.js';
import { type BudgetOvershoot, MemoryBudget, type Pressure } from '../../src/budget/index.js';
import type { BudgetReclaim, BudgetRefusal } from '../../src/core/budget-report.js';
import { type MemoryError, type MemoryManagerDeviceInterface, MiB } from '../../src/core/index.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { PlainManager } from '../core/fakes.js';
import { codeOf } from '../fixtures/code-of.js';
import { errorOf, expectSum, heldBy, refusalAsync, refusalOf } from './budgets.js';
import { budget, HoardingManager, hoarder, limit, made, runtimeWith, useHoarders, warn } from './hoarders.js';

useHoarders();

describe('MemoryBudget', () => {
  describe('when it is full', () => {
    test('the asking member gives first, then the lowest priority, then who caches most', () => {
      const from: string[] = [];
      budget.events.on('reclaim', (reclaim: BudgetReclaim) => from.push(`${reclaim.from}: ${reclaim.step}`));
      hoarder('high', 0, 10, { priority: 5 });
      hoarder('small', 0, 5);
      hoarder('large', 0, 15);
      hoarder('low', 0, 10, { priority: -1 });
      const asking = hoarder('asking', 0, 5, { priority: 9 });
      // 45 of 64 are held, all cached: 62 need all but one and what the hysteresis of 2 takes.
      asking.runtime.allocate(62 * MiB);
      expect(from).toEqual([
        'asking: own cache',
        'low: caches of others',
        'large: caches of others',
        'small: caches of others',
        'high: caches of others',
      ]);
      expect(budget.usedBytes).toBe(62 * MiB);
    });

    test('gives back what is missing and 1/32 of the limit more, not everything', () => {
      const other = hoarder('other', 0, 40);
      const asking = hoarder('asking', 0, 0);
      asking.runtime.allocate(30 * MiB);
      // 6 MiB are missing, and 2 MiB more are given back.
      expect(other.manager.asked).toEqual([[8 * MiB, Number.POSITIVE_INFINITY]]);
      expect([heldBy(budget, 'other'), budget.usedBytes]).toEqual([32 * MiB, 62 * MiB]);
      expect(budget.report()).toMatchObject({ reclaimCount: 1, reclaimedBytes: 8 * MiB, refusals: 0 });
    });

    test('gives back at most 64 MiB more than what is missing, and whole bytes', () => {
      using huge = limit(2 ** 40);
      const other = hoarder('other', 0, 1, {}, huge);
      errorOf(() => huge.reserve(2 ** 40 - 3));
      expect(other.manager.asked[0]![0]).toBe(MiB - 3 + 64 * MiB);
      using odd = limit(1001);
      const few = new HoardingManager();
      const runtime = runtimeWith(few);
      odd.add(runtime);
      runtime.allocate(1000).dispose();
      using memory = odd.reserve(10);
      expect([few.asked[0]![0], memory.bytes]).toEqual([9 + 31, 10]);
    });

    test('takes no cache from anybody for a request that is more than the limit', () => {
      const other = hoarder('other', 10, 30);
      const asking = hoarder('asking', 0, 0);
      expect(refusalOf(() => asking.runtime.allocate(budget.limitBytes + 1))).toMatchObject({ tried: [] });
      expect(other.manager.cachedBytes).toBe(30 * MiB);
    });

    test('never takes a member below its minimum for others, though it may give all for itself', () => {
      const other = hoarder('other', 10, 30, { minimumBytes: 25 * MiB });
      const asking = hoarder('asking', 0, 0);
      asking.runtime.allocate(39 * MiB);
      expect([heldBy(budget, 'other'), other.manager.cachedBytes]).toEqual([25 * MiB, 15 * MiB]);
      expect(refusalOf(() => asking.runtime.allocate(1 * MiB))).toMatchObject({ missingBytes: MiB });
      other.runtime.allocate(14 * MiB);
      expect(heldBy(budget, 'other')).toBe(24 * MiB);
    });

    test('a member in a budget inside gives its own cache without regard to its minimum, too', () => {
      using inner = limit(60 * MiB, { name: 'inner' });
      budget.add(inner);
      const own = hoarder('own', 0, 40, { minimumBytes: 40 * MiB }, inner);
      hoarder('fixed', 20, 0);
      own.runtime.allocate(30 * MiB);
      expect(inner.usedBytes).toBeLessThanOrEqual(44 * MiB);
      // Without its slot's own ladder, which cleans up after a refusal.
      expect([budget.report().refusals, inner.report().refusals]).toEqual([0, 0]);
      expectSum(inner);
    });

    test('asks listeners, who say what they gave up, and takes what they freed from the caches it went to', () => {
      const other = hoarder('other', 60, 0);
      const told: Pressure[] = [];
      budget.events.on('pressure', (pressure) => {
        told.push(pressure);
        for (const handle of other.handles.splice(0, 20)) handle.dispose();
        pressure.gaveUp(20 * MiB);
      });
      const asking = hoarder('asking', 0, 0);
      asking.runtime.allocate(10 * MiB);
      expect(told).toHaveLength(1);
      expect(told[0]).toMatchObject({ neededBytes: 6 * MiB, asking: 'asking', givesWay: [] });
      expect(told[0]!.gaveUpBytes).toBe(20 * MiB);
      expect(budget.report().reclaims.map(({ step, from }) => [from, step])).toEqual([
        ['listeners', 'listeners'],
        ['other', 'listeners'],
      ]);
    });

    test('goes on when a listener throws or says what is no size, and warns', () => {
      hoarder('other', 60, 0);
      budget.events.once('pressure', () => {
        throw new Error('broken');
      });
      budget.events.once('refusal', () => {
        throw new Error('broken, too');
      });
      const asking = hoarder('asking', 0, 0);
      expect(refusalOf(() => asking.runtime.allocate(10 * MiB))).toMatchObject({ missingBytes: 6 * MiB });
      budget.events.once('pressure', (pressure) => pressure.gaveUp(Number.NaN));
      expect(refusalOf(() => asking.runtime.allocate(11 * MiB)).tried).toContainEqual({ step: 'listeners', freedBytes: 0 });
      expect(warn).toHaveBeenCalledTimes(3);
    });

    test('a listener that allocates gets what there is, and is refused more', () => {
      hoarder('other', 60, 0);
      const asking = hoarder('asking', 0, 0);
      const results: string[] = [];
      budget.events.once('pressure', () => {
        results.push(codeOf(() => asking.runtime.allocate(3 * MiB)));
        results.push(codeOf(() => asking.runtime.allocate(3 * MiB)));
      });
      expect(refusalOf(() => asking.runtime.allocate(10 * MiB))).toMatchObject({ missingBytes: 9 * MiB });
      expect([results, budget.usedBytes]).toEqual([['none', 'ERR_MEM_OUT_OF_MEMORY'], 63 * MiB]);
    });

    test('a listener may let the asking member leave: nothing of it stays', () => {
      hoarder('other', 60, 0);
      const asking = hoarder('asking', 0, 0);
      using elsewhere = limit(100 * MiB);
      budget.events.once('pressure', () => {
        for (const runtime of [made[0]!]) runtime.close();
        asking.membership.dispose();
        elsewhere.add(asking.runtime);
      });
      asking.runtime.allocate(10 * MiB);
      expect([budget.usedBytes, elsewhere.usedBytes]).toEqual([0, 10 * MiB]);
      expectSum(elsewhere);
      asking.runtime.close();
      expect(elsewhere.usedBytes).toBe(0);
    });

    test('a listener may put the budget into another one, also when the request is refused', () => {
      using outer = limit(100 * MiB, { name: 'outer' });
      using full = limit(70 * MiB, { name: 'full' });
      hoarder('elsewhere', 60, 0, {}, full);
      const around = full.add(budget);
      const asking = hoarder('asking', 0, 0);
      full.events.once('pressure', () => {
        around.dispose();
        outer.add(budget);
      });
      expect(refusalOf(() => asking.runtime.allocate(20 * MiB))).toMatchObject({ name: 'full' });
      expect([budget.usedBytes, outer.usedBytes, full.usedBytes]).toEqual([0, 0, 60 * MiB]);
    });

    test('refuses with who holds what, what was tried and what would have to go, once for managers that ask twice', () => {
      const told: BudgetRefusal[] = [];
      budget.events.on('refusal', (refusal) => told.push(refusal));
      hoarder('models', 40, 0, { minimumBytes: MiB, priority: 2 });
      hoarder('buffers', 20, 0);
      const asking = runtimeWith((count, table) => new CachingMemoryManager(count, table));
      budget.add(asking, { name: 'asking' });
      const error = errorOf(() => asking.allocate(10 * MiB)) as MemoryError<'ERR_MEM_OUT_OF_MEMORY'>;
      const { budget: refusal, missingBytes, quota } = error.facts;
      expect(refusal).toMatchObject({ name: 'budget', limitBytes: 64 * MiB, usedBytes: 60 * MiB, asking: 'asking' });
      expect(refusal!.members.map(({ name, heldBytes }) => [name, heldBytes])).toEqual([
        ['models', 40 * MiB],
        ['buffers', 20 * MiB],
        ['asking', 0],
      ]);
      expect(refusal!.tried.map(({ step }) => step)).toEqual(['own cache', 'caches of others', 'listeners', 'dropped handles']);
      expect(missingBytes).toBe(refusal!.missingBytes);
      expect(quota).toContain('60.00 MiB of');
      expect(quota).toContain('models 40.00 MiB, buffers 20.00 MiB');
      expect(error.message).toContain('MiB');
      expect([told.length, budget.report().refusals]).toEqual([1, 1]);
    });

    test.each([
      ['caching', (count: number, table: MemoryManagerDeviceInterface) => new CachingMemoryManager(count, table)],
      ['pool', (count: number, table: MemoryManagerDeviceInterface) => new PoolMemoryManager(count, table)],
      ['tlsf', (count: number, table: MemoryManagerDeviceInterface) => new TlsfMemoryManager(count, table)],
      ['pytorch', (count: number, table: MemoryManagerDeviceInterface) => new PyTorchMemoryManager(count, table)],
      [
        'pytorch with pages',
        (count: number, table: MemoryManagerDeviceInterface) =>
          new PyTorchMemoryManager(count, table, { conf: 'expandable_segments:True' }),
      ],
      [
        'a decorated one',
        (count: number, table: MemoryManagerDeviceInterface) =>
          new LimitingMemoryManager(new CachingMemoryManager(count, table), { limitBytes: 2 ** 40 }),
      ],
      ['plain', (_: number, table: MemoryManagerDeviceInterface) => new PlainManager(table)],
    ])('says so in the error that comes through every manager: %s', (_, make) => {
      const runtime = runtimeWith(make);
      budget.add(runtime, { name: 'asking' });
      const refusal = refusalOf(() => runtime.allocate(65 * MiB));
      expect(refusal).toMatchObject({ name: 'budget', asking: 'asking', usedBytes: 0 });
      expect(refusal.missingBytes).toBeGreaterThanOrEqual(MiB);
      expect([budget.usedBytes, runtime.slot.reservedBytes]).toEqual([0, 0]);
      runtime.allocate(30 * MiB).dispose();
    });

    test('ends for pages that are to join cached ones, which the budget has the same manager give back for them', () => {
      const pages = (count: number, of: MemoryManagerDeviceInterface) =>
        new PyTorchMemoryManager(count, of, { conf: 'expandable_segments:True' });
      const runtime = runtimeWith(pages);
      budget.add(runtime, { name: 'pages' });
      hoarder('other', 24, 0);
      runtime.allocate(15 * MiB).dispose();
      expect(heldBy(budget, 'pages')).toBe(20 * MiB);
      // 20 MiB more do not fit beside them, and 40 in one piece do.
      runtime.allocate(30 * MiB).dispose();
      expect(heldBy(budget, 'pages')).toBe(40 * MiB);
      expect(refusalOf(() => runtime.allocate(50 * MiB))).toMatchObject({ asking: 'pages' });
    });

    test('allocateAsync waits for listeners that free in their own time', async () => {
      const other = hoarder('other', 60, 0);
      const asking = hoarder('asking', 0, 0);
      budget.events.on('pressure', (pressure) => {
        pressure.waitUntil(
          new Promise<void>((resolve) => {
            setImmediate(() => {
              for (const handle of other.handles.splice(0)) handle.dispose();
              resolve();
            });
          }),
        );
      });
      using block = await asking.runtime.allocateAsync(10 * MiB);
      expect(block.bytes).toBe(10 * MiB);
    });

    test('allocateAsync is answered though others keep listeners at work', async () => {
      hoarder('other', 60, 0);
      const asking = hoarder('asking', 0, 0);
      budget.events.on('pressure', (pressure) => pressure.waitUntil(new Promise((resolve) => setTimeout(resolve, 20))));
      const others = setInterval(() => codeOf(() => asking.runtime.allocate(20 * MiB)), 5);
      try {
        expect(await refusalAsync(asking.runtime.allocateAsync(10 * MiB))).toMatchObject({ asking: 'asking' });
      } finally {
        clearInterval(others);
      }
    }, 2000);

    test('allocateAsync is refused when such a listener fails, and the failure becomes a warning', async () => {
      hoarder('other', 60, 0);
      const asking = hoarder('asking', 0, 0);
      budget.events.once('pressure', (pressure) => pressure.waitUntil(Promise.reject(new Error('no luck'))));
      expect(await refusalAsync(asking.runtime.allocateAsync(10 * MiB))).toMatchObject({ asking: 'asking' });
      expect(warn).toHaveBeenCalledWith(expect.objectContaining({ message: 'no luck' }));
    });

    test('what is watched goes past the limit once, however often it grows there, and once more when it had been within', () => {
      using budget = new MemoryBudget({ limit: 10 * MiB, watchV8: false, exitReport: false });
      let bytes = 0;
      budget.watch('cache', () => bytes);
      const told: number[] = [];
      budget.events.on('overshoot', ({ overshootBytes }) => told.push(overshootBytes / MiB));
      for (const mebibytes of [8, 11, 12, 13, 9, 14]) {
        bytes = mebibytes * MiB;
        budget.refresh();
      }
      expect(told).toEqual([1, 4]);
      expect(budget.report()).toMatchObject({ overshoots: 2, overshootBytes: 4 * MiB });
    });

    test('allocateAsync finds dropped handles', async () => {
      using host = new MemoryBudget({ limit: 64 * MiB, watchV8: false });
      using runtime = new MemoryRuntime(new CpuDevice(), {
        exitReport: false,
        createDefaultManager: (_, table) => new PlainManager(table),
      });
      host.add(runtime);
      for (let i = 0; i < 6; i++) runtime.allocate(10 * MiB);
      expect(refusalOf(() => runtime.allocate(30 * MiB)).tried.at(-1)).toMatchObject({ step: 'dropped handles' });
      using block = await runtime.allocateAsync(30 * MiB);
      expect(block.bytes).toBe(30 * MiB);
      expectSum(host);
    });

    test('what nobody can refuse is an overshoot that others give way to, and nobody gets more before they have', () => {
      const told: BudgetOvershoot[] = [];
      budget.events.on('overshoot', (overshoot) => told.push(overshoot));
      const other = hoarder('other', 10, 20);
      let watched = 0;
      const watching = budget.watch('engine', () => watched);
      watched = 40 * MiB;
      budget.refresh();
      expect([told.length, heldBy(budget, 'other')]).toEqual([0, 22 * MiB]);
      watched = 60 * MiB;
      budget.refresh();
      expect(told).toEqual([{ asking: 'engine', bytes: 20 * MiB, overshootBytes: 6 * MiB }]);
      expect(budget.report()).toMatchObject({ overshoots: 1, overshootBytes: 6 * MiB, usedBytes: 70 * MiB });
      expect(refusalOf(() => other.runtime.allocate(1))).toMatchObject({ missingBytes: 6 * MiB + 1 });
      watching.dispose();
      expect(budget.usedBytes).toBe(10 * MiB);
    });
  });
});
