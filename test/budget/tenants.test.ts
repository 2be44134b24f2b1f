import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { ArenaMemoryManager, CachingMemoryManager } from '../../managers/index.js';
import { MemoryBudget, type Pressure } from '../../src/budget/index.js';
import { MemoryError, type MemoryManagerAdapter, MiB } from '../../src/core/index.js';
import { processState } from '../../src/core/process-state.js';
import type { Allocation, MemoryRuntime } from '../../src/runtime/index.js';
import { codeOf } from '../fixtures/code-of.js';
import { errorOf, refusalAsync, refusalOf, runtimeOn, simulated, table } from './budgets.js';
import { FakeShared } from './fake-ledger.js';

let device: SimulatedDevice;
let budget: MemoryBudget;
let runtime: MemoryRuntime;

beforeEach(() => {
  device = simulated();
  budget = new MemoryBudget({ limit: 100 * MiB, memory: device });
  runtime = runtimeOn(device);
  budget.add(runtime);
});

afterEach(() => {
  budget.dispose();
  runtime.close();
});

const allocate = (bytes: number, tag = 'a') => runtime.allocate(bytes, { tag });

describe('BudgetTenant', () => {
  test('is charged with the bytes that were asked for, as long as blocks with its tag live', () => {
    const tenant = budget.tenant('a');
    const block = allocate(1000);
    runtime.allocate(500);
    allocate(300, 'b');
    expect([tenant.liveBytes, tenant.reading().peakBytes]).toEqual([1000, 1000]);
    block.dispose();
    expect([tenant.liveBytes, tenant.peakBytes]).toEqual([0, 1000]);
  });

  test('is charged by tags of scopes and of runtime.tag', () => {
    const tenant = budget.tenant('a');
    {
      using _scope = runtime.scope({ tag: 'a' });
      runtime.allocate(100);
      runtime.tag('b', () => runtime.allocate(50));
      expect(tenant.liveBytes).toBe(100);
    }
    expect(tenant.liveBytes).toBe(0);
    const block = runtime.tag('a', () => runtime.allocate(10));
    expect(tenant.liveBytes).toBe(10);
    block.dispose();
  });

  test('follows blocks that are resized, moved, shared and sliced', () => {
    const tenant = budget.tenant('a', { limit: 5000 });
    let block: Allocation = allocate(1000);
    block.resize(2000);
    expect(tenant.liveBytes).toBe(2000);
    block.resize(300);
    expect(tenant.liveBytes).toBe(300);
    expect(refusalOf(() => block.resize(6000))).toMatchObject({ name: 'budget/a', missingBytes: 1300 });
    expect([tenant.liveBytes, block.bytes]).toEqual([300, 300]);
    block = block.move();
    const slice = block.slice(10, 20);
    const shared = block.share();
    expect(tenant.liveBytes).toBe(300);
    slice.dispose();
    shared.share().dispose();
    expect(tenant.liveBytes).toBe(300);
    shared.dispose();
    expect(tenant.liveBytes).toBe(0);
  });

  test('is charged with nothing when an allocation or a growth fails', () => {
    const tenant = budget.tenant('a');
    device.failNext(9);
    expect(codeOf(() => allocate(1000))).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect(tenant.liveBytes).toBe(0);
    device.failNext(0);
    const block = allocate(1000);
    const { slot } = runtime;
    slot.resized = () => {
      throw new Error('refused');
    };
    expect(errorOf(() => block.resize(1010))).toMatchObject({ message: 'refused' });
    expect([tenant.liveBytes, block.bytes]).toEqual([1000, 1000]);
    Reflect.deleteProperty(slot, 'resized');
    block.dispose();
    expect(tenant.liveBytes).toBe(0);
  });

  test('may have a handle disposed of, or resized, by a listener that makes room for its growth', () => {
    const tenant = budget.tenant('a', { limit: 1000 });
    const other = allocate(495);
    const block = allocate(500);
    budget.events.once('pressure', () => {
      other.dispose();
      block.dispose();
    });
    expect(codeOf(() => block.resize(510))).toBe('ERR_MEM_DISPOSED');
    expect([tenant.liveBytes, runtime.slot.liveBlocks]).toEqual([0, 0]);
    const filler = allocate(495);
    const again = allocate(500);
    budget.events.once('pressure', () => {
      filler.dispose();
      again.resize(400);
    });
    again.resize(510);
    expect([tenant.liveBytes, again.bytes]).toEqual([510, 510]);
    again.dispose();
    expect(tenant.liveBytes).toBe(0);
  });

  test.each([50, 100, 400, 1000, 1010, 5000])('follows the last slice of a block that is resized to %d bytes', (bytes) => {
    const tenant = budget.tenant('a');
    const block = allocate(1000);
    const last = block.slice(0, 100);
    block.dispose();
    last.resize(bytes);
    expect([tenant.liveBytes, last.bytes]).toEqual([bytes, bytes]);
    last.dispose();
    expect(tenant.liveBytes).toBe(0);
  });

  test.each([
    ['one owner', {}],
    ['an `onFreed`', { onFreed: () => undefined }],
  ])('refuses to resize a block with %s that the listener that makes room has sliced', (_, options) => {
    const tenant = budget.tenant('a', { limit: 1000 });
    const other = allocate(495);
    const block = runtime.allocate(500, { tag: 'a', ...options });
    let slice: Allocation | undefined;
    budget.events.once('pressure', () => {
      other.dispose();
      slice = block.slice(10);
    });
    expect(codeOf(() => block.resize(510))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect([tenant.liveBytes, block.bytes]).toEqual([500, 500]);
    block.dispose();
    expect([tenant.liveBytes, runtime.slot.liveBlocks]).toEqual([500, 1]);
    slice?.dispose();
    expect([tenant.liveBytes, runtime.slot.liveBlocks]).toEqual([0, 0]);
  });

  test('is charged no more when an arena that has its blocks is reset and their handles are disposed of', () => {
    const tenant = budget.tenant('a');
    const arena = new ArenaMemoryManager(1, table());
    runtime.slot.install(arena as MemoryManagerAdapter);
    const block = allocate(1000);
    arena.reset();
    block.dispose();
    expect(tenant.liveBytes).toBe(0);
  });

  test('is charged with few blocks of an arena whose handles are dropped and not disposed of when it is reset', async () => {
    const tenant = budget.tenant('a', { limit: 100_000 });
    const arena = new ArenaMemoryManager(1, table());
    runtime.slot.install(arena as MemoryManagerAdapter);
    let freed = 0;
    for (let i = 0; i < 1000; i++) {
      const block = runtime.allocate(1000, { tag: 'a', onFreed: () => freed++ });
      if (i % 3 === 0) block.slice(1);
      arena.reset();
    }
    processState().handleWatch?.letGo();
    expect([tenant.liveBytes, freed]).toEqual([0, 0]);
    await Promise.resolve();
    expect(freed).toBe(1000);
  });

  test('keeps its limit, in bytes or as a share of the budget', () => {
    budget.tenant('a', { limit: 1000 });
    const half = budget.tenant('b', { limit: '50%' });
    expect(half.limitBytes).toBe(50 * MiB);
    allocate(1000);
    const refusal = refusalOf(() => allocate(1));
    expect(refusal).toMatchObject({ name: 'budget/a', asking: 'a', limitBytes: 1000, usedBytes: 1000, missingBytes: 1 });
    expect(refusal.tried.map(({ step }) => step)).toEqual(['listeners', 'dropped handles']);
    expect(budget.report().tenants.map(({ name, refusals }) => [name, refusals])).toEqual([
      ['a', 1],
      ['b', 0],
    ]);
  });

  test('keeps for it what is its minimum, and says how much others lack', () => {
    const tenant = budget.tenant('a', { minimumBytes: 60 * MiB });
    budget.tenant('b');
    allocate(40 * MiB, 'b').dispose();
    expect(refusalOf(() => allocate(41 * MiB, 'b'))).toMatchObject({ missingBytes: MiB });
    allocate(60 * MiB).dispose();
    tenant.dispose();
    allocate(41 * MiB, 'b').dispose();
  });

  test('gets its minimum also when the limit has fallen below what is kept', () => {
    const shared = new FakeShared(100 * MiB);
    const other = simulated();
    using falling = new MemoryBudget({ memory: other, ledger: shared.join() });
    const run = runtimeOn(other);
    falling.add(run);
    falling.tenant('a', { minimumBytes: 30 * MiB });
    falling.tenant('b', { minimumBytes: 30 * MiB });
    shared.limitBytes = 50 * MiB;
    run.allocate(10 * MiB, { tag: 'a' }).dispose();
    falling.tenant('c');
    expect(codeOf(() => falling.tenant('d', { minimumBytes: 1 }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    run.close();
  });

  test('asks listeners, whom it tells who has more than a minimum, the lowest priority first', async () => {
    const told: Pressure[] = [];
    budget.tenant('a', { limit: 1000, priority: 2, minimumBytes: 900 });
    budget.tenant('b', { priority: 1 });
    budget.tenant('c', { priority: 5 });
    budget.tenant('d', { minimumBytes: 100 });
    allocate(10, 'b');
    allocate(10, 'c');
    allocate(10, 'd');
    const block = allocate(950);
    budget.events.on('pressure', (pressure) => told.push(pressure));
    expect(refusalOf(() => allocate(100))).toMatchObject({ missingBytes: 50 });
    expect(told[0]).toMatchObject({ neededBytes: 50, asking: 'a', givesWay: ['b', 'a', 'c'] });
    budget.events.once('pressure', (pressure) => pressure.waitUntil(Promise.resolve().then(() => block.dispose())));
    (await runtime.allocateAsync(100, { tag: 'a' })).dispose();
    allocate(1000).dispose();
    expect(await refusalAsync(runtime.allocateAsync(1001, { tag: 'a' }))).toMatchObject({ asking: 'a' });
  });

  test('may be ended by a listener that makes room for it: nothing stays charged', () => {
    const tenant = budget.tenant('a', { limit: 1000 });
    const block = allocate(1000);
    budget.events.once('pressure', () => {
      block.dispose();
      tenant.dispose();
    });
    const late = allocate(500);
    expect([tenant.liveBytes, budget.report().tenants]).toEqual([0, []]);
    late.dispose();
    expect(tenant.liveBytes).toBe(0);
    budget.tenant('b', { minimumBytes: 100 * MiB });
  });

  test('of the innermost budget has the blocks of a tag, whichever was made first', () => {
    const outer = new MemoryBudget({ limit: 100 * MiB, memory: device, name: 'outer' });
    outer.add(budget);
    const around = outer.tenant('a');
    const first = allocate(100);
    const inside = budget.tenant('a');
    const second = allocate(10);
    expect([around.liveBytes, inside.liveBytes]).toEqual([100, 10]);
    inside.dispose();
    const third = allocate(1);
    expect([around.liveBytes, inside.liveBytes]).toEqual([101, 0]);
    for (const block of [first, second, third]) block.dispose();
    expect(around.liveBytes).toBe(0);
    const fourth = allocate(7);
    budget.dispose();
    expect([around.liveBytes, fourth.bytes]).toEqual([0, 7]);
    outer.dispose();
  });

  test('is charged by runtimes that join later, and not for what they had before', () => {
    const late = runtimeOn(device);
    late.allocate(100, { tag: 'a' });
    const tenant = budget.tenant('a');
    const membership = budget.add(late);
    late.allocate(10, { tag: 'a' });
    allocate(1);
    expect(tenant.liveBytes).toBe(11);
    membership.dispose();
    expect(tenant.liveBytes).toBe(1);
    late.close();
    runtime.close();
    expect(tenant.liveBytes).toBe(0);
  });

  test('takes allocations of no bytes, whatever is full', () => {
    const tenant = budget.tenant('a', { limit: 10 });
    allocate(10);
    allocate(0).dispose();
    expect(tenant.liveBytes).toBe(10);
  });

  test.each([
    ['limit', 0],
    ['limit', '0%'],
    ['limit', Number.NaN],
    ['minimumBytes', -1],
    ['minimumBytes', 101 * MiB],
    ['minimumBytes', Number.NaN],
    ['priority', Number.NaN],
    ['weight', 1],
  ])('refuses %s %s, and keeps nothing for one that it refused', (name, value) => {
    expect(codeOf(() => budget.tenant('a', { [name]: value } as never))).toBe('ERR_MEM_INVALID_ARGUMENT');
    budget.tenant('a', { minimumBytes: 100 * MiB });
  });

  test('refuses a name that another one has, none at all, and a minimum above its limit', () => {
    budget.tenant('a');
    for (const [name, options] of [
      ['a', {}],
      ['', {}],
      [3, {}],
      ['b', { limit: 5, minimumBytes: 6 }],
    ] as const) {
      expect(errorOf(() => budget.tenant(name as string, options))).toSatisfy((error) =>
        MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT'),
      );
    }
  });

  test('is shown with what lives and its limit', () => {
    const tenant = budget.tenant('a', { limit: 10 * MiB });
    allocate(MiB);
    expect(inspect(tenant)).toBe('BudgetTenant { a, 1.00 MiB live of 10.00 MiB }');
  });

  test('is charged with nothing once the runtime is closed', () => {
    const tenant = budget.tenant('a');
    runtime.slot.install(new CachingMemoryManager(1, table()) as MemoryManagerAdapter);
    allocate(1000);
    runtime.close();
    expect(tenant.liveBytes).toBe(0);
  });
});
