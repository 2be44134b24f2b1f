import { describe, expect, test } from 'vitest';
import { MemoryBudget } from '../../src/budget/index.js';
import { budgets } from '../../src/core/budgets.js';
import { MiB } from '../../src/core/index.js';
import { PlainManager } from '../core/fakes.js';
import { runtimeOn, simulated } from './budgets.js';
import { collectGarbage } from './collect-garbage.js';

const MADE = 12;
/** What V8's own registers and caches may keep of the last ones. */
const KEPT = 2;

/** Makes many, and tells how many are there after collections. */
async function left(make: () => object): Promise<number> {
  const refs = Array.from({ length: MADE }, () => new WeakRef(make()));
  const living = () => refs.reduce((sum, ref) => sum + (ref.deref() === undefined ? 0 : 1), 0);
  for (let i = 0; i < 10; i++) {
    await collectGarbage();
    if (living() === 0) break;
  }
  return living();
}

describe('MemoryBudget that is dropped', () => {
  test('is collected once it was disposed of, though blocks and native memory of its time live on', async () => {
    const runtime = runtimeOn(simulated(), (_, table) => new PlainManager(table));
    const blocks: object[] = [];
    const living = await left(() => {
      const budget = new MemoryBudget({ limit: 100 * MiB, memory: runtime.device });
      budget.add(runtime);
      budget.tenant('a');
      blocks.push(runtime.allocate(MiB, { tag: 'a' }), runtime.allocate(MiB));
      budget.reserve(MiB);
      budget.watch('x', () => 1);
      budget.dispose();
      return budget;
    });
    expect([living <= KEPT, blocks.length]).toEqual([true, 2 * MADE]);
    runtime.close();
  });

  test('stays registered, and keeps no runtime, slot or budget that has left', async () => {
    const before = budgets().size;
    const device = simulated();
    const budget = new MemoryBudget({ limit: 100 * MiB, memory: device });
    expect(budgets().size).toBe(before + 1);
    const runtimes = await left(() => {
      const runtime = runtimeOn(device, (_, table) => new PlainManager(table));
      budget.add(runtime);
      budget.tenant('a').dispose();
      runtime.allocate(MiB);
      runtime.close();
      return runtime;
    });
    const inner = await left(() => {
      const one = new MemoryBudget({ limit: MiB, memory: device });
      budget.add(one);
      one.dispose();
      return one;
    });
    expect([runtimes <= KEPT, inner <= KEPT]).toEqual([true, true]);
    budget.dispose();
    expect(budgets().size).toBe(before);
  });
});
