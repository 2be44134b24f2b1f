import fc from 'fast-check';
import { afterEach, beforeEach, describe, type MockInstance, test, vi } from 'vitest';
import { PROGRAM } from './budget-steps.js';
import { World } from './budget-world.js';

let warn: MockInstance;

beforeEach(() => {
  warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
});

afterEach(() => {
  warn.mockRestore();
});

describe('MemoryBudget under random programs', () => {
  test('counts what members, reservations, tenants and budgets hold, and keeps limits, minimums and reservations', async () => {
    const numRuns = Number(process.env['STOWAGE_BUDGET_RUNS'] ?? 25);
    await fc.assert(
      fc.asyncProperty(PROGRAM, async (program) => {
        const world = new World();
        try {
          world.check();
          for (const one of program) await world.run(one);
          await world.end();
        } finally {
          for (const budget of world.budgets) budget.dispose();
        }
      }),
      {
        numRuns,
        seed: Number(process.env['STOWAGE_BUDGET_SEED'] ?? 20),
        endOnFailure: process.env['STOWAGE_BUDGET_RUNS'] !== undefined,
      },
    );
  });
});
