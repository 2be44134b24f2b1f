import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { koffi } from '../../adapters/ffi/koffi.js';
import { CAllocatorHost } from '../../adapters/hosts/c-allocator/index.js';
import { CachingMemoryManager } from '../../managers/index.js';
import { MemoryBudget } from '../../src/budget/index.js';
import { MemoryError, MiB } from '../../src/core/index.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { codeOf } from '../fixtures/code-of.js';
import { expectSum, heldBy } from './budgets.js';

describe('CAllocatorHost in a budget', () => {
  let budget: MemoryBudget;
  let host: CAllocatorHost;

  beforeEach(() => {
    budget = new MemoryBudget({ limit: 64 * MiB, watchV8: false });
    host = new CAllocatorHost({ createDefaultManager: (count, table) => new CachingMemoryManager(count, table) });
    budget.add(host, { name: 'library' });
  });

  afterEach(() => {
    expectSum(budget);
    host.dispose();
    expect([budget.usedBytes, budget.report().members]).toEqual([0, []]);
    budget.dispose();
  });

  const malloc = (bytes: number) => {
    const proto = koffi().proto('uintptr_t', ['size_t']);
    return host.call(() => koffi().call(BigInt(host.functions.malloc), proto, bytes) as number);
  };
  const free = (ptr: number) => {
    const proto = koffi().proto('void', ['uintptr_t']);
    host.call(() => koffi().call(BigInt(host.functions.free), proto, ptr));
  };

  test('tells C that there is none, and JavaScript what the budget said', () => {
    const ptr = malloc(100);
    expect(heldBy(budget, 'library')).toBe(2 * MiB);
    let error: unknown;
    try {
      expect(malloc(70 * MiB)).toBe(0);
      error = host.lastError;
    } catch (thrown) {
      error = thrown;
    }
    expect(MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY') && error.facts.budget).toMatchObject({
      name: 'budget',
      asking: 'library',
      limitBytes: 64 * MiB,
    });
    free(ptr);
  });

  test('gives way with what it caches when another member needs it, and the other way round', () => {
    using runtime = new MemoryRuntime(new CpuDevice(), {
      exitReport: false,
      createDefaultManager: (count, table) => new CachingMemoryManager(count, table),
    });
    budget.add(runtime, { name: 'buffers' });
    free(malloc(30 * MiB - 64));
    expect(heldBy(budget, 'library')).toBe(30 * MiB);
    runtime.allocate(40 * MiB).dispose();
    expect(heldBy(budget, 'library')).toBe(0);
    expect(codeOf(() => runtime.allocate(70 * MiB))).toBe('ERR_MEM_OUT_OF_MEMORY');
    runtime.allocate(40 * MiB).dispose();
    const ptr = malloc(50 * MiB - 64);
    expect(ptr).toBeGreaterThan(0);
    expect(heldBy(budget, 'buffers')).toBe(0);
    free(ptr);
  });
});
