import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { beforeAll, describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/core/units.js';
import { MallocAllocator } from '../../src/shared/allocators/malloc-allocator.js';
import type { PageAllocator } from '../../src/shared/allocators/page-allocator.js';
import { DEFAULT_MEM_CONTEXT as CTX, type OffsetPointer } from '../../src/shared/allocators/shared-allocator.js';
import { MemoryRegistry } from '../../src/shared/memory-registry.js';
import { SharedAllocation, type SharedAllocationToken } from '../../src/shared/shared-allocation.js';
import { memoryError } from '../core/fakes.js';
import { compiled, moduleUrl } from '../fixtures/compiled.js';
import { expectNothingLeft, freshName } from './names.js';
import { bufferRegion, FakeThreads, ID, PAGE_ALLOCATORS } from './regions.js';

expectNothingLeft();

describe.each(PAGE_ALLOCATORS.map((type) => [type.name, type] as const))('SharedAllocation in a %s', (_, Type) => {
  const make = (bytes = MiB) => {
    const threads = new FakeThreads();
    const region = bufferRegion(bytes);
    const allocator = Type.shmInit(region, { id: ID, watch: threads.watch(1) });
    const other = Type.shmDeserialize(region, { watch: threads.watch(2) });
    return { region, allocator, other, threads, here: lookup(allocator), there: lookup(other) };
  };
  const lookup = (allocator: PageAllocator) => ({ getAllocator: () => allocator });

  describe('attach', () => {
    test('shows the same bytes, and the last one to dispose frees the block', () => {
      const { allocator, other, there } = make();
      const mine = SharedAllocation.allocate(allocator, 1000);
      mine.view(Float64Array, 8, 3).set([1, 2, 3]);
      const token = structuredClone(mine.token());
      const theirs = SharedAllocation.attach(token, there);
      expect([...theirs.view(Float64Array, 8, 3)]).toEqual([1, 2, 3]);
      expect([mine.references, theirs.references, theirs.bytes]).toEqual([2, 2, 1000]);
      mine.dispose();
      mine.dispose();
      expect(theirs.references).toBe(1);
      expect(allocator.sizeOf(theirs.offset)).toBeGreaterThan(0);
      theirs.dispose();
      expect(allocator.sizeOf(theirs.offset)).toBe(0);
      for (const one of [allocator, other]) one.checkInvariants();
    });

    test('throws for a token whose block was freed, also when the place is in use again', () => {
      const { allocator, there } = make();
      // Too large for a cache, so that the place is the next to be used.
      const first = SharedAllocation.allocate(allocator, 40_000);
      const token = first.token();
      first.dispose();
      const stale = memoryError('ERR_MEM_STALE_TOKEN', { offset: token.offset, generation: token.generation });
      expect(() => SharedAllocation.attach(token, there)).toThrow(stale);
      const again = SharedAllocation.allocate(allocator, 40_000);
      expect(again.offset).toBe(first.offset);
      expect(again.token().generation).not.toBe(token.generation);
      expect(() => SharedAllocation.attach(token, there)).toThrow(stale);
      expect(again.references).toBe(1);
    });

    test('throws for what is no token, and leaves no reference for one that claims too many bytes', () => {
      const { allocator, there } = make();
      const mine = SharedAllocation.allocate(allocator, 100);
      const good = mine.token();
      const bad = [
        null,
        {},
        { ...good, offset: 'x' },
        { ...good, bytes: -1 },
        { ...good, generation: 0.5 },
        { ...good, allocator: null },
      ];
      for (const token of bad) {
        expect(() => SharedAllocation.attach(token as SharedAllocationToken, there)).toThrow(
          memoryError('ERR_MEM_INVALID_ARGUMENT'),
        );
      }
      for (const offset of [0, good.offset + 1, good.offset + 32, -1, 2 ** 50]) {
        expect(() => SharedAllocation.attach({ ...good, offset }, there)).toThrow(memoryError('ERR_MEM_STALE_TOKEN'));
      }
      expect(() => SharedAllocation.attach({ ...good, bytes: MiB }, there)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
      expect(mine.references).toBe(1);
    });

    test('changes nothing when there is no room for a reference', () => {
      const { allocator, other, there } = make(64 * KiB);
      const mine = SharedAllocation.allocate(allocator, 100);
      expect(() => {
        for (;;) allocator.allocateOffset(CTX, 64);
      }).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      expect(() => SharedAllocation.attach(mine.token(), there)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      expect(mine.references).toBe(1);
      other.checkInvariants();
    });
  });

  describe('handOver', () => {
    test('takes the reference along: one thread can attach it', () => {
      const { allocator, here, there } = make();
      const mine = SharedAllocation.allocate(allocator, 100);
      const { offset } = mine;
      const token = mine.handOver();
      expect(mine.disposed).toBe(true);
      expect(allocator.sizeOf(offset)).toBe(128);
      const theirs = SharedAllocation.attach(token, there);
      expect(theirs.references).toBe(1);
      expect(() => SharedAllocation.attach(token, here)).toThrow(memoryError('ERR_MEM_STALE_TOKEN'));
      theirs.dispose();
      expect(allocator.sizeOf(offset)).toBe(0);
      expect(() => SharedAllocation.attach(token, here)).toThrow(memoryError('ERR_MEM_STALE_TOKEN'));
    });
  });

  describe('reclaim', () => {
    test('drops the references of a dead process, and spares blocks that others count', () => {
      const { allocator, other, threads, here, there } = make();
      const mine = SharedAllocation.allocate(allocator, 100);
      SharedAllocation.attach(mine.token(), there);
      const theirs = SharedAllocation.allocate(other, 5000);
      const kept = SharedAllocation.attach(theirs.token(), here);
      const lost = other.allocateOffset(CTX, 3000);
      SharedAllocation.allocate(other, 200).handOver();
      expect(() => allocator.reclaim(2)).toThrow(memoryError('ERR_MEM_OWNER_ALIVE', { pid: 2 }));
      threads.kill(2);
      expect(allocator.reclaim(2)).toBeGreaterThanOrEqual(3000 + 200);
      expect([mine.references, kept.references, allocator.sizeOf(lost)]).toEqual([1, 1, 0]);
      expect(allocator.reclaim(2)).toBe(0);
      mine.dispose();
      kept.dispose();
      allocator.checkInvariants();
      allocator.detach();
      expect(Type.shmDeserialize(other.region, { watch: threads.watch(3) }).allocatedBytes).toBe(0);
    });
  });

  describe('share', () => {
    test('turns a block of one’s own into a counted one that its offset does not free', () => {
      const { allocator, other } = make();
      const offset = allocator.allocateOffset(CTX, 300);
      const shared = SharedAllocation.share(allocator, offset, 300);
      const refusal = memoryError('ERR_MEM_STILL_SHARED', { offset, references: 1 });
      for (const one of [allocator, other]) expect(() => one.freeOffset(CTX, offset)).toThrow(refusal);
      expect(() => allocator.reallocateOffset(CTX, offset, 5000)).toThrow(refusal);
      shared.dispose();
      expect(() => SharedAllocation.share(allocator, offset)).toThrow(/already free|no manager/);
      expect(() => SharedAllocation.share(allocator, 5 as OffsetPointer)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
    });

    test('is refused where an allocator cannot share', () => {
      const allocator = MallocAllocator.shmInit(undefined, { id: ID });
      expect(() => SharedAllocation.allocate(allocator, 8)).toThrow(memoryError('ERR_MEM_UNSUPPORTED_PLATFORM'));
    });
  });

  test('throws for everything after dispose, and for views beyond the block', () => {
    const { allocator } = make();
    const mine = SharedAllocation.allocate(allocator, 100);
    expect(() => mine.view(Uint8Array, 50, 51)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
    expect(() => mine.view(Uint8Array, -1)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
    expect(() => mine.view(Float64Array, 4, 1)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    expect(mine.view(Uint8Array, 100).length).toBe(0);
    mine.dispose();
    for (const use of [
      () => mine.ptr,
      () => mine.references,
      () => mine.view(Uint8Array),
      () => mine.token(),
      () => mine.handOver(),
    ]) {
      expect(use).toThrow(memoryError('ERR_MEM_DISPOSED'));
    }
  });
});

describe('a token', () => {
  let folder = '';
  beforeAll(() => {
    compiled();
  }, 120_000);

  test('travels to a worker and to a child process, which free what is handed over', async () => {
    folder = mkdtempSync(join(tmpdir(), 'stowage-token-'));
    const file = join(folder, 'peer.mjs');
    writeFileSync(
      file,
      `import { parentPort } from 'node:worker_threads';
       import { memoryRegistry } from '${moduleUrl('src/shared/memory-registry.js')}';
       import { SharedAllocation } from '${moduleUrl('src/shared/shared-allocation.js')}';
       const answer = (value) => parentPort ? parentPort.postMessage(value) : process.send(value);
       const once = (port) => new Promise((resolve) => port.once('message', resolve));
       const { url, token } = await once(parentPort ?? process);
       memoryRegistry().attachBackend(url);
       const block = SharedAllocation.attach(token);
       const numbers = block.view(Int32Array);
       const sum = numbers.reduce((a, b) => a + b, 0);
       numbers[0] = 77;
       block.dispose();
       memoryRegistry().unregisterAllocator(token.allocator);
       answer(sum);
       if (!parentPort) process.disconnect();`,
    );
    const registry = new MemoryRegistry();
    try {
      const { url } = registry.createBackend('posix-shm', 1, MiB, freshName());
      const allocator = registry.createAllocator('thread-local', 1, { major: 4, minor: 2 });
      for (const kind of ['worker', 'process']) {
        for (const way of ['token', 'handOver'] as const) {
          const block = SharedAllocation.allocate(allocator, 40);
          const { offset } = block;
          const numbers = block.view(Int32Array);
          numbers.set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
          const peer = kind === 'worker' ? new Worker(file) : fork(file);
          const ended = once(peer, 'exit');
          const message = { url, token: block[way]() };
          if (peer instanceof Worker) peer.postMessage(message);
          else peer.send(message);
          expect((await once(peer, 'message'))[0]).toBe(55);
          await ended;
          if (way === 'token') {
            expect([numbers[0], block.references]).toEqual([77, 1]);
            block.dispose();
          }
          expect(allocator.sizeOf(offset)).toBe(0);
        }
      }
      allocator.checkInvariants();
    } finally {
      registry.destroyBackend(1);
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
