import { afterEach, beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest';
import type { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { FallbackMemory } from '../../adapters/hosts/fallback-memory.js';
import {
  CachingMemoryManager,
  DefaultMemoryManager,
  PoolMemoryManager,
  PyTorchMemoryManager,
  TlsfMemoryManager,
} from '../../managers/index.js';
import { MemoryBudget } from '../../src/budget/index.js';
import type { Releasable } from '../../src/core/disposable.js';
import { MemoryError, type MemoryManagerAdapter, type MemoryManagerDeviceInterface, MiB } from '../../src/core/index.js';
import type { DevicePtr } from '../../src/core/units.js';
import type { Allocation, MemoryRuntime } from '../../src/runtime/index.js';
import { PlainManager, SeededRandom } from '../core/fakes.js';
import { codeOf } from '../fixtures/code-of.js';
import { framesThatFit, inLastFrames } from '../fixtures/full-stack.js';
import { is, same } from '../fixtures/same.js';
import { errorOf, expectSum, heldBy, runtimeOn, simulated, table } from './budgets.js';

type Maker = (count: number, table: MemoryManagerDeviceInterface) => MemoryManagerAdapter;
const MAKERS: readonly [string, Maker][] = [
  ['PlainManager', (_, of) => new PlainManager(of)],
  ['CachingMemoryManager', (count, of) => new CachingMemoryManager(count, of)],
  ['DefaultMemoryManager', (count, of) => new DefaultMemoryManager(count, of)],
  ['PoolMemoryManager', (count, of) => new PoolMemoryManager(count, of)],
  ['TlsfMemoryManager', (count, of) => new TlsfMemoryManager(count, of)],
  ['PyTorchMemoryManager', (count, of) => new PyTorchMemoryManager(count, of)],
  ['PyTorchMemoryManager with pages', (count, of) => new PyTorchMemoryManager(count, of, { conf: 'expandable_segments:True' })],
];

let device: SimulatedDevice;
let warn: MockInstance;

beforeEach(() => {
  device = simulated({ virtual: true });
  warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
});

afterEach(() => {
  warn.mockRestore();
});

/** A budget in a budget, and a runtime in the inner one. */
class Bench {
  readonly outer = new MemoryBudget({ limit: 96 * MiB, memory: device, name: 'outer' });
  readonly inner = new MemoryBudget({ limit: 64 * MiB, memory: device, name: 'inner' });
  readonly other = new MemoryBudget({ limit: 200 * MiB, memory: device, name: 'other' });
  readonly runtime: MemoryRuntime;
  readonly make: Maker;
  membership: Releasable;
  live: Allocation[] = [];

  constructor(make: Maker) {
    this.make = make;
    this.runtime = runtimeOn(device, make);
    this.outer.add(this.inner);
    this.membership = this.inner.add(this.runtime, { name: 'runtime' });
  }

  check(message = ''): void {
    const { reservedBytes } = this.runtime.slot;
    const used = [this.inner, this.outer, this.other].map(({ usedBytes }) => usedBytes);
    const held = [this.inner, this.other].map((budget) => heldBy(budget, 'runtime') ?? 0);
    // It is in one of them, or in none.
    const [inInner, inOther] = held as [number, number];
    same(used, [inInner, inInner, inOther], message);
    is(Math.max(inInner, inOther), this.isMember ? reservedBytes : 0, message);
    for (const budget of [this.inner, this.outer, this.other]) expectSum(budget);
  }

  get isMember(): boolean {
    return [this.inner, this.other].some((budget) => heldBy(budget, 'runtime') !== undefined);
  }

  /** Does one of many things, and takes every error that a device or a budget makes. */
  step(random: SeededRandom): void {
    try {
      const chance = random.below(12);
      if (chance < 6) this.live.push(this.runtime.allocate(1 + random.below(random.below(3) === 0 ? 30 * MiB : 300_000)));
      else if (chance < 10 && this.live.length > 0) this.free(random.below(this.live.length));
      else if (chance === 10) this.runtime.slot.signalMemoryCleanup();
      else this.runtime.slot.install(this.make(1, table()));
    } catch (error) {
      if (!MemoryError.is(error) && (error as Error).message !== 'injected') throw error;
    }
  }

  free(at: number): void {
    this.live[at]!.dispose();
    this.live.splice(at, 1);
  }

  /** Leaves the budget it is in, for the other one, or for none. */
  change(random: SeededRandom): void {
    const wasMember = this.isMember;
    this.membership.dispose();
    if (random.below(3) === 0 && wasMember) return;
    this.membership = (random.below(2) === 0 ? this.inner : this.other).add(this.runtime, { name: 'runtime' });
  }

  end(): void {
    device.failWhen(undefined);
    this.runtime.close();
    this.membership.dispose();
    expect([this.inner.usedBytes, this.outer.usedBytes, this.other.usedBytes, device.liveBytes]).toEqual([0, 0, 0, 0]);
    for (const budget of [this.inner, this.outer, this.other]) budget.dispose();
  }
}

describe('SeatNatives in a budget', () => {
  describe.each(MAKERS)('%s', (_, make) => {
    test('charges what is held with every n-th native call failing', () => {
      for (const every of [2, 5]) {
        const bench = new Bench(make);
        const random = new SeededRandom(every);
        let calls = 0;
        device.failWhen(() => (++calls % every === 0 ? new Error('injected') : false));
        for (let step = 0; step < 40; step++) {
          bench.step(random);
          bench.check(`every ${every}, step ${step}`);
        }
        bench.end();
      }
    });

    test('charges what is held when native calls come back: to allocate, free, swap, clean up, and change the budget', () => {
      for (let seed = 1; seed <= 3; seed++) {
        const bench = new Bench(make);
        const random = new SeededRandom(seed);
        let depth = 0;
        device.failWhen(({ name }) => {
          if (depth > 1 || random.below(4) > 0 || name === 'copy') return false;
          depth++;
          try {
            if (random.below(3) === 0) bench.change(random);
            else bench.step(random);
          } finally {
            depth--;
          }
          return random.below(5) === 0 ? new Error('injected') : false;
        });
        for (let step = 0; step < 30; step++) {
          bench.step(random);
          bench.check(`seed ${seed}, step ${step}`);
        }
        bench.end();
      }
    });

    test('charges what is held, and nothing in vain, in the last frames of a full stack', () => {
      const bench = new Bench(make);
      const random = new SeededRandom(5);
      for (let step = 0; step < 20; step++) bench.step(random);
      framesThatFit(0);
      const around = Array.from({ length: 3 }, () => new MemoryBudget({ limit: 200 * MiB, memory: device }));
      around.reduce((inside, one) => {
        one.add(inside);
        return one;
      }, bench.outer);
      let ends = 0;
      for (let words = 0; words < 8; words++) {
        ends += inLastFrames(60, words, () => {
          const block = bench.runtime.allocate(1 + ((words * 7919) % 5) * MiB);
          bench.live.push(block);
        });
        const usedBytes = () => around.map((budget) => budget.usedBytes);
        bench.check(`allocating, ${words} words`);
        expect(usedBytes()).toEqual(around.map(() => bench.outer.usedBytes));
        ends += inLastFrames(60, words, () => {
          const block = bench.live.at(-1);
          if (block === undefined) return;
          block.dispose();
          bench.live.pop();
        });
        bench.check(`freeing, ${words} words`);
        expect(usedBytes()).toEqual(around.map(() => bench.outer.usedBytes));
        inLastFrames(40, words, () => bench.runtime.slot.signalMemoryCleanup());
        bench.check(`cleaning up, ${words} words`);
      }
      expect(ends).toBeGreaterThan(0);
      bench.live.length = 0;
      bench.end();
      for (const budget of around) budget.dispose();
    });
  });

  test('charges a segment that the device refuses to take back until it has taken it', () => {
    const bench = new Bench((_, of) => new PlainManager(of));
    const block = bench.runtime.allocate(1000);
    device.failWhen(({ name }) => (name === 'nativeFree' ? new Error('injected') : false));
    expect(errorOf(() => block.dispose())).toMatchObject({ message: 'injected' });
    expect(bench.outer.usedBytes).toBe(1000);
    device.failWhen(undefined);
    block.dispose();
    expect(bench.outer.usedBytes).toBe(0);
    bench.end();
  });

  test('charges managers that drain, and what stopped ones owe', () => {
    const bench = new Bench((count, of) => new CachingMemoryManager(count, of));
    const block = bench.runtime.allocate(MiB);
    bench.runtime.slot.install(new PlainManager());
    bench.check('draining');
    expect(bench.inner.usedBytes).toBe(2 * MiB);
    device.failWhen(({ name }) => (name === 'nativeFree' ? new Error('injected') : false));
    block.dispose();
    bench.check('owed');
    expect(bench.inner.usedBytes).toBe(2 * MiB);
    bench.membership.dispose();
    bench.membership = bench.other.add(bench.runtime, { name: 'runtime' });
    expect(bench.other.usedBytes).toBe(2 * MiB);
    device.failWhen(undefined);
    bench.runtime.slot.signalMemoryCleanup();
    bench.check('taken');
    expect(bench.other.usedBytes).toBe(0);
    bench.end();
  });

  test('lets a runtime leave that is closed with live blocks', () => {
    const bench = new Bench((count, of) => new PoolMemoryManager(count, of));
    for (let i = 0; i < 5; i++) bench.runtime.allocate(MiB);
    expect(bench.inner.usedBytes).toBeGreaterThan(0);
    bench.runtime.close();
    expect([bench.inner.usedBytes, bench.inner.report().members, bench.outer.usedBytes]).toEqual([0, [], 0]);
    bench.end();
  });

  test('makes no native call that is refused, and charges a failed one to nobody', () => {
    const bench = new Bench((_, of) => new PlainManager(of));
    const { callCount } = device;
    expect(codeOf(() => bench.runtime.allocate(65 * MiB))).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect(device.callCount).toBe(callCount);
    device.failNext(9);
    expect(codeOf(() => bench.runtime.allocate(MiB))).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect(bench.outer.usedBytes).toBe(0);
    bench.end();
  });
});

describe('FallbackMemory in a budget', () => {
  const inBudget = () => {
    const budget = new MemoryBudget({ limit: 1000, memory: device });
    const runtime = runtimeOn(device);
    return { budget, runtime, fallback: new FallbackMemory(device, runtime.slot.charges) };
  };

  test('is charged though nobody can refuse it, with an overshoot, also when it was there before', () => {
    const { budget, runtime, fallback } = inBudget();
    let overshoots = 0;
    budget.events.on('overshoot', () => overshoots++);
    const first = fallback.alloc(600, 64);
    const membership = budget.add(runtime);
    const second = fallback.alloc(600, 64);
    expect([budget.usedBytes, overshoots]).toEqual([1200, 1]);
    fallback.free(first);
    membership.dispose();
    expect(budget.usedBytes).toBe(0);
    using other = new MemoryBudget({ limit: 1000, memory: device });
    other.add(runtime);
    expect(other.usedBytes).toBe(600);
    fallback.free(second);
    expect([budget.usedBytes, other.usedBytes]).toEqual([0, 0]);
    budget.dispose();
    runtime.close();
  });

  test('is charged rightly when the host joins a budget while the device refuses a block', () => {
    const { budget, runtime, fallback } = inBudget();
    const ptr: DevicePtr = fallback.alloc(600, 64);
    device.failWhen(() => {
      if (budget.report().members.length === 0) budget.add(runtime);
      return new Error('injected');
    });
    expect(errorOf(() => fallback.free(ptr))).toMatchObject({ message: 'injected' });
    expect([budget.usedBytes, fallback.liveBytes]).toEqual([600, 600]);
    device.failWhen(undefined);
    fallback.retryFrees();
    expect([budget.usedBytes, fallback.liveBytes]).toEqual([0, 0]);
    budget.dispose();
    runtime.close();
  });
});
