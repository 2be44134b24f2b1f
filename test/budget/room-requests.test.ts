import { describe, expect, test } from 'vitest';
import '../../src/index.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import type { BudgetLedger } from '../../src/budget/budget-ledger.js';
import { MemoryBudget } from '../../src/budget/memory-budget.js';
import { KiB, MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { moduleUrl, runChild } from '../fixtures/compiled.js';

const LIMIT = 64 * MiB;

/** A ledger whose other members hold what a test says, and which notes what is asked of them. */
class FakeLedger implements BudgetLedger {
  readonly disposed = false;
  limitBytes = LIMIT;
  ownBytes = 0;
  othersBytes = 0;
  readonly wanted: number[] = [];
  changes = 0;
  /** What happens while this isolate waits, by how often it has waited. */
  whileWaiting: (changes: number) => void = () => undefined;

  get usedBytes(): number {
    return this.ownBytes + this.othersBytes;
  }
  take(bytes: number): boolean {
    if (this.usedBytes + bytes > this.limitBytes) return false;
    this.ownBytes += bytes;
    return true;
  }
  force(bytes: number): void {
    this.ownBytes += bytes;
  }
  give(bytes: number): void {
    this.ownBytes -= bytes;
  }
  want(bytes: number): void {
    this.wanted.push(bytes);
  }
  async changed(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.whileWaiting(++this.changes);
  }
  readonly wantedHere = (): number => 0;
  readonly publishCached = (): void => undefined;
  readonly attachSegment = (): boolean => true;
  readonly detachSegment = (): void => undefined;
  readonly returnDead = (): number => 0;
  readonly members = () => [];
  readonly setLimit = (): void => undefined;
  readonly dispose = (): void => undefined;
  readonly [Symbol.dispose] = (): void => undefined;
}

function shared(othersBytes: number) {
  const ledger = new FakeLedger();
  ledger.othersBytes = othersBytes;
  const device = new SimulatedDevice({ capacityBytes: LIMIT });
  const runtime = new MemoryRuntime(device, { collectDropped: false });
  const budget = new MemoryBudget({ memory: device, limit: LIMIT, ledger });
  budget.add(runtime, { name: 'buffers' });
  return { ledger, runtime, budget };
}

describe('RoomRequests', () => {
  test('allocateAsync waits for others until there is room, also when they change something else before', async () => {
    const { ledger, runtime, budget } = shared(60 * MiB);
    ledger.whileWaiting = (changes) => {
      if (changes === 3) ledger.othersBytes = 20 * MiB;
    };
    const block = await runtime.allocateAsync(30 * MiB);
    expect([ledger.changes, ledger.ownBytes]).toEqual([3, 30 * MiB]);
    expect(ledger.wanted[0]).toBe(26 * MiB); // what is missing
    expect(ledger.wanted.at(-1)).toBe(0);
    block.dispose();
    budget.dispose();
    runtime.close();
  });

  test('allocateAsync is refused when others give nothing, and asks for nothing afterwards', async () => {
    const { ledger, runtime, budget } = shared(60 * MiB);
    await expect(runtime.allocateAsync(30 * MiB)).rejects.toThrow(expect.objectContaining({ code: 'ERR_MEM_OUT_OF_MEMORY' }));
    await new Promise((resolve) => setTimeout(resolve, 300));
    budget.refresh();
    expect(ledger.wanted.at(-1)).toBe(0);
    budget.dispose();
    runtime.close();
  });

  test('others are asked no longer when as much was granted, and still after a smaller request', () => {
    const { ledger, runtime, budget } = shared(60 * MiB);
    expect(() => runtime.allocate(30 * MiB)).toThrow();
    const small = runtime.allocate(4 * KiB);
    expect(ledger.wanted.at(-1)).toBe(26 * MiB);
    ledger.othersBytes = 0;
    const block = runtime.allocate(30 * MiB);
    expect(ledger.wanted.at(-1)).toBe(0);
    for (const handle of [small, block]) handle.dispose();
    budget.dispose();
    runtime.close();
  });

  test.each([
    ['allocateAsync', 'runtime.allocateAsync(50 * MiB)', 'ERR_MEM_OUT_OF_MEMORY'],
    ['reserveAsync', 'budget.reserveAsync(50 * MiB, { signal: AbortSignal.timeout(300) })', 'TimeoutError'],
  ])('a process that has nothing else to do lives while %s waits for others', (_, request, answer) => {
    const { stdout, stderr } = runChild(`
      import { MemoryBudget, MemoryRuntime, MiB } from '${moduleUrl('src/index.js')}';
      import { SharedLedger } from '${moduleUrl('src/shared/index.js')}';
      import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
      const member = { name: 'm', priority: 0, minimumBytes: 0 };
      const ledger = SharedLedger.create({ limitBytes: 100 * MiB }, member);
      SharedLedger.open(ledger.token, member).take(90 * MiB);
      const budget = new MemoryBudget({ ledger, watchV8: false });
      const runtime = new MemoryRuntime(new CpuDevice());
      budget.add(runtime);
      ${request}.catch((error) => process.stdout.write(error.code === 23 ? error.name : error.code));
    `);
    expect(stdout, stderr).toBe(answer);
  });
});
