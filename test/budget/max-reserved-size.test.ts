import { describe, expect, test } from 'vitest';
import { type BudgetJoiner, MemoryBudget } from '../../src/budget/index.js';
import { GiB, MiB } from '../../src/core/units.js';
import { budgetOfTest, runtimeOn, simulated } from './budgets.js';
import { FakeShared } from './fake-ledger.js';

const CARD = 139 * GiB;

/** A runtime on a card, what its manager may reserve, and budgets of the card's memory. */
function bench() {
  const device = simulated({ capacityBytes: CARD, deviceCount: 2 });
  const runtime = runtimeOn(device);
  // Has the default manager installed.
  runtime.slot.unlock(runtime.slot.alloc(1, true), true);
  const { deviceInterface } = runtime.slot.active!;
  const most = (id = 0) => deviceInterface.getMaxReservedSize(id);
  const budgetOf = (limit: number, ...joiners: BudgetJoiner[]) => {
    const budget = budgetOfTest({ limit, memory: device, exitReport: false });
    for (const joiner of joiners) budget.add(joiner);
    return budget;
  };
  return { device, runtime, most, budgetOf };
}

describe('MemoryManagerDeviceInterface', () => {
  describe('getMaxReservedSize', () => {
    test('is the capacity without a budget, and on devices that the budget is not about', () => {
      const { runtime, most, budgetOf } = bench();
      expect(most()).toBe(CARD);
      budgetOf(GiB, runtime);
      expect([most(0), most(1)]).toEqual([GiB, CARD]);
    });

    test('is the capacity where budgets leave more', () => {
      const { runtime, most, budgetOf } = bench();
      budgetOf(200 * GiB, runtime);
      expect(most()).toBe(CARD);
    });

    test('follows a budget that the slot joins and leaves while its manager is installed, and one that ends', () => {
      const { runtime, most, budgetOf } = bench();
      const budget = budgetOf(GiB);
      const membership = budget.add(runtime);
      expect(most()).toBe(GiB);
      membership.dispose();
      expect(most()).toBe(CARD);
      budget.add(runtime);
      budget.dispose();
      expect(most()).toBe(CARD);
    });

    test('follows a limit that changes', () => {
      const { device, runtime, most } = bench();
      const shared = new FakeShared(8 * GiB);
      using budget = new MemoryBudget({ limit: 6 * GiB, memory: device, ledger: shared.join(), exitReport: false });
      budget.add(runtime);
      expect(most()).toBe(6 * GiB);
      shared.limitBytes = 2 * GiB;
      expect(most()).toBe(2 * GiB);
    });

    test.each([
      [GiB, 2 * GiB],
      [2 * GiB, GiB],
    ])('is the least of budgets around each other, %i and %i', (inner, outer) => {
      const { runtime, most, budgetOf } = bench();
      budgetOf(outer, budgetOf(inner, runtime));
      expect(most()).toBe(GiB);
    });

    test('leaves out what others keep of their minimum, in any budget around', () => {
      const { device, runtime, most, budgetOf } = bench();
      const inner = budgetOf(8 * GiB, runtime);
      const outer = budgetOf(9 * GiB, inner);
      const [beside, far] = [runtimeOn(device), runtimeOn(device)];
      inner.add(beside, { minimumBytes: 2 * GiB });
      outer.add(far, { minimumBytes: 3 * GiB });
      expect(most()).toBe(8 * GiB);
      // As much as they hold of it: a minimum is not taken ahead.
      const held = beside.slot.alloc(GiB, true);
      expect(most()).toBe(7 * GiB);
      far.slot.alloc(4 * GiB, true);
      // 9 GiB without 3 for the outer one's, and 1 for the inner one's.
      expect(most()).toBe(5 * GiB);
      beside.slot.unlock(held, true);
      beside.slot.signalMemoryCleanup();
      expect(most()).toBe(6 * GiB);
    });

    test('leaves out what is watched, and segments, and not reservations, which its own job may draw on', () => {
      const { runtime, most, budgetOf } = bench();
      const budget = budgetOf(GiB, runtime);
      budget.watch('engine', () => 100 * MiB);
      budget.addSegment({ url: 'shm:a', bytes: 24 * MiB });
      budget.reserve(300 * MiB);
      expect(most()).toBe(900 * MiB);
    });

    test('is 0 where others keep more than the limit', () => {
      const { runtime, most, budgetOf } = bench();
      budgetOf(MiB, runtime).watch('engine', () => 2 * MiB);
      expect(most()).toBe(0);
    });
  });
});
