import { getHeapStatistics } from 'node:v8';
import { afterEach, beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CachingMemoryManager } from '../../managers/index.js';
import { MemoryBudget } from '../../src/budget/index.js';
import { v8Bytes } from '../../src/budget/v8-memory.js';
import { MemoryError, MiB } from '../../src/core/index.js';
import { processState } from '../../src/core/process-state.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { expectSum, heldBy, runtimeOn, simulated } from './budgets.js';
import { collectGarbage } from './collect-garbage.js';

let warn: MockInstance;

beforeEach(() => {
  warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
});

afterEach(() => {
  warn.mockRestore();
  vi.useRealTimers();
});

const cardBudget = (limit = 100 * MiB) => new MemoryBudget({ limit, memory: simulated() });

describe('WatchedMemory', () => {
  test('counts what it reads: at once, at a refresh, every 100 ms and before a refusal, and no more when it ends', () => {
    vi.useFakeTimers();
    const budget = cardBudget();
    let bytes = 10;
    const watching = budget.watch('engine', () => bytes);
    expect(heldBy(budget, 'engine')).toBe(10);
    bytes = 30;
    budget.refresh();
    expect(heldBy(budget, 'engine')).toBe(30);
    bytes = 20;
    vi.advanceTimersByTime(100);
    expect(heldBy(budget, 'engine')).toBe(20);
    bytes = 0;
    budget.reserve(100 * MiB).dispose();
    expect(heldBy(budget, 'engine')).toBe(0);
    bytes = 5;
    budget.refresh();
    watching.dispose();
    watching.dispose();
    expect([budget.usedBytes, vi.getTimerCount()]).toEqual([0, 0]);
    budget.dispose();
  });

  test('is looked at after 16 MiB were granted', () => {
    const budget = cardBudget();
    let looks = 0;
    budget.watch('engine', () => ++looks);
    const before = looks;
    for (let i = 0; i < 15; i++) budget.reserve(MiB);
    expect(looks).toBe(before);
    budget.reserve(MiB);
    expect(looks).toBe(before + 1);
    expectSum(budget);
    budget.dispose();
  });

  test.each([[Number.NaN], [-1], [Number.POSITIVE_INFINITY], ['7' as unknown as number], [undefined as unknown as number]])(
    'keeps what it read last when it reads %s, and warns',
    (bytes) => {
      const budget = cardBudget();
      let next: number = 10;
      budget.watch('engine', () => next);
      next = bytes;
      budget.refresh();
      expect([heldBy(budget, 'engine'), budget.usedBytes]).toEqual([10, 10]);
      expect(warn.mock.calls).toMatchObject([
        [{ message: `what "engine" of budget "budget" reads is ${bytes}, but must be a number of bytes` }],
      ]);
      next = 4;
      budget.refresh();
      expect(budget.usedBytes).toBe(4);
      budget.dispose();
    },
  );

  test('tells once that one throws, and again when it has read meanwhile', () => {
    using budget = new MemoryBudget({ limit: 100 * MiB, memory: simulated(), name: 'card' });
    const boom = new Error('boom');
    let isBroken = true;
    budget.watch('engine', () => {
      if (isBroken) throw boom;
      return 1;
    });
    for (let i = 0; i < 10; i++) budget.refresh();
    expect(warn.mock.calls).toMatchObject([
      [{ message: 'what "engine" of budget "card" reads is an error (boom), but must be a number of bytes', cause: boom }],
    ]);
    isBroken = false;
    budget.refresh();
    expect([warn.mock.calls.length, budget.usedBytes]).toEqual([1, 1]);
    isBroken = true;
    for (let i = 0; i < 10; i++) budget.refresh();
    expect([warn.mock.calls.length, budget.usedBytes]).toEqual([2, 1]);
  });

  test('goes on with the others when one throws, or ends itself', () => {
    const budget = cardBudget();
    let isBroken = false;
    budget.watch('broken', () => {
      if (isBroken) throw new Error('broken');
      return 1;
    });
    const ending = budget.watch('ending', () => {
      if (isBroken) ending.dispose();
      return 1000;
    });
    let bytes = 10;
    budget.watch('engine', () => bytes);
    isBroken = true;
    bytes = 20;
    budget.refresh();
    expect([budget.usedBytes, heldBy(budget, 'ending')]).toEqual([21, undefined]);
    expectSum(budget);
    budget.dispose();
  });

  test('has a timer while there are members or somebody waits, and no longer', async () => {
    vi.useFakeTimers();
    const budget = cardBudget();
    expect(vi.getTimerCount()).toBe(0);
    const runtime = runtimeOn(simulated());
    const membership = budget.add(runtime);
    expect(vi.getTimerCount()).toBe(1);
    membership.dispose();
    expect(vi.getTimerCount()).toBe(0);
    const held = budget.reserve(100 * MiB);
    const waits = budget.reserveAsync(1);
    expect(vi.getTimerCount()).toBe(1);
    held.dispose();
    (await waits).dispose();
    expect(vi.getTimerCount()).toBe(0);
    budget.dispose();
    runtime.close();
  });
});

describe('v8Bytes', () => {
  test('is counted while there are members, by the outermost budget alone', () => {
    using outer = new MemoryBudget({ limit: 2 ** 40, name: 'outer' });
    using inner = new MemoryBudget({ limit: 2 ** 40, name: 'inner' });
    using runtime = new MemoryRuntime(new CpuDevice(), { exitReport: false });
    expect(heldBy(inner, 'v8')).toBeUndefined();
    inner.add(runtime);
    expect(heldBy(inner, 'v8')).toBeGreaterThan(MiB);
    const nesting = outer.add(inner);
    expect([heldBy(inner, 'v8'), inner.usedBytes]).toEqual([undefined, runtime.slot.reservedBytes]);
    expect(heldBy(outer, 'v8')).toBeGreaterThan(MiB);
    nesting.dispose();
    expect(heldBy(inner, 'v8')).toBeGreaterThan(MiB);
    expect(outer.usedBytes).toBe(0);
    using without = new MemoryBudget({ limit: 2 ** 40, watchV8: false });
    without.watch('x', () => 1);
    expect(without.usedBytes).toBe(1);
  });

  test('has others give way as an ArrayBuffer grows', () => {
    const limit = v8Bytes() + 160 * MiB;
    using budget = new MemoryBudget({ limit });
    using runtime = new MemoryRuntime(new CpuDevice(), {
      exitReport: false,
      createDefaultManager: (count, table) => new CachingMemoryManager(count, table),
    });
    budget.add(runtime, { name: 'cache' });
    runtime.allocate(100 * MiB).dispose();
    expect(heldBy(budget, 'cache')).toBe(100 * MiB);
    const grown = new ArrayBuffer(120 * MiB);
    budget.refresh();
    expect(heldBy(budget, 'cache')).toBeLessThan(100 * MiB);
    expect(grown.byteLength).toBe(120 * MiB);
    expectSum(budget);
  });

  test('counts views of native memory not twice, also once they were collected', async () => {
    using runtime = new MemoryRuntime(new CpuDevice(), {
      exitReport: false,
      createDefaultManager: (count, table) => new CachingMemoryManager(count, table),
    });
    await collectGarbage();
    const shownBefore = processState().shownBytes;
    const before = v8Bytes();
    const external = getHeapStatistics().external_memory;
    (() => {
      using block = runtime.allocate(200 * MiB);
      block.view().fill(1, 0, 100);
      expect(processState().shownBytes - shownBefore).toBeGreaterThanOrEqual(200 * MiB);
      // V8 counts them as its own.
      expect(getHeapStatistics().external_memory - external).toBeGreaterThanOrEqual(199 * MiB);
      expect(Math.abs(v8Bytes() - before)).toBeLessThan(50 * MiB);
    })();
    // A segment keeps its buffer as long as it lives.
    runtime.slot.signalMemoryCleanup();
    // V8 frees the bytes of buffers beside the program, some time after it has found that they are garbage.
    const change = () => Math.abs(v8Bytes() - before);
    for (let i = 0; i < 50 && (processState().shownBytes > shownBefore || change() >= 50 * MiB); i++) await collectGarbage();
    expect(processState().shownBytes).toBeLessThanOrEqual(shownBefore);
    expect(change()).toBeLessThan(50 * MiB);
  });
});

describe('MemoryError', () => {
  test('of a budget that V8 fills names V8', () => {
    using budget = new MemoryBudget({ limit: MiB });
    using runtime = new MemoryRuntime(new CpuDevice(), {
      exitReport: false,
      createDefaultManager: (count, table) => new CachingMemoryManager(count, table),
    });
    budget.add(runtime);
    expect(() => runtime.allocate(100)).toThrow(/v8 \d+\.\d+ MiB/);
    try {
      runtime.allocate(100);
    } catch (error) {
      expect(MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY') && error.facts.budget?.members[0]).toMatchObject({
        name: 'v8',
        kind: 'watched',
      });
    }
  });
});
