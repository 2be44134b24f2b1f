import { describe, expect, test } from 'vitest';
import type { LiveBudget, LiveSample } from '../../../src/report/live/live-data.js';
import { happenedAt } from '../../../src/report/page/budget-happenings.js';

describe('happenedAt', () => {
  const samples = [0, 100, 200, 300].map((ms) => ({ ms, budgets: {} })) as unknown as readonly LiveSample[];
  const reclaim = { ms: 151, asking: 'a', from: 'b', step: 'caches', wantedBytes: 1, freedBytes: 1 };
  const budget = { id: 1, reclaims: [reclaim] } as unknown as LiveBudget;
  const tellingSamples = (nearMs: number) =>
    samples.flatMap(({ ms }, at) => (happenedAt(samples, budget, at, nearMs).includes('b gave') ? [ms] : []));

  test('tells of a reclaim at the nearest sample, however far apart samples are', () => {
    expect(tellingSamples(1)).toEqual([200]);
  });

  test('tells of it at all samples that are near', () => {
    expect(tellingSamples(60)).toEqual([100, 200]);
  });
});
