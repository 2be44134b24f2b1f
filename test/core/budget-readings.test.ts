import { afterEach, describe, expect, test } from 'vitest';
import { budgetReadings } from '../../src/core/budget-readings.js';
import { MemoryBudget } from '../../src/index.js';
import { useOwnBudgets } from '../fixtures/own-budgets.js';

useOwnBudgets();
const made: MemoryBudget[] = [];
afterEach(() => {
  for (const budget of made.splice(0)) budget.dispose();
});

function budget(name: string): MemoryBudget {
  const one = new MemoryBudget({ limit: 1000, name, watchV8: false });
  made.push(one);
  return one;
}

const names = () => budgetReadings().map(({ name }) => name);

describe('budgetReadings', () => {
  test('gives nothing without budgets', () => {
    expect(budgetReadings()).toEqual([]);
  });

  test('gives budgets of one name a number each, which stays when another one ends', () => {
    const first = budget('process');
    budget('process');
    budget('other');
    expect(names()).toEqual(['process', 'process #2', 'other']);
    first.dispose();
    expect(names()).toEqual(['process #2', 'other']);
    budget('process');
    expect(names()).toEqual(['process #2', 'other', 'process']);
  });

  test('adds up members of one name and kind, and puts the most held first', () => {
    const one = budget('process');
    for (const bytes of [30, 20]) one.watch('cache', () => bytes);
    one.watch('big', () => 40);
    one.reserve(10);
    const [{ members, report }] = budgetReadings() as [ReturnType<typeof budgetReadings>[number]];
    expect(members.map(({ name, kind, heldBytes }) => [name, kind, heldBytes])).toEqual([
      ['cache', 'watched', 50],
      ['big', 'watched', 40],
      ['reservation', 'reserved', 10],
    ]);
    expect(report.members).toHaveLength(4);
  });
});
