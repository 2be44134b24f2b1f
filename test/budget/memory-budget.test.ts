import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CachingMemoryManager, PoolMemoryManager } from '../../managers/index.js';
import { MemoryBudget } from '../../src/budget/index.js';
import { budgets } from '../../src/core/budgets.js';
import { MiB } from '../../src/core/index.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { PlainManager } from '../core/fakes.js';
import { codeOf } from '../fixtures/code-of.js';
import { errorOf, heldBy, refusalOf, simulated, table } from './budgets.js';
import { FakeShared } from './fake-ledger.js';
import { budget, device, hoarder, limit, made, runtimeWith, useDevice, useHoarders } from './hoarders.js';

useHoarders();

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
      useDevice(simulated({ deviceCount: 3 }));
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
      useDevice(simulated({ deviceCount: 2 }));
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
    test('refuses a segment that was attached with other bytes', () => {
      using _first = budget.addSegment({ url: 'shm:a', bytes: 10 });
      expect(codeOf(() => budget.addSegment({ url: 'shm:a', bytes: 90 }))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(budget.usedBytes).toBe(10);
    });

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
