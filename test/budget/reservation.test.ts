import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { type BudgetReservation, MemoryBudget } from '../../src/budget/index.js';
import { MemoryError, MiB } from '../../src/core/index.js';
import { PlainManager } from '../core/fakes.js';
import { codeOf } from '../fixtures/code-of.js';
import { moduleUrl, runChild } from '../fixtures/compiled.js';
import { errorOf, expectSum, heldBy, refusalAsync, refusalOf, runtimeOn, simulated } from './budgets.js';

let device: SimulatedDevice;
let budget: MemoryBudget;

/** A runtime whose blocks are native ones, in the budget. */
function member(name: string, of = budget) {
  const runtime = runtimeOn(device, (_, table) => new PlainManager(table));
  of.add(runtime, { name });
  return runtime;
}

const turn = () => new Promise(setImmediate);

/** What a promise gives before a timer can have helped it. */
async function inThisTurn<T>(promise: Promise<T>): Promise<T> {
  const late = turn().then(() => {
    throw new Error('not served in this turn');
  });
  return await Promise.race([promise, late as Promise<never>]);
}

beforeEach(() => {
  device = simulated();
  budget = new MemoryBudget({ limit: 100, memory: device });
});

afterEach(() => {
  expectSum(budget);
  budget.dispose();
});

describe('BudgetReservation', () => {
  test('keeps memory that nobody else gets', () => {
    using memory = budget.reserve(60);
    expect([budget.usedBytes, memory.bytes, memory.remainingBytes]).toEqual([60, 60, 60]);
    const runtime = member('other');
    expect(refusalOf(() => runtime.allocate(41))).toMatchObject({ missingBytes: 1, asking: 'other' });
    runtime.allocate(40).dispose();
  });

  test('is everybody’s again once it is disposed of, and only once', () => {
    const memory = budget.reserve(60);
    memory.dispose();
    memory.dispose();
    expect([budget.usedBytes, memory.remainingBytes, budget.report().members]).toEqual([0, 0, []]);
  });

  describe('run', () => {
    test('has members take from it, over awaits', async () => {
      const runtime = member('job');
      const memory = budget.reserve(60);
      await memory.run(async () => {
        await turn();
        runtime.allocate(50);
      });
      expect([budget.usedBytes, memory.remainingBytes, heldBy(budget, 'job')]).toEqual([60, 10, 50]);
      memory.dispose();
      expect([budget.usedBytes, heldBy(budget, 'job')]).toEqual([50, 50]);
    });

    test('takes what is more from the budget, and leaves both as they were when that is refused', () => {
      const runtime = member('job');
      const memory = budget.reserve(60);
      memory.run(() => runtime.allocate(90).dispose());
      expect([budget.usedBytes, memory.remainingBytes]).toEqual([60, 60]);
      memory.run(() => expect(refusalOf(() => runtime.allocate(101))).toMatchObject({ missingBytes: 1 }));
      expect([budget.usedBytes, memory.remainingBytes]).toEqual([60, 60]);
    });

    test('is refilled when a native call fails', () => {
      const runtime = member('job');
      const memory = budget.reserve(60);
      device.failNext(9);
      memory.run(() => expect(codeOf(() => runtime.allocate(50))).toBe('ERR_MEM_OUT_OF_MEMORY'));
      expect([budget.usedBytes, memory.remainingBytes]).toEqual([60, 60]);
    });

    test('refills the reservation that a vain request drew from, not an older one', () => {
      const runtime = member('job');
      const first = budget.reserve(20);
      const second = budget.reserve(20);
      first.run(() => runtime.allocate(15));
      device.failNext(9);
      second.run(() => expect(codeOf(() => runtime.allocate(10))).toBe('ERR_MEM_OUT_OF_MEMORY'));
      expect([first.remainingBytes, second.remainingBytes]).toEqual([5, 20]);
      device.failNext(0);
      second.run(() => expect(refusalOf(() => runtime.allocate(90)).missingBytes).toBeGreaterThan(0));
      expect([first.remainingBytes, second.remainingBytes]).toEqual([5, 20]);
    });

    test('gives back what a request drew when a listener ends the reservation and the request is refused', () => {
      const runtime = member('job');
      const memory = budget.reserve(60);
      budget.events.once('pressure', () => memory.dispose());
      memory.run(() => expect(refusalOf(() => runtime.allocate(101))).toMatchObject({ missingBytes: 1 }));
      expect([budget.usedBytes, memory.remainingBytes]).toEqual([0, 0]);
    });

    test('gets back what those free who took it, as long as it is open', () => {
      const runtime = member('job');
      const memory = budget.reserve(60);
      const block = memory.run(() => runtime.allocate(50));
      block.dispose();
      expect([budget.usedBytes, memory.remainingBytes]).toEqual([60, 60]);
    });

    test('of a reservation in a budget around counts once there', () => {
      const inner = new MemoryBudget({ limit: 80, memory: device, name: 'inner' });
      budget.add(inner);
      const runtime = member('job', inner);
      const memory = budget.reserve(60);
      memory.run(() => runtime.allocate(70));
      expect([budget.usedBytes, inner.usedBytes, memory.remainingBytes, heldBy(budget, 'inner')]).toEqual([70, 70, 0, 70]);
      memory.dispose();
      inner.dispose();
      expect(budget.usedBytes).toBe(0);
    });
  });
});

describe('MemoryBudget', () => {
  describe('reserve', () => {
    test('is refused when it does not fit, and when others wait for memory', async () => {
      const first = budget.reserve(60);
      expect(refusalOf(() => budget.reserve(41))).toMatchObject({ missingBytes: 1, asking: 'reservation' });
      const waits = budget.reserveAsync(50);
      await turn();
      expect(refusalOf(() => budget.reserve(1))).toMatchObject({ missingBytes: 0 });
      expect(String(errorOf(() => budget.reserve(1)))).toMatch(/; what is free is for those who asked before$/);
      first.dispose();
      (await waits).dispose();
    });

    test('costs a like time however many reservations are open', () => {
      const millisecondsFor = (count: number): number => {
        using many = new MemoryBudget({ limit: 2 ** 40, memory: device });
        const start = performance.now();
        const open = Array.from({ length: count }, () => many.reserve(1));
        for (const memory of open) memory.dispose();
        return performance.now() - start;
      };
      // Quadratic, it takes 10 s and more.
      expect(millisecondsFor(8000)).toBeLessThan(1000);
    });

    test.each([[-1], [1.5], [Number.NaN], ['1' as unknown as number]])('refuses what is no size: %s', (bytes) => {
      expect(codeOf(() => budget.reserve(bytes))).toBe('ERR_MEM_INVALID_SIZE');
    });

    test('has members give cached memory back', () => {
      const caching = runtimeOn(device);
      const large = new MemoryBudget({ limit: 40 * MiB, memory: device });
      large.add(caching);
      caching.allocate(20 * MiB).dispose();
      using memory = large.reserve(39 * MiB);
      expect([memory.remainingBytes, large.usedBytes]).toEqual([39 * MiB, 39 * MiB]);
      large.dispose();
    });
  });

  describe('reserveAsync', () => {
    test('serves who came first, also before a smaller one that would fit', async () => {
      const order: string[] = [];
      const held = budget.reserve(60);
      const large = budget.reserveAsync(80).then((memory) => {
        order.push('large');
        return memory;
      });
      const small = budget.reserveAsync(10).then((memory) => {
        order.push('small');
        return memory;
      });
      await turn();
      expect([order, budget.usedBytes]).toEqual([[], 60]);
      held.dispose();
      for (const memory of [await large, await small]) memory.dispose();
      expect(order).toEqual(['large', 'small']);
    });

    test('takes nothing out of the reservation of a job that gives back what is waited for', async () => {
      const runtime = member('other');
      const block = runtime.allocate(40);
      const job = budget.reserve(60);
      const waits = budget.reserveAsync(30);
      await turn();
      job.run(() => block.dispose());
      using memory = await inThisTurn(waits);
      expect([memory.remainingBytes, job.remainingBytes, budget.usedBytes]).toEqual([30, 60, 90]);
      job.dispose();
    });

    test('does not ask the listeners of a budget around again at each free', async () => {
      const inner = new MemoryBudget({ limit: 100, memory: device });
      budget.add(inner);
      const held = budget.reserve(60);
      const runtime = member('job', inner);
      let asked = 0;
      budget.events.on('pressure', () => asked++);
      const waits = inner.reserveAsync(80);
      for (let i = 0; i < 20; i++) {
        await Promise.resolve();
        runtime.allocate(10).dispose();
      }
      expect(asked).toBe(1);
      held.dispose();
      (await inThisTurn(waits)).dispose();
      inner.dispose();
    });

    test('counts as no refusal while it waits, and tells of none', async () => {
      let told = 0;
      budget.events.on('refusal', () => told++);
      const held = budget.reserve(60);
      const waits = budget.reserveAsync(80);
      for (let i = 0; i < 5; i++) {
        budget.refresh();
        await turn();
      }
      expect([budget.report().refusals, told]).toEqual([0, 0]);
      held.dispose();
      (await waits).dispose();
    });

    test('rejects with the reason of a signal that was aborted before', async () => {
      const reason = new Error('too late');
      await expect(budget.reserveAsync(10, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      expect(budget.usedBytes).toBe(0);
    });

    test('rejects with the reason of a signal that is aborted while it waits, and those behind get their turn', async () => {
      const held = budget.reserve(60);
      const controller = new AbortController();
      const large = budget.reserveAsync(80, { signal: controller.signal });
      const small = budget.reserveAsync(10);
      await turn();
      controller.abort(new Error('given up'));
      await expect(large).rejects.toThrow('given up');
      using memory = await inThisTurn(small);
      expect([memory.bytes, budget.usedBytes]).toEqual([10, 70]);
      held.dispose();
    });

    test('keeps nothing for one who gives up while others make room for it', async () => {
      const held: BudgetReservation = budget.reserve(60);
      const controller = new AbortController();
      budget.events.once('pressure', () => {
        controller.abort(new Error('given up'));
        held.dispose();
      });
      await expect(budget.reserveAsync(80, { signal: controller.signal })).rejects.toThrow('given up');
      await turn();
      expect(budget.usedBytes).toBe(0);
    });

    test.each([
      [
        'rejects in a program that has nothing else to do, with a signal',
        '{ signal: AbortSignal.timeout(50) }',
        0,
        'TimeoutError\n',
      ],
      ['ends with such a program, without one', '{}', 13, ''],
    ])('%s', (_, options, status, stdout) => {
      const child = runChild(`
        const { MemoryBudget } = await import(${JSON.stringify(moduleUrl('src/budget/index.js'))});
        const budget = new MemoryBudget({ limit: 100, exitReport: false, watchV8: false });
        budget.reserve(60);
        await budget.reserveAsync(80, ${options}).catch(({ name }) => console.log(name));`);
      expect(child).toMatchObject({ status, stdout });
    });

    test('takes its listener off a signal once it was served', async () => {
      const { signal } = new AbortController();
      const memory = await budget.reserveAsync(10, { signal });
      signal.dispatchEvent(new Event('abort'));
      expect(memory.remainingBytes).toBe(10);
      memory.dispose();
    });

    test('rejects when the budget ends meanwhile, also from inside a request of its own', async () => {
      budget.reserve(60);
      const waits = budget.reserveAsync(80);
      budget.dispose();
      expect(await waits.catch((error: unknown) => MemoryError.is(error, 'ERR_MEM_DISPOSED'))).toBe(true);
      const other = new MemoryBudget({ limit: 100, memory: device });
      const held = other.reserve(60);
      other.events.once('pressure', () => {
        held.dispose();
        other.dispose();
      });
      expect(await other.reserveAsync(80).catch((error: unknown) => MemoryError.is(error, 'ERR_MEM_DISPOSED'))).toBe(true);
      expect([budget.usedBytes, other.usedBytes]).toEqual([0, 0]);
    });

    test('is refused at once for more than the limit', async () => {
      expect(await refusalAsync(budget.reserveAsync(101))).toMatchObject({ missingBytes: 1 });
      await expect(budget.reserveAsync(Number.NaN)).rejects.toMatchObject({ code: 'ERR_MEM_INVALID_SIZE' });
    });

    test('waits for memory of a budget around', async () => {
      const inner = new MemoryBudget({ limit: 100, memory: device });
      budget.add(inner);
      const held = budget.reserve(60);
      const waits = inner.reserveAsync(80);
      await turn();
      held.dispose();
      using memory = await inThisTurn(waits);
      expect([memory.bytes, inner.usedBytes, budget.usedBytes]).toEqual([80, 80, 80]);
      inner.dispose();
    });

    test('waits for a listener that makes room in its own time, and asks nobody meanwhile', async () => {
      const held = budget.reserve(60);
      let asked = 0;
      let done = () => {};
      budget.events.on('pressure', (pressure) => {
        asked++;
        pressure.waitUntil(
          new Promise<void>((resolve) => {
            done = () => {
              held.dispose();
              resolve();
            };
          }),
        );
      });
      const waits = budget.reserveAsync(80);
      for (let i = 0; i < 3; i++) {
        await turn();
        budget.refresh();
      }
      expect(asked).toBe(1);
      done();
      (await waits).dispose();
    });

    test('does not ask a listener over and over that answers at once and frees nothing', async () => {
      const held = budget.reserve(60);
      let asked = 0;
      budget.events.on('pressure', (pressure) => {
        asked++;
        pressure.waitUntil(Promise.resolve());
      });
      const waits = budget.reserveAsync(80);
      for (let i = 0; i < 5; i++) await turn();
      expect(asked).toBeLessThan(3);
      held.dispose();
      (await waits).dispose();
    });

    test('is served when a member frees', async () => {
      const runtime = member('buffers');
      const block = runtime.allocate(60);
      const waits = budget.reserveAsync(80);
      await turn();
      block.dispose();
      (await waits).dispose();
    });
  });

  test('has no method that works on an ended one', async () => {
    budget.dispose();
    const calls = [
      () => budget.reserve(1),
      () => budget.add(runtimeOn(device)),
      () => budget.tenant('a'),
      () => budget.watch('a', () => 1),
    ];
    for (const call of [...calls, () => budget.addSegment({ url: 'a', bytes: 1 })]) {
      expect(errorOf(call)).toMatchObject({ code: 'ERR_MEM_DISPOSED' });
    }
    await expect(budget.reserveAsync(1)).rejects.toMatchObject({ code: 'ERR_MEM_DISPOSED' });
  });
});
