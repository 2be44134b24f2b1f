import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import type { SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  CachingMemoryManager,
  LimitingMemoryManager,
  PoolMemoryManager,
  PyTorchMemoryManager,
  TlsfMemoryManager,
} from '../../managers/index.js';
import { type BudgetOvershoot, MemoryBudget, type MemoryBudgetOptions, type Pressure } from '../../src/budget/index.js';
import type { BudgetReclaim, BudgetRefusal } from '../../src/core/budget-report.js';
import { budgets } from '../../src/core/budgets.js';
import { type MemoryError, type MemoryManagerAdapter, type MemoryManagerDeviceInterface, MiB } from '../../src/core/index.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { PlainManager } from '../core/fakes.js';
import { codeOf } from '../fixtures/code-of.js';
import { errorOf, expectSum, heldBy, refusalAsync, refusalOf, runtimeOn, simulated, table } from './budgets.js';
import { FakeShared } from './fake-ledger.js';

let device: SimulatedDevice;
let budget: MemoryBudget;
let warn: MockInstance;
const made: MemoryRuntime[] = [];

/** Gives each freed block of 1 MiB and more back only when it is told to, one by one. */
class HoardingManager extends PlainManager {
  readonly #freed: [ptr: number, bytes: number][] = [];
  #sizes = new Map<number, number>();
  /** What it was asked for: wanted and most. */
  readonly asked: [number, number][] = [];

  get cachedBytes(): number {
    return this.#freed.reduce((sum, [, bytes]) => sum + bytes, 0);
  }

  override allocBytes(bytes: number, userLock: boolean, alignment?: number) {
    const ptr = super.allocBytes(bytes, userLock, alignment);
    this.#sizes.set(ptr, bytes);
    return ptr;
  }

  override unlock(ptr: never): void {
    this.#freed.push([ptr, this.#sizes.get(ptr)!]);
  }

  override allocated(ptr: never): number {
    return this.#freed.some(([freed]) => freed === ptr) ? 0 : super.allocated(ptr);
  }

  override stats() {
    const cached = { current: this.cachedBytes, peak: 0, total: 0 };
    return new Proxy({}, { get: (_, name) => (name === 'cachedBytes' ? cached : { current: 0, peak: 0, total: 0 }) }) as never;
  }

  override releaseCached(_device: number, wantedBytes: number, mostBytes: number): void {
    this.asked.push([wantedBytes, mostBytes]);
    for (let gone = 0; gone < wantedBytes && this.#freed.length > 0; ) {
      const [ptr, bytes] = this.#freed[0]!;
      if (gone + bytes > mostBytes) return;
      this.#freed.shift();
      super.unlock(ptr as never, true);
      gone += bytes;
    }
  }

  override signalMemoryCleanup(): void {
    for (const [ptr] of this.#freed.splice(0)) super.unlock(ptr as never, true);
  }
}

function runtimeWith(
  manager: MemoryManagerAdapter | ((count: number, table: MemoryManagerDeviceInterface) => MemoryManagerAdapter),
) {
  const runtime = runtimeOn(device, typeof manager === 'function' ? manager : () => manager);
  if (typeof manager !== 'function') runtime.slot.install(manager);
  made.push(runtime);
  return runtime;
}

/** A member that holds blocks of 1 MiB, some of them cached. */
function hoarder(
  name: string,
  blocks: number,
  cached: number,
  options: { priority?: number; minimumBytes?: number } = {},
  of = budget,
) {
  const manager = new HoardingManager();
  const runtime = runtimeWith(manager);
  const handles = Array.from({ length: blocks + cached }, () => runtime.allocate(MiB));
  for (const handle of handles.splice(0, cached)) handle.dispose();
  const membership = of.add(runtime, { name, ...options });
  return { runtime, manager, membership, handles };
}

const limit = (bytes: number, more: MemoryBudgetOptions = {}) => new MemoryBudget({ limit: bytes, memory: device, ...more });

beforeEach(() => {
  device = simulated({ virtual: true });
  budget = limit(64 * MiB);
  warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
});

afterEach(() => {
  expectSum(budget);
  budget.dispose();
  for (const runtime of made.splice(0)) runtime.close();
  warn.mockRestore();
});

describe('MemoryBudget', () => {
  describe('constructor', () => {
    test.each([0, -1, 1.5, Number.NaN, '0%', '120%', '-3%', 'all', '', '%', null, {}, 2 ** 60])(
      'refuses the limit %s',
      (value) => {
        expect(errorOf(() => new MemoryBudget({ limit: value as number }))).toMatchObject({
          code: 'ERR_MEM_INVALID_ARGUMENT',
          facts: { name: 'limit' },
        });
      },
    );

    test.each([null, 'gpu', 7, {}])('refuses the memory %s', (memory) => {
      expect(codeOf(() => new MemoryBudget({ memory: memory as never }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });

    test('refuses a device that there is not, a name that is none, and unknown options', () => {
      expect(codeOf(() => limit(1, { deviceId: 1 }))).toBe('ERR_MEM_INVALID_DEVICE');
      expect(codeOf(() => limit(1, { name: '' }))).toBe('ERR_MEM_INVALID_ARGUMENT');
      for (const options of [{ limits: 1 }, { ledger: {} }, { ledger: null }, { watchV8: 'no' }]) {
        expect(
          codeOf(() => new MemoryBudget(options as never)),
          JSON.stringify(options),
        ).toBe('ERR_MEM_INVALID_ARGUMENT');
      }
    });

    test('registers nothing when it refuses', () => {
      const before = budgets().size;
      errorOf(() => new MemoryBudget({ limit: 0 }));
      expect(budgets().size).toBe(before);
    });

    test('takes a share of a card', () => {
      using half = new MemoryBudget({ limit: '50%', memory: simulated({ capacityBytes: 1001 }) });
      expect(half.limitBytes).toBe(500);
    });
  });

  describe('add', () => {
    test('counts what a runtime holds already, and no more when it leaves', () => {
      const runtime = runtimeWith((count, table) => new PoolMemoryManager(count, table));
      runtime.allocate(3 * MiB);
      const { reservedBytes } = runtime.slot;
      const membership = budget.add(runtime, { name: 'pool' });
      expect([budget.usedBytes, heldBy(budget, 'pool')]).toEqual([reservedBytes, reservedBytes]);
      membership.dispose();
      membership.dispose();
      expect(budget.usedBytes).toBe(0);
      using other = limit(64 * MiB);
      other.add(runtime);
      expect(other.usedBytes).toBe(runtime.slot.reservedBytes);
      runtime.close();
      expect([other.usedBytes, other.report().members]).toEqual([0, []]);
    });

    test('refuses one that is in a budget already, this or another', () => {
      const runtime = runtimeWith(new PlainManager());
      budget.add(runtime);
      using other = limit(10);
      for (const one of [budget, other]) {
        expect(errorOf(() => one.add(runtime))).toMatchObject({ facts: { name: 'member' } });
        expect(codeOf(() => one.add(runtime.slot))).toBe('ERR_MEM_INVALID_ARGUMENT');
      }
      expect(other.report().members).toEqual([]);
    });

    test('refuses a minimum above the limit, or above what other minimums leave, in units', () => {
      const runtime = runtimeWith(new PlainManager());
      expect(errorOf(() => budget.add(runtime, { minimumBytes: 65 * MiB }))).toMatchObject({
        message: expect.stringContaining('64.00 MiB') as string,
        facts: { name: 'minimumBytes' },
      });
      budget.add(runtime, { minimumBytes: 60 * MiB });
      const other = runtimeWith(new PlainManager());
      expect(codeOf(() => budget.add(other, { minimumBytes: 5 * MiB }))).toBe('ERR_MEM_INVALID_ARGUMENT');
      budget.add(other, { minimumBytes: 4 * MiB });
      expect(budget.report().members).toHaveLength(2);
    });

    test.each([
      ['priority', Number.NaN],
      ['priority', '1'],
      ['minimumBytes', -1],
      ['minimumBytes', 1.5],
      ['minimumBytes', Number.NaN],
      ['name', ''],
      ['weight', 1],
    ])('refuses %s %s, and the runtime may join afterwards', (name, value) => {
      const runtime = runtimeWith(new PlainManager());
      expect(codeOf(() => budget.add(runtime, { [name]: value } as never))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(budget.report().members).toEqual([]);
      budget.add(runtime);
    });

    test('refuses memory of another kind; pinned memory of a card joins a budget of the host', () => {
      using host = new MemoryBudget({ limit: 64 * MiB, watchV8: false });
      const card = runtimeWith((_, table) => new PlainManager(table));
      expect(errorOf(() => host.add(card))).toMatchObject({ message: expect.stringContaining('pinnedSlot') as string });
      expect(codeOf(() => host.add(budget))).toBe('ERR_MEM_INVALID_ARGUMENT');
      using cpu = new MemoryRuntime(new CpuDevice(), { exitReport: false });
      expect(codeOf(() => budget.add(cpu))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => budget.add({} as never))).toBe('ERR_MEM_INVALID_ARGUMENT');
      host.add(card.pinnedSlot, { name: 'pinned' });
      budget.add(card);
      card.allocate(1000, { pinned: true });
      card.allocate(500);
      expect([host.usedBytes, budget.usedBytes]).toEqual([1024, 500]);
    });

    test('has pinned memory of every device of a card give way', () => {
      device = simulated({ deviceCount: 3 });
      const card = runtimeWith((_, table) => new PlainManager(table));
      card.pinnedSlot.install(new CachingMemoryManager(3, table()));
      using host = new MemoryBudget({ limit: 64 * MiB, watchV8: false });
      host.add(card.pinnedSlot, { name: 'pinned' });
      device.activate(2);
      card.allocate(30 * MiB, { pinned: true }).dispose();
      expect(host.report().members[0]!.cachedBytes).toBe(30 * MiB);
      using memory = host.reserve(64 * MiB);
      expect([memory.remainingBytes, host.usedBytes]).toEqual([64 * MiB, 64 * MiB]);
    });

    test('counts a card’s devices apart', () => {
      device = simulated({ deviceCount: 2 });
      const card = new MemoryRuntime(device, { exitReport: false, createDefaultManager: (_, table) => new PlainManager(table) });
      made.push(card);
      using first = limit(1000);
      using second = limit(100, { deviceId: 1 });
      first.add(card);
      second.add(card);
      card.withDevice(1, () => {
        card.allocate(90);
        expect(refusalOf(() => card.allocate(11))).toMatchObject({ limitBytes: 100 });
      });
      card.allocate(900);
      expect([first.usedBytes, second.usedBytes]).toEqual([900, 90]);
    });

    test('lets nobody stay who joins while a listener ends the budget', () => {
      const ending = limit(10);
      ending.events.on('overshoot', () => ending.dispose());
      const runtime = runtimeWith(new PlainManager());
      runtime.allocate(20);
      ending.add(runtime);
      expect([ending.usedBytes, ending.report().members]).toEqual([0, []]);
      runtime.allocate(20);
      budget.add(runtime);
      expect(budget.usedBytes).toBe(40);
    });

    test('lets members join without a minimum when the limit has fallen below the minimums', () => {
      const { budget: shrinking, setLimit } = shrinkingBudget();
      shrinking.add(runtimeWith(new PlainManager()), { minimumBytes: 60 * MiB });
      setLimit(30 * MiB);
      shrinking.add(runtimeWith(new PlainManager()));
      expect(codeOf(() => shrinking.add(runtimeWith(new PlainManager()), { minimumBytes: 1 }))).toBe('ERR_MEM_INVALID_ARGUMENT');
      shrinking.dispose();
    });

    test('refuses circles of budgets, one that is in another, and itself', () => {
      using outer = limit(100, { name: 'outer' });
      using inner = limit(100, { name: 'inner' });
      outer.add(inner);
      expect(codeOf(() => inner.add(outer))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => budget.add(inner))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => budget.add(budget))).toBe('ERR_MEM_INVALID_ARGUMENT');
      inner.dispose();
      expect(outer.report().members).toEqual([]);
    });
  });

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

  describe('of budgets in it', () => {
    test('sees what each holds, and has them give way, down to their minimum', () => {
      using first = limit(60 * MiB, { name: 'first' });
      using second = limit(60 * MiB, { name: 'second' });
      hoarder('a', 0, 20, {}, first);
      budget.add(first, { minimumBytes: 10 * MiB });
      budget.add(second);
      const { runtime } = hoarder('b', 0, 0, {}, second);
      runtime.allocate(50 * MiB);
      expect([first.usedBytes, second.usedBytes, budget.usedBytes]).toEqual([12 * MiB, 50 * MiB, 62 * MiB]);
      expect(refusalOf(() => runtime.allocate(5 * MiB))).toMatchObject({ name: 'budget', asking: 'second' });
      expect([first.usedBytes, second.usedBytes]).toEqual([10 * MiB, 50 * MiB]);
      expect(heldBy(budget, 'first')).toBe(first.usedBytes);
    });

    test('leaves them their members when it ends', () => {
      const outer = limit(100 * MiB);
      hoarder('a', 5, 0);
      outer.add(budget);
      expect(outer.usedBytes).toBe(5 * MiB);
      outer.dispose();
      expect([outer.usedBytes, budget.usedBytes]).toEqual([0, 5 * MiB]);
      made[0]!.allocate(MiB);
      expect([outer.usedBytes, budget.usedBytes]).toEqual([0, 6 * MiB]);
    });
  });

  describe('addSegment', () => {
    test('counts a segment once, however many attach it', () => {
      const segment = { url: 'shm://a', bytes: 10 * MiB };
      const attachments = [budget.addSegment(segment), budget.addSegment(segment)];
      expect([budget.usedBytes, heldBy(budget, 'shm://a')]).toEqual([10 * MiB, 10 * MiB]);
      attachments[0]!.dispose();
      attachments[0]!.dispose();
      expect(budget.usedBytes).toBe(10 * MiB);
      attachments[1]!.dispose();
      expect([budget.usedBytes, budget.report().members]).toEqual([0, []]);
    });

    test('is refused when it does not fit, and counts once what a listener attached meanwhile', () => {
      hoarder('other', 60, 0);
      const segment = { url: 'shm://a', bytes: 10 * MiB };
      expect(refusalOf(() => budget.addSegment(segment))).toMatchObject({ asking: 'shm://a', missingBytes: 6 * MiB });
      expect(budget.report().members).toHaveLength(1);
      budget.events.once('pressure', () => {
        made[0]!.close();
        budget.addSegment(segment);
      });
      const attachment = budget.addSegment(segment);
      expect(budget.usedBytes).toBe(10 * MiB);
      attachment.dispose();
      expect(budget.usedBytes).toBe(10 * MiB);
    });
  });

  describe('dispose', () => {
    test('ends everything: members, what is watched, segments, reservations, its place in others and the register', () => {
      const outer = limit(200 * MiB);
      outer.add(budget);
      const { runtime } = hoarder('other', 5, 5);
      const watching = budget.watch('watched', () => 100);
      const segment = budget.addSegment({ url: 'a', bytes: 100 });
      const memory = budget.reserve(MiB);
      const tenant = budget.tenant('t');
      runtime.allocate(MiB, { tag: 't' });
      expect(outer.usedBytes).toBe(budget.usedBytes);
      budget.dispose();
      budget.dispose();
      expect([budget.usedBytes, outer.usedBytes, tenant.liveBytes, memory.remainingBytes]).toEqual([0, 0, 0, 0]);
      expect([budget.report().members, outer.report().members, budgets().has(budget)]).toEqual([[], [], false]);
      for (const one of [watching, segment, memory, tenant]) one.dispose();
      runtime.allocate(100 * MiB).dispose();
      expect(budget.usedBytes).toBe(0);
      outer.dispose();
    });
  });

  test('is shown with who holds what', () => {
    hoarder('models', 3, 0);
    expect(inspect(budget)).toBe('MemoryBudget { budget, simulated 0, 3.00 MiB of 64.00 MiB held, models 3.00 MiB }');
  });
});

/** A budget whose limit a test changes, as a container's does. */
function shrinkingBudget() {
  const shared = new FakeShared(64 * MiB);
  return {
    budget: new MemoryBudget({ memory: device, ledger: shared.join() }),
    setLimit: (bytes: number) => {
      shared.limitBytes = bytes;
    },
  };
}
