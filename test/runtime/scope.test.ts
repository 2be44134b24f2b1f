import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager } from '../../managers/index.js';
import type { DevicePtr } from '../../src/core/units.js';
import { allocationTag, MemoryRuntime, MiB } from '../../src/index.js';

let runtime: MemoryRuntime;

beforeEach(() => {
  runtime = new MemoryRuntime(new SimulatedDevice());
});

afterEach(() => {
  runtime.close();
});

const live = (): number => runtime.slot.liveBlocks;

describe('MemoryRuntime', () => {
  describe('scope', () => {
    test('frees what was allocated in it', () => {
      const outside = runtime.allocate(512);
      {
        using scope = runtime.scope();
        runtime.allocate(512);
        runtime.allocate(512);
        expect(scope.liveBlocks).toBe(2);
        expect(live()).toBe(3);
      }
      expect(live()).toBe(1);
      expect(outside.disposed).toBe(false);
    });

    test('frees when the block is left by a throw', () => {
      expect(() => {
        using _scope = runtime.scope();
        runtime.allocate(512);
        throw new Error('left');
      }).toThrow('left');
      expect(live()).toBe(0);
    });

    test('leaves alone what was moved or shared out of it', () => {
      let moved: { dispose(): void };
      let shared: { dispose(): void };
      {
        using _scope = runtime.scope();
        moved = runtime.allocate(512).move();
        shared = runtime.allocate(512).share();
        runtime.allocate(512);
      }
      expect(live()).toBe(2);
      moved.dispose();
      shared.dispose();
      expect(live()).toBe(0);
    });

    test('nests', () => {
      using _outer = runtime.scope();
      runtime.allocate(512);
      {
        using _inner = runtime.scope();
        runtime.allocate(512);
        expect(live()).toBe(2);
      }
      expect(live()).toBe(1);
      runtime.allocate(512);
      expect(live()).toBe(2);
    });

    test('is open across awaits', async () => {
      const work = async () => {
        await using scope = runtime.scope();
        runtime.allocate(512);
        await sleep(1);
        runtime.allocate(512);
        expect(scope.liveBlocks).toBe(2);
        await sleep(1);
      };
      await work();
      expect(live()).toBe(0);
    });

    test('does not keep handles that were disposed early', () => {
      using scope = runtime.scope();
      for (let i = 0; i < 10_000; i++) runtime.allocate(512).dispose();
      expect(scope.liveBlocks).toBe(0);
      expect(live()).toBe(0);
    });

    test('leaves no block behind that it could not take, since the manager cannot say whether another is gone', () => {
      let left = Number.POSITIVE_INFINITY;
      class Ticketing extends CachingMemoryManager {
        override ticketOf(): number {
          if (left-- === 0) throw new Error('no ticket');
          return 1;
        }
      }
      using _ = runtime.use((count, table) => new Ticketing(count, table));
      using _scope = runtime.scope();
      runtime.allocate(512);
      left = 1;
      expect(() => runtime.allocate(512)).toThrow('no ticket');
      left = Number.POSITIVE_INFINITY;
      expect(live()).toBe(1);
    });

    test('frees the other blocks when a free fails, and throws', () => {
      const refused = (ptr: DevicePtr) => new Error(`refused ${ptr}`);
      const scope = runtime.scope();
      const [, second] = [runtime.allocate(512), runtime.allocate(512), runtime.allocate(512)];
      const { ptr: refusedPtr } = second;
      const manager = runtime.slot.active;
      if (!(manager instanceof CachingMemoryManager)) throw new Error('another manager');
      const unlock = manager.unlock.bind(manager);
      manager.unlock = (ptr, user) => {
        if (ptr === refusedPtr) throw refused(ptr);
        unlock(ptr, user);
      };
      expect(() => scope.dispose()).toThrow('refused');
      expect(live()).toBe(1);
      manager.unlock = unlock;
    });
  });

  describe('of one of two runtimes', () => {
    test('a scope and a tag leave the allocations of the other alone', async () => {
      using other = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
      const tags: unknown[] = [];
      const tell = () => void tags.push(allocationTag());
      const observer = { alloc: tell, free() {}, nativeAlloc() {}, nativeFree() {}, swap() {}, cleanup() {}, outOfMemory() {} };
      other.slot.observe(observer);
      runtime.slot.observe(observer);
      const scope = runtime.scope();
      const theirs = other.allocate(512);
      await runtime.tag('ours', async () => {
        await null;
        other.allocate(512);
        runtime.allocate(512);
      });
      expect(tags).toEqual([undefined, undefined, 'ours']);
      scope.dispose();
      expect([theirs.disposed, other.slot.liveBlocks, live()]).toEqual([false, 2, 0]);
    });

    test('scopes that cross are each closed on their own', () => {
      using other = new MemoryRuntime(new SimulatedDevice(), { exitReport: false });
      const [ours, theirs] = [runtime.scope(), other.scope()];
      runtime.allocate(512);
      other.allocate(512);
      ours.dispose();
      const late = runtime.allocate(512);
      other.allocate(512);
      theirs.dispose();
      expect([live(), other.slot.liveBlocks, late.disposed]).toEqual([1, 0, false]);
    });
  });

  describe('scoped', () => {
    test('frees at the end of the function and gives its result', () => {
      expect(runtime.scoped(() => runtime.allocate(512).bytes)).toBe(512);
      expect(live()).toBe(0);
    });

    test('frees when the function throws, or its promise is rejected', async () => {
      const failing = () => {
        runtime.allocate(512);
        throw new Error('no');
      };
      expect(() => runtime.scoped(failing)).toThrow('no');
      await expect(runtime.scoped(async () => failing())).rejects.toThrow('no');
      expect(live()).toBe(0);
    });

    test('waits for a thenable that is no promise', async () => {
      const slow = {
        // biome-ignore lint/suspicious/noThenProperty: a thenable is what is tested
        then: (done: (value: number) => void) => void setTimeout(() => done(runtime.slot.liveBlocks), 5),
      };
      const seen = await runtime.scoped(() => {
        runtime.allocate(512);
        return slow;
      });
      expect([seen, live()]).toEqual([1, 0]);
    });

    test('keeps functions that run at the same time apart', async () => {
      const work = (bytes: number, ms: number) =>
        runtime.scoped(async (scope) => {
          runtime.allocate(bytes);
          await sleep(ms);
          runtime.allocate(bytes);
          return scope.liveBlocks;
        });
      const running = Promise.all([work(512, 20), work(1024, 5), work(2048, 10)]);
      const outside = runtime.allocate(512);
      expect(await running).toEqual([2, 2, 2]);
      expect(outside.disposed).toBe(false);
      expect(live()).toBe(1);
    });
  });

  describe('tag', () => {
    test('tags the allocations of a function, awaits included, the innermost tag first', async () => {
      const seen: (string | undefined)[] = [];
      const manager = new CachingMemoryManager(1, runtime.createDefaultManager().deviceInterface);
      const allocBytes = manager.allocBytes.bind(manager);
      manager.allocBytes = (bytes, userLock) => {
        seen.push(allocationTag());
        return allocBytes(bytes, userLock);
      };
      runtime.slot.install(manager);
      runtime.allocate(1);
      await runtime.tag('outer', async () => {
        runtime.allocate(1);
        await sleep(1);
        runtime.tag('inner', () => runtime.allocate(1));
        runtime.allocate(1, { tag: 'own' });
        runtime.allocate(1);
      });
      runtime.allocate(1);
      expect(seen).toEqual([undefined, 'outer', 'inner', 'own', 'outer', undefined]);
      expect(allocationTag()).toBeUndefined();
    });

    test('does not open a scope', () => {
      runtime.tag('some', () => runtime.allocate(512));
      expect(live()).toBe(1);
    });
  });
});

describe('SharedHandle', () => {
  test('frees with the last owner', () => {
    const first = runtime.allocate(512).share();
    const second = first.share();
    expect(first.owners).toBe(2);
    expect(second.ptr).toBe(first.ptr);
    first.dispose();
    expect(() => first.ptr).toThrow(expect.objectContaining({ code: 'ERR_MEM_DISPOSED' }));
    expect(live()).toBe(1);
    first.dispose();
    expect(second.owners).toBe(1);
    second.dispose();
    expect(live()).toBe(0);
  });

  test('leaves the unique handle that it was made from empty', () => {
    const unique = runtime.allocate(512);
    const shared = unique.share();
    expect(unique.disposed).toBe(true);
    expect(() => unique.share()).toThrow(expect.objectContaining({ code: 'ERR_MEM_DISPOSED' }));
    shared.dispose();
  });
});

describe('MemoryRuntime.allocateAsync', () => {
  test('gives a block', async () => {
    const block = await runtime.allocateAsync(512);
    expect(block.bytes).toBe(512);
  });

  test('tries again after a turn of the event loop', async () => {
    using small = new MemoryRuntime(new SimulatedDevice({ capacityBytes: 20 * MiB }));
    const first = small.allocate(12 * MiB);
    const second = small.allocateAsync(14 * MiB);
    setImmediate(() => first.dispose());
    expect((await second).bytes).toBe(14 * MiB);
  });

  test('rejects when there is still no room, and when the size is bad', async () => {
    using small = new MemoryRuntime(new SimulatedDevice({ capacityBytes: 1 * MiB }));
    await expect(small.allocateAsync(4 * MiB)).rejects.toMatchObject({ code: 'ERR_MEM_OUT_OF_MEMORY' });
    await expect(small.allocateAsync(-1)).rejects.toMatchObject({ code: 'ERR_MEM_INVALID_SIZE' });
  });
});
