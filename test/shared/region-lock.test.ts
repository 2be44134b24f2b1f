import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { beforeAll, describe, expect, test } from 'vitest';
import { MiB } from '../../src/core/units.js';
import type { PageAllocator } from '../../src/shared/allocators/page-allocator.js';
import { ScalablePageAllocator } from '../../src/shared/allocators/page-allocator.js';
import { DEFAULT_MEM_CONTEXT as CTX, type OffsetPointer } from '../../src/shared/allocators/shared-allocator.js';
import { MemoryRegistry } from '../../src/shared/memory-registry.js';
import { Control } from '../../src/shared/pages/layout.js';
import { LIMIT_MS } from '../config/limits.js';
import { memoryError } from '../core/fakes.js';
import { compiled, moduleUrl } from '../fixtures/compiled.js';
import { inLastFrames } from '../fixtures/full-stack.js';
import { expectNothingLeft, freshName } from './names.js';
import { bufferRegion, FakeThreads, ID } from './regions.js';

expectNothingLeft();

describe('RegionLock', () => {
  const held = (lockTimeoutMs = 60) => {
    const threads = new FakeThreads();
    const region = bufferRegion(MiB);
    const owner = ScalablePageAllocator.shmInit(region, { id: ID, watch: threads.watch(1) });
    const waiter = ScalablePageAllocator.shmDeserialize(region, { watch: threads.watch(2), lockTimeoutMs });
    waiter.allocateOffset(CTX, 8);
    region.int32[Control.lock] = owner.references.holder;
    return { region, threads, owner, waiter };
  };

  test('throws with the owner’s pid when it has waited for too long, and changes nothing', () => {
    const { region, waiter } = held();
    const start = performance.now();
    expect(() => waiter.allocateOffset(CTX, 8)).toThrow(memoryError('ERR_MEM_LOCK_TIMEOUT', { ownerPid: 1 }));
    expect(performance.now() - start).toBeGreaterThan(55);
    Atomics.store(region.int32, Control.lock, 0);
    waiter.freeOffset(CTX, waiter.allocateOffset(CTX, 8));
    waiter.checkInvariants();
  });

  test('takes it from an owner that has died', () => {
    const { threads, waiter, region } = held();
    threads.kill(1);
    waiter.allocateOffset(CTX, 8);
    expect(region.int32[Control.lock]).toBe(0);
  });

  test('is free, and the region sound, where the stack has ended in an operation', () => {
    const region = bufferRegion(MiB);
    const allocator = ScalablePageAllocator.shmInit(region, { id: ID, lockTimeoutMs: 60 });
    const live: OffsetPointer[] = [];
    let ends = 0;
    for (let words = 0; words < 60; words++) {
      ends += inLastFrames(40, words, () => {
        // Room is asked for before the first write: what was allocated is told of.
        if (live.length > 20) allocator.freeOffset(CTX, live.pop()!);
        else live.push(allocator.allocateOffset(CTX, 100 + words));
      });
      expect(region.int32[Control.lock]).toBe(0);
    }
    expect(ends).toBeGreaterThan(0);
    allocator.freeOffset(CTX, allocator.allocateOffset(CTX, 5000));
    allocator.checkInvariants();
  });

  test('lets the event loop run while it waits asynchronously', async () => {
    const refusal = held().waiter.allocateOffsetAsync(CTX, 8);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await expect(refusal).rejects.toThrow(memoryError('ERR_MEM_LOCK_TIMEOUT', { ownerPid: 1 }));
    expect(turns).toBeGreaterThan(0);
    const { region, waiter } = held(LIMIT_MS);
    const served = waiter.allocateOffsetAsync(CTX, 8, 4096);
    await delay(10);
    Atomics.store(region.int32, Control.lock, 0);
    const offset = await served;
    clearInterval(timer);
    expect(waiter.sizeOf(offset)).toBe(64);
    await waiter.freeOffsetAsync(CTX, offset);
    expect(waiter.sizeOf(offset)).toBe(0);
    expect(region.int32[Control.lock]).toBe(0);
  });

  test('serves synchronous calls of the same thread between asynchronous ones', async () => {
    const { region, waiter } = held();
    Atomics.store(region.int32, Control.lock, 0);
    const offsets = Array.from({ length: 50 }, async (_, i) => {
      const offset = await waiter.allocateOffsetAsync(CTX, 100 + i);
      waiter.freeOffset(CTX, waiter.allocateOffset(CTX, 10));
      return offset;
    });
    for (const offset of await Promise.all(offsets)) waiter.freeOffset(CTX, offset);
    waiter.checkInvariants();
  });

  test('takes it asynchronously from an owner that has died', async () => {
    const { threads, waiter } = held();
    threads.kill(1);
    expect(waiter.sizeOf(await waiter.allocateOffsetAsync(CTX, 100))).toBe(128);
  });

  test('refuses a journal that is not valid, for every thread', () => {
    const { region, waiter, threads } = held();
    threads.kill(1);
    region.int32[48] = 1_000_000;
    for (let n = 0; n < 2; n++) {
      expect(() => waiter.allocateOffset(CTX, 8)).toThrow(memoryError('ERR_MEM_REGION_DAMAGED'));
      expect(region.int32[Control.lock]).toBe(0);
    }
  });
});

describe('the lock of a thread', () => {
  beforeAll(() => {
    compiled();
  }, 120_000);

  // Takes the lock as an operation does, says so, and never gives it back.
  const source = (url: string) => `
    import { parentPort } from 'node:worker_threads';
    import { MemoryRegistry } from '${moduleUrl('src/shared/memory-registry.js')}';
    const registry = new MemoryRegistry();
    const { region } = registry.attachBackend('${url}');
    const allocator = registry.getAllocator({ major: 1, minor: 1 });
    region.int32[${Control.lock}] = allocator.references.holder;
    parentPort ? parentPort.postMessage('held') : console.log('held');
    for (;;);`;

  async function withHolder(use: (allocator: PageAllocator, url: string, file: string) => Promise<void>): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), 'stowage-lock-'));
    const registry = new MemoryRegistry();
    try {
      const { url } = registry.createBackend('posix-shm', 1, MiB, freshName());
      const allocator = registry.createAllocator(
        'scalable-page',
        1,
        { major: 1, minor: 1 },
        { lockTimeoutMs: 200 },
      ) as PageAllocator;
      const file = join(folder, 'holder.mjs');
      writeFileSync(file, source(url));
      await use(allocator, url, file);
      allocator.checkInvariants();
    } finally {
      registry.destroyBackend(1);
      rmSync(folder, { recursive: true, force: true });
    }
  }

  test('goes over when its worker is terminated while the process runs on', async () => {
    await withHolder(async (allocator, _url, file) => {
      const worker = new Worker(file);
      await once(worker, 'message');
      expect(() => allocator.allocateOffset(CTX, 8)).toThrow(memoryError('ERR_MEM_LOCK_TIMEOUT', { ownerPid: process.pid }));
      await worker.terminate();
      allocator.freeOffset(CTX, allocator.allocateOffset(CTX, 8));
      expect(allocator.pids()).toEqual([process.pid, process.pid]);
      allocator.reclaim(process.pid);
      expect(allocator.pids()).toEqual([process.pid]);
    });
  });

  test('stays with a process that is stopped, and goes over when it is killed', async () => {
    await withHolder(async (allocator, _url, file) => {
      const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
      await once(child.stdout, 'data');
      child.kill('SIGSTOP');
      const error = memoryError('ERR_MEM_LOCK_TIMEOUT', { ownerPid: child.pid });
      expect(() => allocator.allocateOffset(CTX, 8)).toThrow(error);
      child.kill('SIGKILL');
      await once(child, 'close');
      allocator.freeOffset(CTX, allocator.allocateOffset(CTX, 8));
      allocator.reclaim(child.pid as number);
    });
  });
});
