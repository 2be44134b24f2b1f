import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { MemoryBudget, MemoryRuntime, MiB } from '../../src/index.js';
import { publishBudgets } from '../../src/otel/index.js';
import { useOwnBudgets } from '../fixtures/own-budgets.js';
import { collect, points, provider, useExportedMetrics } from './exported-metrics.js';

let device: SimulatedDevice;
let runtime: MemoryRuntime;
let budget: MemoryBudget;

useOwnBudgets();
useExportedMetrics();
beforeEach(() => {
  device = new SimulatedDevice();
  runtime = new MemoryRuntime(device);
  budget = new MemoryBudget({ limit: 64 * MiB, name: 'card', memory: device, exitReport: false });
  budget.add(runtime, { name: 'buffers' });
});
afterEach(() => {
  budget.dispose();
  runtime.close();
});

describe('publishBudgets', () => {
  test('publishes what budgets, members and tenants hold', async () => {
    using _published = publishBudgets({ meter: provider.getMeter('test'), attributes: { service: 'mine' } });
    budget.tenant('alice', { limit: 8 * MiB });
    runtime.allocate(3 * MiB, { tag: 'alice' });
    expect(() => runtime.allocate(100 * MiB)).toThrow('out of memory');
    const found = await collect();
    const named = { service: 'mine', budget: 'card', memory: 'simulated 0' };
    const { usedBytes } = budget;
    expect(points(found.get('stowage.budget.limit'))).toEqual([{ ...named, value: 64 * MiB }]);
    expect(points(found.get('stowage.budget.used'))).toEqual([{ ...named, value: usedBytes }]);
    expect(points(found.get('stowage.budget.refusals'))).toEqual([{ ...named, value: 1 }]);
    expect(points(found.get('stowage.budget.member.held'))).toEqual([
      { ...named, member: 'buffers', kind: 'memory', value: usedBytes },
    ]);
    expect(points(found.get('stowage.budget.tenant.live'))).toEqual([{ ...named, tenant: 'alice', value: 3 * MiB }]);
    expect(found.get('stowage.budget.reclaimed')?.descriptor.unit).toBe('By');
    expect([...found.keys()].sort()).toEqual(
      [
        ...['limit', 'used', 'peak', 'refusals', 'overshoots', 'reclaims', 'reclaimed'],
        ...['member.held', 'member.cached', 'tenant.live', 'tenant.limit'],
      ]
        .map((name) => `stowage.budget.${name}`)
        .sort(),
    );
  });

  test('tells nothing of a limit that is not there', async () => {
    using free = new MemoryBudget({ limit: Number.POSITIVE_INFINITY, name: 'free', memory: device });
    using _published = publishBudgets({ meter: provider.getMeter('test') });
    const found = await collect();
    expect(points(found.get('stowage.budget.limit'))).toMatchObject([{ budget: 'card' }]);
    expect(points(found.get('stowage.budget.used'))).toMatchObject([{ budget: 'card' }, { budget: free.name }]);
  });

  test('observes nothing any more once it is disposed, twice as well', async () => {
    const published = publishBudgets({ meter: provider.getMeter('test') });
    published.dispose();
    published[Symbol.dispose]();
    expect((await collect()).size).toBe(0);
  });
});
