import { afterEach, beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest';
import { CachingMemoryManager, DefaultMemoryManager, LimitingMemoryManager, LruMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { type DevicePtr, MiB } from '../../src/core/units.js';
import { inLastFrames } from '../fixtures/full-stack.js';
import { installed, memoryError, PlainManager, simulatedRuntime, TextSink } from './fakes.js';

/** Ignores pointers that it does not know, as Flashlight's managers do. */
class LenientManager extends PlainManager {
  override unlock(ptr: DevicePtr, userUnlock: boolean): void {
    if (this.allocated(ptr) > 0) super.unlock(ptr, userUnlock);
  }
}

/** Cannot clean up. */
class ClumsyManager extends PlainManager {
  override signalMemoryCleanup(): void {
    throw new Error('no cleanup');
  }
}

function assertNever(): never {
  throw new Error('no text');
}

let warn: MockInstance;

beforeEach(() => {
  warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
});

afterEach(() => {
  warn.mockRestore();
});

describe('ManagerSlot', () => {
  describe('with a manager that ignores unknown pointers', () => {
    test('refuses them itself, and its count stays right', () => {
      const { runtime } = simulatedRuntime();
      const manager = installed(new LenientManager(), runtime);
      const kept = runtime.slot.alloc(100, true);
      const freed = runtime.slot.alloc(100, true);
      runtime.slot.unlock(freed, true);
      expect(() => runtime.slot.unlock(freed, true)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: freed }));
      expect(runtime.slot.liveBlocks).toBe(1);
      runtime.slot.unset();
      expect(manager.stopped).toBe(0);
      runtime.slot.unlock(kept, true);
      expect(manager.stopped).toBe(1);
    });
  });

  describe('with a manager that answers what is no address', () => {
    test.each([Number.NaN, -5, 1.5, '123', undefined, 2 ** 60, null, {}])('makes no block of %s', (garbage) => {
      const { runtime } = simulatedRuntime();
      const manager = installed(new PlainManager(), runtime);
      const block = runtime.allocate(100);
      const allocBytes = vi.spyOn(manager, 'allocBytes').mockReturnValue(garbage as DevicePtr);
      expect(() => runtime.allocate(100)).toThrow(memoryError('ERR_MEM_INVALID_POINTER'));
      expect(() => runtime.slot.alloc(100, false)).toThrow(memoryError('ERR_MEM_INVALID_POINTER'));
      allocBytes.mockRestore();
      expect(runtime.slot.liveBlocks).toBe(1);
      runtime.slot.unset();
      block.dispose();
      expect(manager.lifecycle.state).toBe('stopped');
    });

    test('counts a block once that is handed out twice', () => {
      const { runtime } = simulatedRuntime();
      const manager = installed(new PlainManager(), runtime);
      const ptr = runtime.slot.alloc(100, true);
      vi.spyOn(manager, 'allocBytes').mockReturnValue(ptr);
      expect(runtime.slot.alloc(100, true)).toBe(ptr);
      runtime.slot.unset();
      runtime.slot.unlock(ptr, true);
      expect(manager.lifecycle.state).toBe('stopped');
    });
  });

  describe('with errors that cannot be turned into text', () => {
    const unreadable = new Error('unreadable');
    Object.defineProperty(unreadable, 'stack', {
      get: () => {
        throw new Error('no stack');
      },
    });
    const proxy = new Proxy(() => {}, {
      getPrototypeOf: () => {
        throw new Error('no prototype');
      },
    });

    test.each([
      ['an object without a prototype', Object.create(null)],
      ['a text that throws', { toString: () => assertNever() }],
      ['an error whose stack throws', unreadable],
      ['a proxy', proxy],
    ])('swaps all the same, and warns: %s', (_, thrown) => {
      const { runtime } = simulatedRuntime();
      const manager = installed(new PlainManager(), runtime);
      manager.shutdown = () => {
        throw thrown;
      };
      const next = installed(new PlainManager(), runtime);
      expect([runtime.slot.active, manager.lifecycle.state]).toEqual([next, 'stopped']);
      expect(warn).toHaveBeenCalledExactlyOnceWith('something was thrown that cannot be turned into text');
      runtime.slot.unset();
      runtime.close();
    });
  });

  describe('with a stack that overflows', () => {
    test.each([
      ['counts its blocks', () => new CachingMemoryManager(1, new MemoryManagerDeviceInterface())],
      ['does not', () => new PlainManager()],
    ])('is as before the call, with a manager that %s', (_, create) => {
      for (const watched of [false, true]) {
        const { device, runtime } = simulatedRuntime();
        const { slot } = runtime;
        const manager = installed(create(), runtime);
        if (watched) manager.setLogStream(new TextSink());
        if (watched) manager.setLoggingEnabled(true);
        const live: DevicePtr[] = [];
        for (let words = 0; words < 40; words++) {
          const ends = inLastFrames(100, words, () => live.push(slot.alloc(1 + ((live.length * 7919) % 50_000), true)));
          expect(ends).toBeGreaterThan(0);
          expect(slot.liveBlocks).toBe(live.length);
          for (const ptr of live.splice(0)) slot.unlock(ptr, true);
          expect(slot.liveBlocks).toBe(0);
        }
        slot.signalMemoryCleanup();
        expect(slot.reservedBytes).toBe(device.liveBytes);
        runtime.close();
        expect([manager.lifecycle.state, device.liveBytes]).toEqual(['stopped', 0]);
      }
    });
  });

  describe('with a listener that throws', () => {
    test('installs all the same, and warns', () => {
      const { runtime } = simulatedRuntime();
      runtime.events.on('swap', () => {
        throw new Error('a bad listener');
      });
      const manager = installed(new PlainManager(), runtime);
      expect(runtime.slot.active).toBe(manager);
      expect(warn).toHaveBeenCalledExactlyOnceWith(new Error('a bad listener'));
    });

    test('frees the last block of a draining manager all the same', () => {
      const { runtime } = simulatedRuntime();
      installed(new PlainManager(), runtime);
      const block = runtime.allocate(100);
      installed(new PlainManager(), runtime);
      runtime.events.on('stopped', () => {
        throw new Error('a bad listener');
      });
      block.dispose();
      expect(block.disposed).toBe(true);
      expect(warn).toHaveBeenCalledOnce();
    });
  });

  describe('with a listener of oom that allocates', () => {
    test('does not ask it again from inside itself', () => {
      const { runtime } = simulatedRuntime({ capacityBytes: MiB });
      installed(new PlainManager(), runtime);
      const listener = vi.fn(() => void runtime.slot.alloc(2 * MiB, true));
      runtime.events.on('oom', listener);
      expect(() => runtime.slot.alloc(2 * MiB, true)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      expect(listener).toHaveBeenCalledOnce();
    });
  });

  describe('with a draining manager that cannot clean up', () => {
    test('still asks the listeners, and then throws that memory ran out', () => {
      const { runtime } = simulatedRuntime({ capacityBytes: MiB });
      installed(new ClumsyManager(), runtime);
      runtime.slot.alloc(100, true);
      installed(new PlainManager(), runtime);
      const listener = vi.fn();
      runtime.events.on('oom', listener);
      expect(() => runtime.slot.alloc(2 * MiB, true)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      expect(listener).toHaveBeenCalledOnce();
    });
  });

  describe('with a number that is no size', () => {
    test.each([Number.NaN, -5, Number.POSITIVE_INFINITY, 2 ** 60, 1.5])('logs no line that cannot be read: %d', (bytes) => {
      const { runtime } = simulatedRuntime();
      const sink = new TextSink();
      const manager = installed(new PlainManager(undefined, sink), runtime);
      expect(() => runtime.slot.alloc(bytes, true)).toThrow(memoryError('ERR_MEM_INVALID_SIZE'));
      manager.callLog.flush();
      expect(sink.lines).toEqual(['initialize ']);
    });
  });

  describe('with references inside a decorator', () => {
    test('stops the manager when the last reference goes', () => {
      const { runtime } = simulatedRuntime();
      const lru = new LruMemoryManager(1, new MemoryManagerDeviceInterface());
      const limited = installed(new LimitingMemoryManager(lru), runtime);
      const ptr = runtime.slot.alloc(100, true);
      lru.incrementRef(ptr);
      runtime.slot.unlock(ptr, true);
      installed(new PlainManager(), runtime);
      expect(limited.lifecycle.state).toBe('draining');
      lru.decrementRef(ptr);
      expect(limited.lifecycle.state).toBe('stopped');
    });
  });

  describe('with a manager that closes its runtime', () => {
    test('refuses, and both slots go on', () => {
      const { runtime } = simulatedRuntime();
      const manager = new PlainManager();
      manager.initialize = () => void runtime.close();
      expect(() => runtime.slot.install(manager)).toThrow(memoryError('ERR_MEM_REENTRANT'));
      expect([runtime.slot.closed, runtime.pinnedSlot.closed]).toEqual([false, false]);
      runtime.close();
    });
  });
});

describe('BlockMemoryManager', () => {
  test('refuses streams as long as it keeps no stream order', () => {
    const { runtime } = simulatedRuntime();
    installed(new CachingMemoryManager(1, new MemoryManagerDeviceInterface()), runtime);
    expect(() => runtime.allocate(100, { stream: 1 })).toThrow(memoryError('ERR_MEM_UNSUPPORTED_PLATFORM'));
  });

  test('counts as hits what needed no native call, also when a batch fails', () => {
    const { runtime } = simulatedRuntime({ capacityBytes: MiB });
    const lru = installed(new LruMemoryManager(1, new MemoryManagerDeviceInterface()), runtime);
    for (let i = 0; i < 2; i++) runtime.allocate(100).dispose();
    expect(lru.stats(0).hits).toBe(1);
    expect(() => lru.allocateBatch([10, 20, 2 * MiB])).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
    expect(lru.stats(0).hits).toBe(1);
  });
});

describe('MemoryManagerAdapter', () => {
  test('refuses extents that are no sizes, though their product is one', () => {
    const { runtime } = simulatedRuntime();
    const manager = installed(new DefaultMemoryManager(1, new MemoryManagerDeviceInterface(), { maxBuffers: 10 }), runtime);
    expect(() => manager.alloc(true, [-1, -2], 4)).toThrow(memoryError('ERR_MEM_INVALID_SIZE', { bytes: -1 }));
    expect(() => manager.alloc(true, [2], 0.5)).toThrow(memoryError('ERR_MEM_INVALID_SIZE', { bytes: 0.5 }));
  });
});
