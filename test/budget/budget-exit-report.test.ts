import { beforeAll, describe, expect, test } from 'vitest';
import { formatBudgetAtExit } from '../../src/budget/budget-exit-report.js';
import type { BudgetMemberReading, BudgetReport } from '../../src/budget/index.js';
import { KiB, MiB } from '../../src/index.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

function member(facts: Partial<BudgetMemberReading>): BudgetMemberReading {
  const nothing = { heldBytes: 0, cachedBytes: 0, peakBytes: 0, minimumBytes: 0, priority: 0 };
  return { name: 'buffers', kind: 'memory', ...nothing, ...facts };
}

function report(facts: Partial<BudgetReport>): BudgetReport {
  return {
    name: 'process',
    memory: 'host',
    limitBytes: 4 * MiB,
    usedBytes: 0,
    peakBytes: 3 * MiB,
    members: [],
    tenants: [],
    refusals: 0,
    overshoots: 0,
    overshootBytes: 0,
    reclaimCount: 0,
    reclaimedBytes: 0,
    reclaims: [],
    ...facts,
  };
}

describe('formatBudgetAtExit', () => {
  test('says nothing when all went well, also of reclaims', () => {
    expect(formatBudgetAtExit(report({ members: [member({})], reclaimCount: 3, reclaimedBytes: 100 }))).toBe('');
  });

  test('says nothing of what nobody here can give back, nor of a budget below', () => {
    const kinds = ['watched', 'process', 'budget'] as const;
    expect(formatBudgetAtExit(report({ members: kinds.map((kind) => member({ kind, heldBytes: 5 })) }))).toBe('');
  });

  test('counts refusals, overshoots and reclaims, with bytes', () => {
    const facts = { refusals: 1, overshoots: 2, overshootBytes: 512, reclaimCount: 3, reclaimedBytes: 2 * KiB };
    expect(formatBudgetAtExit(report(facts))).toBe(
      'stowage: budget "process" (host): limit 4194304 bytes (4.00 MiB), peak 3145728 bytes (3.00 MiB); 1 refusal; ' +
        '2 overshoots, at most 512 bytes past the limit; 3 reclaims, 2048 bytes (2.00 KiB) in all\n',
    );
  });

  test('names the members that still hold memory, in one line whatever their names are', () => {
    const members = [member({ name: 'a\nb', heldBytes: MiB }), member({ kind: 'reserved', name: 'job', heldBytes: 7 })];
    expect(formatBudgetAtExit(report({ limitBytes: Number.POSITIVE_INFINITY, members }))).toBe(
      'stowage: budget "process" (host): no limit, peak 3145728 bytes (3.00 MiB); 0 refusals; 0 overshoots; 0 reclaims; ' +
        '"a\\nb" still holds 1048576 bytes (1.00 MiB); "job" still holds 7 bytes\n',
    );
  });
});

describe('MemoryBudget in a process of its own', () => {
  beforeAll(() => void compiled(), 120_000);

  const prelude = () => `
    import { MemoryBudget, MemoryRuntime } from '${moduleUrl('src/index.js')}';
    import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
    const MiB = 2 ** 20;
    const runtime = new MemoryRuntime(new CpuDevice());
    const add = (options) => {
      const budget = new MemoryBudget({ limit: 8 * MiB, watchV8: false, ...options });
      budget.add(runtime, { name: 'buffers' });
      return budget;
    };
    const fails = (action) => { try { action(); } catch { return; } throw new Error('not refused'); };
    const refuse = (budget) => {
      const held = budget.reserve(7 * MiB);
      fails(() => budget.reserve(7 * MiB));
      held.dispose();
    };
  `;
  const line =
    'stowage: budget "process" (host): limit 8388608 bytes (8.00 MiB), peak 7340032 bytes (7.00 MiB); 1 refusal; 0 overshoots; 1 reclaim, 2097152 bytes (2.00 MiB) in all\n';

  test.each([
    ['the program ends', '', 0],
    ['process.exit is called', 'process.exit(3);', 3],
  ])('reports a refusal once, after the runtime has given back, when %s', (_, end, code) => {
    const { status, stderr } = runChild(`${prelude()}
      const budget = add({ name: 'process' });
      runtime.allocate(100).dispose();
      refuse(budget);
      ${end}
    `);
    expect({ status, stderr }).toEqual({ status: code, stderr: line });
  });

  test('leaves what the runtime frees at exit to its report', () => {
    const { stderr } = runChild(`${prelude()}
      add({ name: 'process' });
      globalThis.kept = runtime.allocate(100);
    `);
    expect(stderr).toMatch(/^stowage: 1 block, .* was live at exit and is freed now\n$/);
  });

  test('names a reservation that is still held', () => {
    const { stderr } = runChild(`${prelude()}
      globalThis.kept = add({ name: 'process' }).reserve(1 * MiB);
    `);
    expect(stderr).toContain('"reservation" still holds 1048576 bytes (1.00 MiB)\n');
  });

  test('reports nothing when the budget was disposed, and when told not to; a sink of its own gets the line', () => {
    const { stdout, stderr } = runChild(`${prelude()}
      refuse(add({ exitReport: false }));
      const other = new MemoryRuntime(new CpuDevice());
      const ended = new MemoryBudget({ limit: MiB, watchV8: false });
      ended.add(other);
      fails(() => other.allocate(2 * MiB));
      ended.dispose();
      const sunk = new MemoryBudget({ limit: MiB, watchV8: false, exitReport: { write: (text) => console.log(text.slice(0, 24)) } });
      sunk.add(other);
      fails(() => other.allocate(2 * MiB));
    `);
    expect({ stdout, stderr }).toEqual({ stdout: 'stowage: budget "budget"\n', stderr: '' });
  });
});
