import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { KiB, MiB } from '../../src/core/units.js';
import type { MallocAllocator } from '../../src/shared/allocators/malloc-allocator.js';
import { PageAllocator } from '../../src/shared/allocators/page-allocator.js';
import { DEFAULT_MEM_CONTEXT } from '../../src/shared/allocators/shared-allocator.js';
import type { ThreadLocalAllocator } from '../../src/shared/allocators/thread-local-allocator.js';
import type { BackendType } from '../../src/shared/backends/backend-header.js';
import { ArrayBackend } from '../../src/shared/backends/nameless-backends.js';
import { MemoryRegistry, memoryRegistry } from '../../src/shared/memory-registry.js';
import { SharedMemoryDevice } from '../../src/shared/shared-memory-device.js';
import { codeOf } from '../fixtures/code-of.js';
import { moduleUrl, runChild } from '../fixtures/compiled.js';
import { expectNothingLeft, freshName } from './names.js';

expectNothingLeft();

const ID = { major: 7, minor: 3 };
const TYPES = ['malloc', 'scalable-page', 'thread-local'] as const;

describe('MemoryRegistry', () => {
  describe.each(TYPES)('with a %s allocator', (type) => {
    test('creates, finds and forgets it', () => {
      const registry = new MemoryRegistry();
      const backend = registry.createBackend('posix-mmap', 0, MiB);
      const allocator = registry.createAllocator(type, 0, ID);
      expect(allocator.type).toBe(type);
      expect(allocator.id).toEqual(ID);
      expect(registry.getAllocator({ ...ID })).toBe(allocator);
      const offset = allocator.allocateOffset(DEFAULT_MEM_CONTEXT, 1000);
      expect(allocator.sizeOf(offset)).toBeGreaterThanOrEqual(1000);
      allocator.freeOffset(DEFAULT_MEM_CONTEXT, offset);
      registry.unregisterAllocator(ID);
      expect(codeOf(() => registry.getAllocator(ID))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => registry.unregisterAllocator(ID))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => allocator.allocateOffset(DEFAULT_MEM_CONTEXT, 1))).toBe('ERR_MEM_DISPOSED');
      registry.destroyBackend(0);
      expect(backend.detached).toBe(true);
      expect(codeOf(() => registry.destroyBackend(0))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });
  });

  test('gives allocators of their types, without a cast', () => {
    const registry = new MemoryRegistry();
    registry.createBackend('malloc', 0, MiB);
    registry.createBackend('malloc', 1, MiB);
    expectTypeOf(registry.createAllocator('malloc', 0, { major: 8, minor: 0 })).toEqualTypeOf<MallocAllocator>();
    expectTypeOf(registry.createAllocator('thread-local', 1, ID)).toEqualTypeOf<ThreadLocalAllocator>();
    expectTypeOf(registry.attachAllocator).returns.toEqualTypeOf<PageAllocator>();
    const found = registry.getAllocator(ID);
    expect(found instanceof PageAllocator && found.reclaim(2 ** 30)).toBe(0);
    expect(new SharedMemoryDevice(found).allocator).toBe(found);
    expect(() => new SharedMemoryDevice(registry.getAllocator({ major: 8, minor: 0 }))).toThrow(/a malloc allocator/);
    for (const id of [0, 1]) registry.destroyBackend(id);
  });

  test('creates a backend of every type that needs no device', () => {
    const registry = new MemoryRegistry();
    const create = (type: BackendType, id: number, url?: string, options = {}) =>
      registry.createBackend(type, id, 64 * KiB, url, options);
    expect(create('array', 0, undefined, { memory: new SharedArrayBuffer(128 * KiB) }).type).toBe('array');
    expect(create('malloc', 1).type).toBe('malloc');
    expect(create('posix-mmap', 2).type).toBe('posix-mmap');
    expect(create('posix-shm', 3, freshName()).type).toBe('posix-shm');
    expect(create('file', 4, `/tmp/stowage-${freshName()}`).type).toBe('file');
    for (let id = 0; id < 5; id++) registry.destroyBackend(id);
  });

  test('says what is missing or unknown', () => {
    const registry = new MemoryRegistry();
    const code = (type: string, options = {}) =>
      codeOf(() => registry.createBackend(type as BackendType, 0, 64 * KiB, undefined, options));
    for (const type of ['array', 'posix-shm', 'file', 'cuda-shm', 'no-such-type', 'constructor']) {
      expect(code(type)).toBe('ERR_MEM_INVALID_ARGUMENT');
    }
    expect(code('array', { memory: new ArrayBuffer(64 * KiB) })).toBe('ERR_MEM_INVALID_ARGUMENT');
    registry.createBackend('malloc', 0, 64 * KiB);
    expect(code('malloc')).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect(() => registry.createAllocator('scalable' as 'malloc', 0, ID)).toThrow(/one of malloc, scalable-page, thread-local/);
    expect(codeOf(() => registry.createAllocator('scalable-page', 1, ID))).toBe('ERR_MEM_INVALID_ARGUMENT');
    registry.destroyBackend(0);
  });

  test('an id is taken once, and a backend has one allocator', () => {
    const registry = new MemoryRegistry();
    registry.createBackend('malloc', 0, MiB);
    registry.createBackend('malloc', 1, MiB);
    registry.createAllocator('scalable-page', 0, ID);
    expect(codeOf(() => registry.createAllocator('scalable-page', 1, ID))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect(codeOf(() => registry.createAllocator('scalable-page', 0, { major: 8, minor: 0 }))).toBe('ERR_MEM_BAD_SEGMENT');
    registry.destroyBackend(0);
    expect(codeOf(() => registry.getAllocator(ID))).toBe('ERR_MEM_INVALID_ARGUMENT');
    registry.createAllocator('scalable-page', 1, ID);
    registry.destroyBackend(1);
  });

  test('an allocator that cannot be created leaves room for another', () => {
    const registry = new MemoryRegistry();
    registry.createBackend('malloc', 0, 64);
    expect(codeOf(() => registry.createAllocator('scalable-page', 0, ID, { cacheBytes: -1 }))).not.toBe('none');
    registry.destroyBackend(0);
    registry.createBackend('malloc', 0, MiB);
    expect(codeOf(() => registry.createAllocator('scalable-page', 0, ID, { cacheBytes: -1 }))).not.toBe('none');
    registry.createAllocator('scalable-page', 0, ID);
    registry.destroyBackend(0);
  });

  describe('attachBackend', () => {
    test('finds the allocator with the backend, in another process', () => {
      const registry = new MemoryRegistry();
      const { url } = registry.createBackend('posix-shm', 5, MiB, freshName());
      const allocator = registry.createAllocator('thread-local', 5, ID);
      const { stdout, stderr } = runChild(`
        const { memoryRegistry } = await import(${JSON.stringify(moduleUrl('src/shared/memory-registry.js'))});
        const { DEFAULT_MEM_CONTEXT } = await import(${JSON.stringify(moduleUrl('src/shared/allocators/shared-allocator.js'))});
        const backend = memoryRegistry().attachBackend('${url}');
        const allocator = memoryRegistry().getAllocator({ major: 7, minor: 3 });
        const offset = allocator.allocateOffset(DEFAULT_MEM_CONTEXT, 100);
        backend.region.uint8[offset] = 42;
        console.log(backend.id, allocator.type, offset);
        memoryRegistry().destroyBackend(5);`);
      expect(stderr).toBe('');
      const [id, type, offset] = stdout.trim().split(' ');
      expect([id, type]).toEqual(['5', 'thread-local']);
      expect(registry.getBackend(5).region.uint8[Number(offset)]).toBe(42);
      allocator.freeOffset(DEFAULT_MEM_CONTEXT, Number(offset) as never);
      registry.destroyBackend(5);
    });

    test('the allocator can come later', () => {
      const creator = new MemoryRegistry();
      const other = new MemoryRegistry();
      const { url } = creator.createBackend('posix-shm', 5, MiB, freshName());
      other.attachBackend(url);
      expect(codeOf(() => other.attachAllocator(5))).toBe('ERR_MEM_BAD_SEGMENT');
      creator.createAllocator('scalable-page', 5, ID);
      expect(other.attachAllocator(5).id).toEqual(ID);
      expect(other.getAllocator(ID).type).toBe('scalable-page');
      other.destroyBackend(5);
      creator.destroyBackend(5);
    });

    test('leaves nothing attached when an id is taken here', () => {
      const creator = new MemoryRegistry();
      const { url } = creator.createBackend('posix-shm', 5, MiB, freshName());
      creator.createAllocator('scalable-page', 5, ID);
      expect(codeOf(() => creator.attachBackend(url))).toBe('ERR_MEM_INVALID_ARGUMENT');
      const other = new MemoryRegistry();
      other.createBackend('malloc', 0, MiB);
      other.createAllocator('scalable-page', 0, ID);
      expect(codeOf(() => other.attachBackend(url))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => other.getBackend(5))).toBe('ERR_MEM_INVALID_ARGUMENT');
      other.destroyBackend(0);
      expect(other.attachBackend(url).id).toBe(5);
      other.destroyBackend(5);
      creator.destroyBackend(5);
    });

    test('refuses an allocator of a type that is unknown here', () => {
      const creator = new MemoryRegistry();
      const backend = creator.createBackend('posix-shm', 5, MiB, freshName());
      backend.allocator.claim({ type: 'of-a-later-version', major: 1, minor: 1 });
      const early = new MemoryRegistry();
      expect(early.attachBackend(backend.url).bytes).toBe(backend.bytes);
      early.destroyBackend(5);
      backend.allocator.complete();
      expect(() => new MemoryRegistry().attachBackend(backend.url)).toThrow(/of a type that is unknown here: of-a-later-version/);
      creator.destroyBackend(5);
    });

    test('says that nothing is there', () => {
      expect(codeOf(() => new MemoryRegistry().attachBackend(freshName()))).toBe('ERR_MEM_SEGMENT_ABSENT');
      expect(codeOf(() => new MemoryRegistry().attachBackend('file:///no/such/file'))).toBe('ERR_MEM_SEGMENT_ABSENT');
    });
  });
});

describe('AllocatorRecord', () => {
  test('goes over to another thread when the claiming one ended too early', async () => {
    const buffer = new SharedArrayBuffer(64 * KiB);
    using backend = ArrayBackend.create(0, buffer);
    const source = `
      import { workerData, parentPort } from 'node:worker_threads';
      const { ArrayBackend } = await import(${JSON.stringify(moduleUrl('src/shared/backends/nameless-backends.js'))});
      const record = ArrayBackend.attach(workerData).allocator;
      record.claim({ type: 'first', major: 1, minor: 1 });
      parentPort.postMessage('claimed');
      setInterval(() => {}, 1000);`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { workerData: buffer });
    await once(worker, 'message');
    const facts = { type: 'second', major: 2, minor: 2 };
    expect(() => backend.allocator.claim(facts)).toThrow(/another thread is creating its allocator/);
    expect(backend.allocator.read()).toBeUndefined();
    await worker.terminate();
    backend.allocator.claim(facts);
    backend.allocator.complete();
    expect(backend.allocator.read()).toEqual(facts);
    expect(() => backend.allocator.claim(facts)).toThrow(/it has an allocator already/);
  });

  test.each(['', 'Upper', '1st', 'a b', 'x'.repeat(65)])('refuses the type %j', (type) => {
    using backend = ArrayBackend.create(0, new ArrayBuffer(8 * KiB));
    expect(codeOf(() => backend.allocator.claim({ type, major: 0, minor: 0 }))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });

  test('refuses a record that is not valid', () => {
    const bytes = new ArrayBuffer(8 * KiB);
    using backend = ArrayBackend.create(0, bytes);
    backend.allocator.claim({ type: 'some', major: 0, minor: 0 });
    backend.allocator.complete();
    const words = new Int32Array(bytes);
    for (const length of [0, -1, 65, 2 ** 31 - 1]) {
      words[21] = length;
      expect(codeOf(() => backend.allocator.read())).toBe('ERR_MEM_BAD_SEGMENT');
    }
  });
});

describe('memoryRegistry', () => {
  test('is one a thread', () => {
    expect(memoryRegistry()).toBe(memoryRegistry());
  });
});
