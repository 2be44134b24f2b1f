import { describe, expect, test, vi } from 'vitest';
import type { SlotObserver } from '../../src/core/slot-observer.js';
import { type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import { installed, memoryError, PlainManager, simulatedRuntime, TextSink } from './fakes.js';

const FIRST = 2 ** 32;

/** Keeps what it is told, as the name of the call and its numbers. */
class Told implements SlotObserver {
  readonly calls: (readonly [string, ...number[]])[] = [];

  alloc(...values: number[]): void {
    this.calls.push(['alloc', ...values]);
  }

  free(...values: number[]): void {
    this.calls.push(['free', ...values]);
  }

  nativeAlloc(...values: number[]): void {
    this.calls.push(['nativeAlloc', ...values]);
  }

  nativeFree(...values: number[]): void {
    this.calls.push(['nativeFree', ...values]);
  }

  swap(...values: number[]): void {
    this.calls.push(['swap', ...values]);
  }

  cleanup(...values: number[]): void {
    this.calls.push(['cleanup', ...values]);
  }

  outOfMemory(...values: number[]): void {
    this.calls.push(['outOfMemory', ...values]);
  }

  take(): (readonly [string, ...number[]])[] {
    return this.calls.splice(0);
  }
}

/** Counts its live blocks, and says which it frees, or forgets to. */
class CountingManager extends PlainManager {
  beforeUnlock: (() => void) | undefined;
  readonly #says: boolean;

  constructor(says: boolean) {
    super();
    this.#says = says;
  }

  override liveBlockCount(): number {
    return this.liveBlocks;
  }

  override unlock(ptr: DevicePtr, userUnlock: boolean): void {
    this.beforeUnlock?.();
    super.unlock(ptr, userUnlock);
    if (this.#says && this.allocated(ptr) === 0) this.lifecycle.onFree?.();
  }
}

function observed(capacityBytes = 4096) {
  const { runtime } = simulatedRuntime({ capacityBytes, deviceCount: 2 });
  const manager = installed(new PlainManager(), runtime);
  const told = new Told();
  runtime.slot.observe(told);
  return { runtime, slot: runtime.slot, manager, told, id: manager.getHandle() };
}

describe('ManagerSlot', () => {
  describe('observe', () => {
    test('tells allocations with device and stream, and frees after the last lock', () => {
      const { runtime, slot, told, id } = observed();
      const first = slot.alloc(1000, true);
      runtime.device.activate(1);
      const second = slot.alloc(24, false, 64, 5);
      expect(told.take()).toEqual([
        ['nativeAlloc', id, FIRST, 1000, 0],
        ['alloc', id, first, 1000, 0, 0],
        ['nativeAlloc', id, second, 24, 1],
        ['alloc', id, second, 24, 1, 5],
      ]);
      slot.userLock(second);
      slot.unlock(second, false);
      expect(told.take()).toEqual([]);
      slot.userUnlock(second);
      expect(told.take()).toEqual([
        ['free', id, second],
        ['nativeFree', id, second, 24],
      ]);
    });

    test('tells blocks of 0 bytes, at the null pointer', () => {
      const { slot, told, id } = observed();
      slot.alloc(0, true);
      slot.unlock(NULL_PTR, true);
      slot.userUnlock(NULL_PTR);
      expect(told.take()).toEqual([
        ['alloc', id, 0, 0, 0, 0],
        ['free', id, 0],
        ['free', id, 0],
      ]);
    });

    test('tells a free before what the manager gives back natively because of it', () => {
      const { slot, told, id } = observed();
      const ptr = slot.alloc(8, true);
      told.take();
      slot.unlock(ptr, true);
      expect(told.take().map(([call]) => call)).toEqual(['free', 'nativeFree']);
      expect(id).toBeGreaterThan(0);
    });

    test.each([
      ['says what it frees', true],
      ['does not', false],
    ])('tells the frees of a manager that counts its blocks and %s', (_, says) => {
      const { runtime } = simulatedRuntime();
      const manager = installed(new CountingManager(says), runtime);
      const { slot } = runtime;
      const told = new Told();
      const early = slot.alloc(8, true);
      slot.observe(told);
      const [first, second] = [slot.alloc(16, true), slot.alloc(32, false)];
      slot.userLock(second);
      told.take();
      slot.unlock(second, false);
      expect(told.take()).toEqual([]);
      const id = manager.getHandle();
      for (const ptr of [first, second, early]) {
        slot.unlock(ptr, true);
        expect(told.take().map(([name, by, at]) => [name, by, at])).toEqual([
          ['free', id, ptr],
          ['nativeFree', id, ptr],
        ]);
        expect(() => slot.unlock(ptr, true)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
        expect(told.take()).toEqual([]);
      }
    });

    test('tells the free of a block that is freed inside the unlock of another, and no more', () => {
      const { runtime } = simulatedRuntime();
      const manager = installed(new CountingManager(true), runtime);
      const { slot } = runtime;
      const told = new Told();
      slot.observe(told);
      const [outer, inner] = [slot.alloc(16, true), slot.alloc(32, true)];
      slot.userLock(outer);
      told.take();
      manager.beforeUnlock = () => {
        manager.beforeUnlock = undefined;
        slot.unlock(inner, true);
      };
      // The block keeps the user's lock: only the inner one is freed.
      slot.unlock(outer, false);
      expect(told.take().filter(([name]) => name === 'free')).toEqual([['free', manager.getHandle(), inner]]);
      expect(slot.allocated(outer)).toBe(16);
    });

    test('tells the last free of a manager that drains, and it stops', () => {
      const { runtime } = simulatedRuntime();
      const manager = installed(new CountingManager(true), runtime);
      const { slot } = runtime;
      const told = new Told();
      const ptr = slot.alloc(16, true);
      slot.observe(told);
      installed(new CountingManager(true), runtime);
      expect(slot.draining).toEqual([manager]);
      told.take();
      slot.unlock(ptr, true);
      expect(told.take().map(([name]) => name)).toEqual(['free', 'nativeFree']);
      expect([slot.draining, manager.stopped, manager.lifecycle.onFree]).toEqual([[], 1, undefined]);
    });

    test('tells nothing of calls that are refused', () => {
      const { slot, told } = observed();
      expect(() => slot.unlock(7 as DevicePtr, true)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
      expect(() => slot.alloc(-1, true)).toThrow(memoryError('ERR_MEM_INVALID_SIZE'));
      expect(told.take()).toEqual([]);
    });

    test('tells a refusal after the cleanups of the ladder, and an explicit cleanup', () => {
      const { slot, told, id } = observed();
      expect(() => slot.alloc(5000, true, 0, 3)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      expect(told.take()).toEqual([
        ['cleanup', id],
        ['outOfMemory', id, 5000, 0, 3],
      ]);
      slot.signalMemoryCleanup();
      expect(told.take()).toEqual([['cleanup', id]]);
    });

    test('tells swaps, and frees with the manager that owns the block', () => {
      const { runtime, slot, told, id } = observed();
      const old = slot.alloc(8, true);
      const next = installed(new PlainManager(), runtime);
      const young = slot.alloc(8, true);
      told.take();
      slot.unlock(old, true);
      slot.unlock(young, true);
      expect(told.take()).toEqual([
        ['free', id, old],
        ['nativeFree', id, old, 8],
        ['free', next.getHandle(), young],
        ['nativeFree', next.getHandle(), young, 8],
      ]);
      const last = installed(new PlainManager(), runtime);
      expect(told.take()).toEqual([['swap', last.getHandle(), next.getHandle()]]);
      runtime.slot.unset();
      expect(told.take()).toEqual([['swap', slot.active!.getHandle(), last.getHandle()]]);
    });

    test('tells what is freed natively when the slot closes', () => {
      const { runtime, slot, told, id } = observed();
      const ptr = slot.alloc(8, true);
      told.take();
      runtime.close();
      expect(told.take()).toEqual([['nativeFree', id, ptr, 8]]);
    });

    test('tells several observers, and no more one that left', () => {
      const { slot, told } = observed();
      const other = new Told();
      slot.observe(other);
      slot.observe(other);
      const ptr = slot.alloc(8, true);
      expect(other.take()).toEqual(told.take());
      slot.unobserve(told);
      slot.unlock(ptr, true);
      expect(told.take()).toEqual([]);
      expect(other.take()).toHaveLength(2);
      slot.unobserve(other);
      slot.alloc(8, true);
      expect(other.take()).toEqual([]);
    });

    test.each([1, 2])('drops an observer that throws, with a warning, beside %i others', (others) => {
      const { slot, told } = observed();
      if (others === 2) slot.observe(new Told());
      slot.unobserve(told);
      const warned = vi.spyOn(process, 'emitWarning').mockReturnValue(undefined);
      const broken = new Told();
      broken.alloc = () => {
        throw new Error('broken observer');
      };
      slot.observe(broken);
      const ptr = slot.alloc(8, true);
      expect(slot.allocated(ptr)).toBe(8);
      expect(warned).toHaveBeenCalledOnce();
      slot.alloc(8, true);
      expect(warned).toHaveBeenCalledOnce();
      warned.mockRestore();
    });

    test('goes beside logging, and neither turns the other off', () => {
      const { slot, told, manager } = observed();
      const sink = new TextSink();
      manager.setLogStream(sink);
      manager.setLoggingEnabled(true);
      const ptr = slot.alloc(8, true);
      manager.setLoggingEnabled(false);
      slot.unlock(ptr, true);
      expect(sink.lines).toEqual([`nativeAlloc 8 ${FIRST} `, `alloc 8 1 ${FIRST} `]);
      expect(told.take()).toHaveLength(4);
      manager.setLoggingEnabled(true);
      slot.unobserve(told);
      slot.alloc(8, true);
      slot.flushLogs();
      expect(sink.lines).toHaveLength(4);
      expect(told.take()).toEqual([]);
    });
  });
});
