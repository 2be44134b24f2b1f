import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { KiB, MemoryBudget, MemoryRuntime, MiB } from '../../src/index.js';
import { BudgetSampler } from '../../src/report/live/budget-sampler.js';
import { LiveSampler } from '../../src/report/live/live-sampler.js';
import { prometheusMetrics } from '../../src/report/live/prometheus.js';
import { useOwnBudgets } from '../fixtures/own-budgets.js';
import { parsePrometheus } from './prometheus-parser.js';

const NAME = 'quote " backslash \\ line\nend';

let device: SimulatedDevice;
let runtime: MemoryRuntime;
let budget: MemoryBudget;
const made: MemoryBudget[] = [];

useOwnBudgets();
beforeEach(() => {
  device = new SimulatedDevice();
  runtime = new MemoryRuntime(device);
  budget = budgetOf(NAME, 64 * MiB);
  budget.add(runtime, { name: NAME });
});
afterEach(() => {
  for (const one of made.splice(0)) one.dispose();
  runtime.close();
});

function budgetOf(name: string, limit: number): MemoryBudget {
  const one = new MemoryBudget({ limit, name, memory: device, exitReport: false });
  made.push(one);
  return one;
}

/** Has a request refused that nothing makes room for, but for what is cached. */
function refuse(): void {
  using _ahead = budget.reserve(3 * MiB);
  expect(() => runtime.allocate(62 * MiB)).toThrow(expect.objectContaining({ code: 'ERR_MEM_OUT_OF_MEMORY' }));
}

describe('prometheusMetrics', () => {
  const samples = () => parsePrometheus(prometheusMetrics(runtime)).filter(({ name }) => name.startsWith('stowage_budget'));

  test('has nothing of budgets where there are none', () => {
    budget.dispose();
    expect(prometheusMetrics(runtime)).not.toContain('budget');
  });

  test('gives what budgets, members and tenants hold, under names that need escapes', () => {
    budget.tenant(NAME, { limit: 8 * MiB });
    const block = runtime.allocate(3 * MiB, { tag: NAME });
    runtime.allocate(30 * MiB).dispose();
    refuse();
    const { usedBytes, peakBytes, reclaimedBytes, reclaimCount } = budget.report();
    expect(reclaimedBytes).toBeGreaterThan(0);
    const labels = { budget: NAME, memory: 'simulated 0' };
    const member = { ...labels, member: NAME, kind: 'memory' };
    const tenant = { ...labels, tenant: NAME };
    const cached = runtime.slot.active?.stats(0)?.cachedBytes.current;
    expect(samples()).toEqual([
      { name: 'stowage_budget_limit_bytes', labels, value: 64 * MiB },
      { name: 'stowage_budget_used_bytes', labels, value: usedBytes },
      { name: 'stowage_budget_peak_bytes', labels, value: peakBytes },
      { name: 'stowage_budget_refusals_total', labels, value: 1 },
      { name: 'stowage_budget_overshoots_total', labels, value: 0 },
      { name: 'stowage_budget_reclaims_total', labels, value: reclaimCount },
      { name: 'stowage_budget_reclaimed_bytes_total', labels, value: reclaimedBytes },
      { name: 'stowage_budget_member_held_bytes', labels: member, value: usedBytes },
      { name: 'stowage_budget_member_cached_bytes', labels: member, value: cached },
      { name: 'stowage_budget_tenant_live_bytes', labels: tenant, value: 3 * MiB },
      { name: 'stowage_budget_tenant_limit_bytes', labels: tenant, value: 8 * MiB },
    ]);
    block.dispose();
  });

  test('tells budgets of one name apart, and gives infinity for no limit', () => {
    budgetOf(NAME, Number.POSITIVE_INFINITY);
    const limits = samples().filter(({ name }) => name === 'stowage_budget_limit_bytes');
    expect(limits.map(({ labels, value }) => [labels['budget'], value])).toEqual([
      [NAME, 64 * MiB],
      [`${NAME} #2`, Number.NaN],
    ]);
    expect(prometheusMetrics(runtime)).toMatch(/^stowage_budget_limit_bytes\{.*#2".*\} \+Inf$/m);
  });
});

describe('BudgetSampler', () => {
  describe('read', () => {
    test('gives what is held by member, and the counters', () => {
      const sampler = new BudgetSampler();
      using _block = runtime.allocate(3 * MiB);
      refuse();
      const { usedBytes } = budget;
      expect(sampler.read(0)).toEqual({
        0: { limitBytes: 64 * MiB, usedBytes, refusals: 1, overshoots: 0, held: { 0: usedBytes } },
      });
      const [shown] = sampler.budgets().shown;
      expect(shown).toMatchObject({ name: NAME, memory: 'simulated 0', hasEnded: false, names: { 0: NAME }, refusals: 1 });
      expect(shown?.members).toMatchObject([{ id: 0, name: NAME, heldBytes: usedBytes }]);
    });

    test('gives null for no limit, of a budget and of a tenant', () => {
      budgetOf('free', Number.POSITIVE_INFINITY).tenant('alice');
      const sampler = new BudgetSampler();
      expect(sampler.read(0)[1]?.limitBytes).toBeNull();
      expect(sampler.budgets().shown[1]).toMatchObject({ limitBytes: null, tenants: [{ name: 'alice', limitBytes: null }] });
    });

    test('knows a reclaim by when it was since the dashboard began; one before that has no time', () => {
      const sampler = new BudgetSampler();
      runtime.allocate(30 * MiB).dispose();
      refuse();
      // The dashboard begins a moment after now.
      sampler.read(-1000);
      expect(sampler.budgets().shown[0]?.reclaims.map(({ ms }) => ms)).toEqual([null]);
      runtime.allocate(30 * MiB).dispose();
      refuse();
      sampler.read(1000);
      sampler.read(1010);
      const { reclaims, reclaimCount } = sampler.budgets().shown[0]!;
      expect(reclaims).toHaveLength(reclaimCount);
      const { ms, ...reclaim } = reclaims.at(-1)!;
      expect(ms).toBeGreaterThanOrEqual(0);
      expect(ms).toBeLessThanOrEqual(1000);
      expect(reclaim).toMatchObject({ asking: NAME, from: NAME, step: 'own cache' });
    });

    test('shows the last four budgets that ended', () => {
      const sampler = new BudgetSampler();
      for (let n = 0; n < 20; n++) {
        const one = budgetOf(`job ${n}`, MiB);
        sampler.read(n);
        one.dispose();
      }
      sampler.read(20);
      const { shown, count } = sampler.budgets();
      expect(shown.map(({ name, hasEnded }) => [name, hasEnded])).toEqual([
        [NAME, false],
        ...[16, 17, 18, 19].map((n) => [`job ${n}`, true]),
      ]);
      expect(count).toBe(1);
    });

    test('shows 16 budgets of very many, and says how many there are', () => {
      for (let n = 0; n < 30; n++) budgetOf(`one of many ${n}`, MiB);
      const sampler = new BudgetSampler();
      expect(Object.keys(sampler.read(0))).toHaveLength(16);
      expect(sampler.budgets().shown).toHaveLength(16);
      expect(sampler.budgets().count).toBe(31);
    });

    test('keeps a bounded part of very many members, tenants and reclaims', () => {
      for (let n = 0; n < 150; n++) {
        budget.tenant(`tenant ${n}`);
        budget.watch(`cache ${n}`, () => KiB * (1 + n));
      }
      budget.refresh();
      const sampler = new BudgetSampler();
      for (let n = 0; n < 140; n++) {
        const reservation = Array.from({ length: 3 }, (_, i) => budget.addSegment({ url: `shm:${n}-${i}`, bytes: MiB }));
        const held = sampler.read(n)[0]?.held ?? {};
        expect(Object.keys(held)).toHaveLength(12);
        for (const one of reservation) one.dispose();
        runtime.allocate(20 * MiB).dispose();
        refuse();
      }
      const shown = sampler.budgets().shown[0]!;
      expect(Object.keys(shown.names).length).toBeLessThanOrEqual(32);
      expect([shown.members.length, shown.tenants.length]).toEqual([100, 100]);
      // The runtime, what is watched, and the last segments.
      expect([shown.memberCount, shown.tenantCount]).toEqual([154, 150]);
      expect(shown.reclaimCount).toBeGreaterThan(128);
      expect(shown.reclaims).toHaveLength(128);
    });
  });
});

describe('LiveSampler', () => {
  describe('take', () => {
    test('has what budgets held in each sample, and their tables as often as the map', () => {
      const sampler = new LiveSampler(runtime);
      const updates = Array.from({ length: 5 }, () => sampler.take(true));
      expect(updates.map(({ sample }) => Object.keys(sample.budgets))).toEqual(Array.from({ length: 5 }, () => ['0']));
      expect(updates.map(({ budgets }) => budgets !== null)).toEqual([true, false, false, false, true]);
      expect(sampler.hello().budgets).toEqual(updates[4]?.budgets);
      sampler.stop();
    });

    test('has none without budgets', () => {
      budget.dispose();
      const sampler = new LiveSampler(runtime);
      expect(sampler.take(true)).toMatchObject({ sample: { budgets: {} }, budgets: { count: 0, shown: [] } });
      sampler.stop();
    });
  });
});
