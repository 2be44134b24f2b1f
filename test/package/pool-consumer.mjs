// A consumer's own test: run under each pool of vitest, several files after each other in the same process where the pool does so.

import { defaultRuntime, MemoryError, MemoryRuntime, MiB } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { PoolMemoryManager, TrackingMemoryManager } from 'stowage/managers';
import { afterEach, expect, test } from 'vitest';

afterEach(() => expect(defaultRuntime().stats()?.allocatedBytes.current ?? 0).toBe(0));

test('allocates, looks at the memory and gives it back', () => {
  const block = defaultRuntime().allocate(1 * MiB, { zero: true });
  const floats = block.view(Float32Array);
  floats[0] = 42;
  expect(floats).toBeInstanceOf(Float32Array);
  expect(floats.subarray(0, 2)).toEqual(new Float32Array([42, 0]));
  block.dispose();
  expect(() => block.view(Float32Array)).toThrow(MemoryError);
});

test('gets errors that its own copy of the package knows', () => {
  const error = (() => {
    try {
      return defaultRuntime().allocate(-1);
    } catch (refused) {
      return refused;
    }
  })();
  expect(error).toBeInstanceOf(MemoryError);
  expect(MemoryError.is(error, 'ERR_MEM_INVALID_SIZE')).toBe(true);
});

test('finds a leak in memory of its own manager, and ends without one', async () => {
  const runtime = new MemoryRuntime(new CpuDevice());
  let tracking;
  const installed = runtime.use((deviceCount, table) => {
    tracking = new TrackingMemoryManager(new PoolMemoryManager(deviceCount, table));
    return tracking;
  });
  const block = await runtime.allocateAsync(3 * MiB);
  expect(tracking.leakReport()).toMatchObject({ blocks: 1, bytes: 3 * MiB });
  block.dispose();
  expect(tracking.leakReport()).toMatchObject({ blocks: 0, bytes: 0 });
  installed.dispose();
  runtime.dispose();
});
