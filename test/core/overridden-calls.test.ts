import { describe, expect, test } from 'vitest';
import {
  ArenaMemoryManager,
  CachingMemoryManager,
  DecoratingMemoryManager,
  DefaultMemoryManager,
  FailingMemoryManager,
  GuardedMemoryManager,
  LimitingMemoryManager,
  StatisticsMemoryManager,
  TlsfMemoryManager,
  TrackingMemoryManager,
} from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { type DevicePtr, devicePtr } from '../../src/core/units.js';
import { FakeGuardMemory } from '../managers/guard-memory-fake.js';
import { memoryError, simulatedRuntime } from './fakes.js';

const DECORATORS: Readonly<Record<string, (inner: MemoryManagerAdapter) => DecoratingMemoryManager>> = {
  statistics: (inner) => new StatisticsMemoryManager(inner),
  failing: (inner) => new FailingMemoryManager(inner),
  limiting: (inner) => new LimitingMemoryManager(inner),
  tracking: (inner) => new TrackingMemoryManager(inner),
  none: (inner) => new (class extends DecoratingMemoryManager {})(inner),
};
type Call = readonly [name: string, ...values: unknown[]];
const table = () => new MemoryManagerDeviceInterface();

class RecordingManager extends CachingMemoryManager {
  readonly calls: Call[] = [];
}

/** Overrides what Flashlight's users override, with its parameters alone. */
const ofArrays = (Base: typeof RecordingManager) =>
  class extends Base {
    override alloc(userLock: boolean, dims: ArrayLike<number>, elementSize: number): DevicePtr {
      this.calls.push(['alloc', userLock, [...Array.from(dims)], elementSize]);
      return super.alloc(userLock, dims, elementSize);
    }

    override userUnlock(ptr: DevicePtr): void {
      this.calls.push(['userUnlock', ptr]);
      super.userUnlock(ptr);
    }
  };

class BytesManager extends RecordingManager {
  override allocBytes(bytes: number, userLock: boolean, alignment?: number, stream?: number): DevicePtr {
    this.calls.push(['allocBytes', bytes, userLock]);
    return super.allocBytes(bytes, userLock, alignment, stream);
  }

  override unlock(ptr: DevicePtr, userUnlock: boolean): void {
    this.calls.push(['unlock', ptr, userUnlock]);
    super.unlock(ptr, userUnlock);
  }
}

const ArrayManager = ofArrays(RecordingManager);
const BothManager = ofArrays(BytesManager);

/** Implements the allocation of Flashlight alone. */
class FlashlightManager extends MemoryManagerAdapter {
  #next = 4096;
  readonly live = new Map<number, number>();
  initialize(): void {}
  shutdown(): void {}
  override alloc(_userLock: boolean, dims: ArrayLike<number>, elementSize: number): DevicePtr {
    const ptr = this.#next;
    this.#next += 4096;
    this.live.set(
      ptr,
      Array.from(dims).reduce((product, extent) => product * extent, elementSize),
    );
    return devicePtr(ptr);
  }
  allocated(ptr: DevicePtr): number {
    return this.live.get(ptr) ?? 0;
  }
  unlock(ptr: DevicePtr): void {
    this.live.delete(ptr);
  }
  userLock(): void {}
  isUserLocked(): boolean {
    return false;
  }
  signalMemoryCleanup(): void {}
  printInfo(): void {}
}

describe('a manager that overrides', () => {
  test('alloc and userUnlock is called there by runtimes and slots', () => {
    const { runtime } = simulatedRuntime();
    const manager = new ArrayManager(1, table());
    runtime.slot.install(manager);
    const block = runtime.allocate(1000);
    const { ptr } = block;
    block.dispose();
    runtime.slot.userUnlock(runtime.slot.alloc(24, true));
    runtime.slot.unlock(runtime.slot.allocArray(false, [3, 5], 4), false);
    expect(manager.calls).toEqual([
      ['alloc', true, [1000], 1],
      ['userUnlock', ptr],
      ['alloc', true, [24], 1],
      ['userUnlock', expect.any(Number)],
      ['alloc', false, [3, 5], 4],
    ]);
    expect(runtime.slot.liveBlocks).toBe(0);
  });

  test('alloc without its further parameters still gives the alignment and the stream that the host asks for', () => {
    const { runtime } = simulatedRuntime({ streams: true });
    const manager = new ArrayManager(1, table());
    runtime.slot.install(manager);
    const stream = runtime.device.createStream().id;
    for (let i = 0; i < 5; i++) expect(runtime.slot.alloc(700, true, 4096, stream) % 4096).toBe(0);
    // Not those of a call before, when the manager is called by itself.
    const [a, b] = [manager.alloc(true, [10], 1), manager.alloc(true, [10], 1)];
    expect(b - a).toBeLessThan(4096);
  });

  test('alloc and allocates for itself first still gives the alignment that the host asks for', () => {
    const { runtime } = simulatedRuntime();
    class WithHeaders extends ArrayManager {
      override alloc(userLock: boolean, dims: ArrayLike<number>, elementSize: number): DevicePtr {
        super.unlock(super.alloc(false, [48], 1), false);
        if (dims[0] !== 16) runtime.slot.unlock(runtime.slot.alloc(16, true), true);
        return super.alloc(userLock, dims, elementSize);
      }
    }
    runtime.slot.install(new WithHeaders(1, table()));
    for (let i = 0; i < 5; i++) expect(runtime.slot.alloc(700, true, 65_536) % 65_536).toBe(0);
  });

  test.each([ArenaMemoryManager, TlsfMemoryManager, DefaultMemoryManager] as unknown as (typeof CachingMemoryManager)[])(
    'allocBytes and has itself replaced before it calls super gives no block: %o',
    (Base) => {
      const { runtime, device } = simulatedRuntime();
      class Swapping extends Base {
        override allocBytes(bytes: number, userLock: boolean, alignment?: number, stream?: number): DevicePtr {
          runtime.slot.install(new CachingMemoryManager(1, table()));
          return super.allocBytes(bytes, userLock, alignment, stream);
        }
      }
      runtime.slot.install(new Swapping(1, table()));
      expect(() => runtime.allocate(100)).toThrow(memoryError('ERR_MEM_LIFECYCLE', { from: 'stopped' }));
      runtime.allocate(100).dispose();
      runtime.close();
      expect(device.liveBytes).toBe(0);
    },
  );

  test('allocBytes and unlock is called there, whichever lock is cleared', () => {
    const { runtime } = simulatedRuntime();
    const manager = new BytesManager(1, table());
    runtime.slot.install(manager);
    const block = runtime.allocate(1000);
    const { ptr } = block;
    block.dispose();
    const array = runtime.slot.allocArray(false, [3, 5], 4);
    runtime.slot.unlock(array, false);
    expect(manager.calls).toEqual([
      ['allocBytes', 1000, true],
      ['unlock', ptr, true],
      ['allocBytes', 60, false],
      ['unlock', array, false],
    ]);
  });

  test('all of them is called in each once', () => {
    const { runtime } = simulatedRuntime();
    const manager = new BothManager(1, table());
    runtime.slot.install(manager);
    const block = runtime.allocate(1000);
    const { ptr } = block;
    block.dispose();
    expect(manager.calls).toEqual([
      ['alloc', true, [1000], 1],
      ['allocBytes', 1000, true],
      ['userUnlock', ptr],
      ['unlock', ptr, true],
    ]);
  });

  test('alloc is called there by a decorator, too', () => {
    const { runtime } = simulatedRuntime();
    const manager = new ArrayManager(1, table());
    runtime.slot.install(new StatisticsMemoryManager(manager));
    const block = runtime.allocate(1000);
    const { ptr } = block;
    block.dispose();
    expect(manager.calls).toEqual([
      ['alloc', true, [1000], 1],
      ['userUnlock', ptr],
    ]);
  });

  describe.each(Object.entries(DECORATORS))('alloc is told by a decorator, %s', (_, decorate) => {
    test.each([1, 2])('%d deep, of the array that the host knows, with alignment and stream', (depth) => {
      const { runtime } = simulatedRuntime({ streams: true });
      const manager = new ArrayManager(1, table());
      runtime.slot.install(depth === 1 ? decorate(manager) : decorate(decorate(manager)));
      const { slot } = runtime;
      const ptrs = [slot.allocArray(false, [3, 5], 4), slot.alloc(60, true, 4096)];
      expect(manager.calls).toEqual([
        ['alloc', false, [3, 5], 4],
        ['alloc', true, [60], 1],
      ]);
      expect(ptrs[1]! % 4096).toBe(0);
      slot.unlock(ptrs[0]!, false);
      slot.unlock(ptrs[1]!, true);
      // By itself, too.
      const { active } = slot;
      manager.calls.length = 0;
      active!.unlock(active!.alloc(true, [2, 2], 8), true);
      expect(manager.calls[0]).toEqual(['alloc', true, [2, 2], 8]);
    });

    test('and not of one that other bytes are asked for meanwhile', () => {
      const { runtime } = simulatedRuntime();
      class WithHeader extends ArrayManager {
        override alloc(userLock: boolean, dims: ArrayLike<number>, elementSize: number): DevicePtr {
          if (dims.length > 1) runtime.slot.unlock(runtime.slot.alloc(60, true), true);
          return super.alloc(userLock, dims, elementSize);
        }
      }
      const manager = new WithHeader(1, table());
      runtime.slot.install(decorate(manager));
      runtime.slot.unlock(runtime.slot.allocArray(true, [3, 5], 4), true);
      expect(manager.calls.filter(([name]) => name === 'alloc')).toEqual([
        ['alloc', true, [60], 1],
        ['alloc', true, [3, 5], 4],
      ]);
    });

    test('whose inner manager overrides nothing keeps the fast path', () => {
      const plain = decorate(new CachingMemoryManager(1, table()));
      expect([plain.overridesCalls, decorate(plain).overridesCalls]).toEqual([false, false]);
      expect(decorate(new ArrayManager(1, table())).overridesCalls).toBe(true);
    });
  });

  test('alloc in a decorator is called there, and passes the array on', () => {
    const { runtime } = simulatedRuntime();
    const arrays: unknown[] = [];
    class Arrays extends DecoratingMemoryManager {
      override alloc(userLock: boolean, dims: ArrayLike<number>, elementSize: number): DevicePtr {
        arrays.push([...Array.from(dims)], elementSize);
        return super.alloc(userLock, dims, elementSize);
      }
    }
    const manager = new ArrayManager(1, table());
    runtime.slot.install(new StatisticsMemoryManager(new Arrays(manager)));
    runtime.slot.unlock(runtime.slot.allocArray(true, [3, 5], 4), true);
    expect(arrays).toEqual([[3, 5], 4]);
    expect(manager.calls[0]).toEqual(['alloc', true, [3, 5], 4]);
  });

  test('alloc is told of the bytes alone where a decorator adds to them', () => {
    const { runtime } = simulatedRuntime();
    const manager = new ArrayManager(1, table());
    runtime.slot.install(new GuardedMemoryManager(manager, { memory: new FakeGuardMemory() }));
    runtime.slot.allocArray(true, [3, 5], 4);
    expect(manager.calls).toEqual([['alloc', true, [60 + 2 * 64], 1]]);
  });

  test('alloc alone serves, and is itself the allocBytes that it has not', () => {
    const { runtime } = simulatedRuntime();
    const manager = new FlashlightManager(table());
    runtime.slot.install(manager);
    runtime.slot.unlock(runtime.slot.alloc(100, true), true);
    const ptr = manager.allocBytes(77, true);
    expect(manager.allocated(ptr)).toBe(77);
  });
});

describe('a manager that lacks a method', () => {
  test.each(['unlock', 'printInfo', 'signalMemoryCleanup', 'initialize'])('is refused when it is installed: %s', (name) => {
    const { runtime } = simulatedRuntime();
    const manager = new FlashlightManager(table());
    Object.defineProperty(manager, name, { value: undefined });
    const expected = `a manager with the method ${name}; see docs/writing-a-manager.md`;
    expect(() => runtime.slot.install(manager)).toThrow(
      memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'manager', value: 'FlashlightManager', expected }),
    );
    expect([runtime.slot.active, manager.lifecycle.state]).toEqual([null, 'created']);
  });

  test.each(['place', 'reclaim', 'trim'])('of a base class is refused when it is installed, too: %s', (name) => {
    const { runtime } = simulatedRuntime();
    const manager = new CachingMemoryManager(1, table());
    Object.defineProperty(manager, name, { value: undefined });
    expect(() => runtime.slot.install(manager)).toThrow(
      memoryError('ERR_MEM_INVALID_ARGUMENT', { value: 'CachingMemoryManager' }),
    );
  });

  test('is refused when neither alloc nor allocBytes is there, and says so when it is called by itself', () => {
    const { runtime } = simulatedRuntime();
    const manager = new FlashlightManager(table());
    Object.defineProperty(manager, 'alloc', { value: MemoryManagerAdapter.prototype.alloc });
    for (const call of [
      () => runtime.slot.install(manager),
      () => manager.allocBytes(8, true),
      () => manager.alloc(true, [8], 1),
    ]) {
      expect(call).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { value: 'FlashlightManager' }));
    }
  });
});
