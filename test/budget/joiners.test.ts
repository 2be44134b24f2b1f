import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CachingMemoryManager, TlsfMemoryManager } from '../../managers/index.js';
import { MemoryBudget } from '../../src/budget/index.js';
import { MiB } from '../../src/core/units.js';
import '../../src/defaults.js';
import { BackendBufferType, ModelLoader, TensorPool } from '../../src/model/index.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { PosixShmBackend, SharedLedger } from '../../src/shared/index.js';
import { safetensorsBytes } from '../fixtures/safetensors-bytes.js';
import { freshName } from '../shared/names.js';
import { budgetOfTest, refusalAsync, refusalOf } from './budgets.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-joiners-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A runtime in a budget of so many bytes. */
function limited(limit: number): { runtime: MemoryRuntime; budget: MemoryBudget } {
  const runtime = new MemoryRuntime(new CpuDevice(), { exitReport: false });
  const budget = budgetOfTest({ limit, watchV8: false, exitReport: false });
  budget.add(runtime, { name: 'models' });
  return { runtime, budget };
}

describe('MemoryBudget', () => {
  describe('with less room than a segment', () => {
    test.each([
      ['caching', CachingMemoryManager],
      ['tlsf', TlsfMemoryManager],
    ])('lets %s have segments of what its blocks need, up to the last bytes of the limit', (_, Manager) => {
      const runtime = new MemoryRuntime(new CpuDevice(), {
        exitReport: false,
        createDefaultManager: (deviceCount, table) => new Manager(deviceCount, table),
      });
      using budget = new MemoryBudget({ limit: 16 * MiB, watchV8: false, exitReport: false });
      budget.add(runtime);
      // A segment of 20 MiB is asked for first.
      const blocks = Array.from({ length: 8 }, () => runtime.allocate(2 * MiB - 4096));
      expect(budget.usedBytes).toBe(16 * MiB);
      expect(refusalOf(() => runtime.allocate(MiB))).toMatchObject({ usedBytes: 16 * MiB });
      expect(runtime.stats()).toMatchObject({ ooms: 1 });
      for (const block of blocks) block.dispose();
      runtime.close();
    });
  });

  describe('over tensors and models', () => {
    test('charges tensors of a pool, and refuses one that does not fit', () => {
      const { runtime, budget } = limited(16 * MiB);
      const pool = new TensorPool(runtime);
      using weights = pool.allocate('f32', [MiB]);
      expect(budget.usedBytes).toBeGreaterThanOrEqual(4 * MiB);
      expect(weights.bytes).toBe(4 * MiB);
      expect(refusalOf(() => pool.allocate('f32', [8 * MiB]))).toMatchObject({ asking: 'models', limitBytes: 16 * MiB });
      runtime.close();
      expect(budget.usedBytes).toBe(0);
    });

    test('charges buffers of a backend', () => {
      const { runtime, budget } = limited(16 * MiB);
      const buffers = new BackendBufferType(runtime);
      using _buffer = buffers.allocBuffer(10 * MiB);
      expect(budget.usedBytes).toBeGreaterThanOrEqual(10 * MiB);
      expect(refusalOf(() => buffers.allocBuffer(10 * MiB))).toMatchObject({ asking: 'models' });
      runtime.close();
    });

    test('charges what a model loader loads, by its tenant too, and leaves nothing of a model that does not fit', async () => {
      const path = join(folder, 'model.safetensors');
      const bytes = 4 * MiB;
      const tensor = (start: number) => ({ dtype: 'F32', shape: [MiB], data_offsets: [start, start + bytes] });
      writeFileSync(path, safetensorsBytes({ a: tensor(0), b: tensor(bytes) }, new Uint8Array(2 * bytes)));
      const { runtime, budget } = limited(64 * MiB);
      const weights = budget.tenant('weights', { limit: 8 * MiB });
      using loader = await ModelLoader.open(path);
      const loaded = await loader.load({ runtime });
      expect(weights.liveBytes).toBe(2 * bytes);
      expect(budget.usedBytes).toBeGreaterThanOrEqual(2 * bytes);
      expect(await refusalAsync(loader.load({ runtime }))).toMatchObject({ name: 'budget/weights', asking: 'weights' });
      expect(weights.liveBytes).toBe(2 * bytes);
      loaded.dispose();
      runtime.close();
      expect([weights.liveBytes, budget.usedBytes]).toEqual([0, 0]);
    });
  });

  describe('addSegment', () => {
    test('counts a shared segment once, however many attach it, until the last of them lets go', () => {
      using backend = PosixShmBackend.create(freshName(), { id: 1, bytes: MiB });
      using again = PosixShmBackend.attach(backend.url.replace(/^shm:/, ''));
      using budget = new MemoryBudget({ limit: 2 * MiB, watchV8: false, exitReport: false });
      const first = budget.addSegment(backend);
      const second = budget.addSegment(again);
      expect(budget.usedBytes).toBe(backend.bytes);
      expect(budget.report().members).toMatchObject([{ kind: 'segment', name: backend.url, heldBytes: backend.bytes }]);
      first.dispose();
      expect(budget.usedBytes).toBe(backend.bytes);
      second.dispose();
      expect(budget.usedBytes).toBe(0);
      backend.destroy();
    });

    test('counts it once for all who share a ledger', () => {
      const member = (name: string) => ({ name, priority: 0, minimumBytes: 0 });
      using one = SharedLedger.create({ limitBytes: 4 * MiB }, member('one'));
      using two = SharedLedger.open(one.token, member('two'));
      using budget = new MemoryBudget({ ledger: one, watchV8: false, exitReport: false });
      using other = new MemoryBudget({ ledger: two, watchV8: false, exitReport: false });
      const segment = { url: 'shm:weights', bytes: 3 * MiB };
      const first = budget.addSegment(segment);
      const second = other.addSegment(segment);
      expect([one.usedBytes, two.usedBytes]).toEqual([3 * MiB, 3 * MiB]);
      expect(refusalOf(() => other.addSegment({ url: 'shm:more', bytes: 2 * MiB }))).toMatchObject({ limitBytes: 4 * MiB });
      first.dispose();
      expect(two.usedBytes).toBe(3 * MiB);
      second.dispose();
      expect(two.usedBytes).toBe(0);
    });
  });
});
