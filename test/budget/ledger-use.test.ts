import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager } from '../../managers/index.js';
import { MemoryBudget } from '../../src/budget/index.js';
import { MiB } from '../../src/core/index.js';
import type { MemoryRuntime } from '../../src/runtime/index.js';
import { PlainManager } from '../core/fakes.js';
import { codeOf } from '../fixtures/code-of.js';
import { expectSum, refusalOf, runtimeOn, simulated } from './budgets.js';
import { type FakeLedger, FakeShared } from './fake-ledger.js';

let device: SimulatedDevice;
let shared: FakeShared;
let ledger: FakeLedger;
let other: FakeLedger;
let budget: MemoryBudget;
let runtime: MemoryRuntime;

beforeEach(() => {
  device = simulated();
  shared = new FakeShared(100 * MiB);
  ledger = shared.join({ name: 'here' });
  other = shared.join({ name: 'there', priority: 3, minimumBytes: 5 });
  budget = new MemoryBudget({ memory: device, ledger });
  runtime = runtimeOn(device, (_, table) => new PlainManager(table));
  budget.add(runtime, { name: 'runtime' });
});

afterEach(() => {
  expectSumWithOthers();
  budget.dispose();
  expect([ledger.heldBytes, ledger.attached.size]).toEqual([0, 0]);
  runtime.close();
});

/** What is counted here is in the ledger, segments apart. */
function expectSumWithOthers(): void {
  const { members } = budget.report();
  const here = members.filter(({ kind }) => kind !== 'process');
  expect(budget.usedBytes).toBe(here.reduce((sum, { heldBytes }) => sum + heldBytes, 0));
  const own = here.filter(({ kind }) => kind !== 'segment').reduce((sum, { heldBytes }) => sum + heldBytes, 0);
  expect(ledger.heldBytes).toBe(own);
}

describe('MemoryBudget with a ledger', () => {
  test('has a ledger of its own, until it ends', () => {
    expect(codeOf(() => new MemoryBudget({ memory: device, ledger }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    const mine = shared.join();
    new MemoryBudget({ memory: device, ledger: mine }).dispose();
    new MemoryBudget({ memory: device, ledger: mine }).dispose();
  });

  test('takes and gives what its members hold, and has the ledger’s limit', () => {
    expect(budget.limitBytes).toBe(100 * MiB);
    const block = runtime.allocate(MiB);
    expect([ledger.heldBytes, budget.usedBytes]).toEqual([MiB, MiB]);
    block.dispose();
    expect(ledger.heldBytes).toBe(0);
    using less = new MemoryBudget({ memory: device, ledger: shared.join(), limit: 10 });
    expect(less.limitBytes).toBe(10);
  });

  test('is refused when others hold too much, says who, and asks them for what is missing', () => {
    other.heldBytes = 90 * MiB;
    const refusal = refusalOf(() => runtime.allocate(20 * MiB));
    expect(refusal).toMatchObject({ usedBytes: 90 * MiB, missingBytes: 10 * MiB });
    expect(refusal.members[0]).toMatchObject({
      name: 'there',
      kind: 'process',
      heldBytes: 90 * MiB,
      priority: 3,
      minimumBytes: 5,
    });
    expect(refusal.tried.map(({ step }) => step).at(-1)).toBe('other processes');
    expect(ledger.wantedBytes).toBeGreaterThanOrEqual(10 * MiB);
    expect([budget.usedBytes, ledger.heldBytes]).toEqual([0, 0]);
  });

  test('asks again when another isolate was quicker, and gives up after some tries', () => {
    shared.refuseTakes = 3;
    runtime.allocate(MiB).dispose();
    expect(shared.refuseTakes).toBe(0);
    shared.refuseTakes = 100;
    expect(codeOf(() => runtime.allocate(MiB))).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect([budget.usedBytes, ledger.heldBytes]).toEqual([0, 0]);
    shared.refuseTakes = 0;
  });

  test('takes what dead members held before it refuses', () => {
    other.heldBytes = 90 * MiB;
    shared.kill(other);
    runtime.allocate(50 * MiB);
    expect(shared.usedBytes).toBe(50 * MiB);
  });

  test('gives cached memory that others want, never below minimums, and publishes what there is', () => {
    const caching = runtimeOn(device, (count, table) => new CachingMemoryManager(count, table));
    budget.add(caching, { name: 'cache', minimumBytes: 15 * MiB });
    const blocks = [0, 1, 2, 3].map(() => caching.allocate(12 * MiB));
    for (const block of blocks) block.dispose();
    budget.refresh();
    expect(ledger.cachedBytes).toBe(caching.slot.reservedBytes);
    const before = caching.slot.reservedBytes;
    ledger.asked = 13 * MiB;
    budget.refresh();
    expect(before - caching.slot.reservedBytes).toBeGreaterThanOrEqual(12 * MiB);
    ledger.asked = 100 * MiB;
    budget.refresh();
    expect(caching.slot.reservedBytes).toBeGreaterThanOrEqual(15 * MiB);
    expect(budget.report().reclaims.at(-1)).toMatchObject({ asking: 'another process', from: 'cache' });
    ledger.asked = 0;
    expectSumWithOthers();
    caching.close();
  });

  test('allocateAsync waits until others have given', async () => {
    other.heldBytes = 90 * MiB;
    const wait = setInterval(() => {
      if (ledger.wantedBytes > 0) {
        other.heldBytes = 0;
        shared.announce();
      }
    }, 1);
    const block = await runtime.allocateAsync(20 * MiB);
    clearInterval(wait);
    expect([block.bytes, ledger.wantedBytes]).toEqual([20 * MiB, 0]);
  });

  test('counts a segment in the ledger alone, once for all, and is refused there', () => {
    other.attachSegment('shm://a', 30 * MiB);
    const attachment = budget.addSegment({ url: 'shm://a', bytes: 30 * MiB });
    expect([shared.usedBytes, ledger.heldBytes, budget.usedBytes]).toEqual([30 * MiB, 0, 30 * MiB]);
    attachment.dispose();
    expect([shared.usedBytes, budget.usedBytes]).toEqual([30 * MiB, 0]);
    other.heldBytes = 60 * MiB;
    expect(codeOf(() => budget.addSegment({ url: 'shm://b', bytes: 20 * MiB }))).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect([budget.usedBytes, ledger.attached.size]).toEqual([0, 0]);
  });

  test('counts a segment that is attached in a reserved job, and all of the reservation afterwards', () => {
    const memory = budget.reserve(20 * MiB);
    const attachment = memory.run(() => budget.addSegment({ url: 'shm://a', bytes: 10 * MiB }));
    expect([memory.remainingBytes, ledger.heldBytes, shared.usedBytes]).toEqual([20 * MiB, 20 * MiB, 30 * MiB]);
    memory.dispose();
    attachment.dispose();
    expect([ledger.heldBytes, shared.usedBytes, budget.usedBytes]).toEqual([0, 0, 0]);
  });

  test('counts reservations, and gives them back', async () => {
    const memory = budget.reserve(60 * MiB);
    expect(ledger.heldBytes).toBe(60 * MiB);
    memory.run(() => runtime.allocate(10 * MiB));
    expect(ledger.heldBytes).toBe(60 * MiB);
    const waits = budget.reserveAsync(80 * MiB);
    await new Promise(setImmediate);
    memory.dispose();
    (await waits).dispose();
    expect(ledger.heldBytes).toBe(10 * MiB);
  });

  test('forces what nobody can refuse', () => {
    let bytes = 0;
    budget.watch('engine', () => bytes);
    bytes = 120 * MiB;
    budget.refresh();
    expect([ledger.heldBytes, budget.report().overshoots]).toEqual([120 * MiB, 1]);
    bytes = 0;
    budget.refresh();
    expect(ledger.heldBytes).toBe(0);
  });

  test('keeps its minimum in the ledger when others want what it caches in one segment', () => {
    using here = new MemoryBudget({ memory: device, ledger: shared.join({ minimumBytes: 15 * MiB }) });
    const caching = runtimeOn(device, (count, table) => new CachingMemoryManager(count, table));
    here.add(caching, { name: 'cache' });
    caching.allocate(20 * MiB).dispose();
    (shared.members.at(-1) as FakeLedger).asked = 5 * MiB;
    here.refresh();
    expect(caching.slot.reservedBytes).toBe(20 * MiB);
    caching.close();
  });

  test('offers others no more what it could not give when they wanted it, for a second', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const caching = runtimeOn(device, (count, table) => new CachingMemoryManager(count, table));
    budget.add(caching, { name: 'cache' });
    const inUse = caching.allocate(2 * MiB);
    budget.refresh();
    expect(ledger.cachedBytes).toBe(18 * MiB);
    ledger.asked = 10 * MiB;
    budget.refresh();
    expect([ledger.cachedBytes, caching.slot.reservedBytes]).toEqual([0, 20 * MiB]);
    ledger.asked = 0;
    budget.refresh();
    expect(ledger.cachedBytes).toBe(0);
    inUse.dispose();
    budget.refresh();
    expect(ledger.cachedBytes).toBe(2 * MiB);
    vi.advanceTimersByTime(1001);
    budget.refresh();
    expect(ledger.cachedBytes).toBe(20 * MiB);
    vi.useRealTimers();
    caching.close();
  });

  test('lets members free, and gives them nothing more, once its ledger has ended', () => {
    const block = runtime.allocate(MiB);
    const attachment = budget.addSegment({ url: 'shm://a', bytes: MiB });
    const memory = budget.reserve(MiB);
    ledger.attached.clear();
    ledger.dispose();
    block.dispose();
    attachment.dispose();
    memory.dispose();
    expect([block.disposed, device.liveBytes, budget.usedBytes, budget.report().usedBytes]).toEqual([true, 0, 0, 0]);
    expect(codeOf(() => runtime.allocate(1))).toBe('ERR_MEM_DISPOSED');
    expect([budget.usedBytes, budget.limitBytes]).toEqual([0, 100 * MiB]);
    budget.refresh();
  });

  test('tells once that the limit has fallen below what is held, until it is above again', () => {
    const told: number[] = [];
    budget.events.on('overshoot', ({ overshootBytes }) => told.push(overshootBytes));
    runtime.allocate(50 * MiB);
    for (const limit of [30, 20, 60, 40]) {
      ledger.setLimit(limit * MiB);
      budget.refresh();
    }
    expect(told).toEqual([20 * MiB, 10 * MiB]);
    expect(budget.report()).toMatchObject({ overshoots: 2, overshootBytes: 30 * MiB });
  });

  test('is the outermost: it joins no other budget', () => {
    using outer = new MemoryBudget({ memory: device, limit: 2 ** 40 });
    expect(codeOf(() => outer.add(budget))).toBe('ERR_MEM_INVALID_ARGUMENT');
    using inner = new MemoryBudget({ memory: device, limit: 50 * MiB });
    budget.add(inner);
    const one = runtimeOn(device, (_, table) => new PlainManager(table));
    inner.add(one);
    one.allocate(MiB);
    expect([ledger.heldBytes, budget.usedBytes]).toEqual([MiB, MiB]);
    expectSum(inner);
    one.close();
  });
});
