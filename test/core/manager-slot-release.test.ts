import { afterEach, describe, expect, test, vi } from 'vitest';
import { DefaultMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import type { SlotObserver } from '../../src/core/slot-observer.js';
import { type DevicePtr, MiB } from '../../src/core/units.js';
import { installed, PlainManager, simulatedRuntime, TextSink } from './fakes.js';

const ANY = Number.POSITIVE_INFINITY;
const keeping = () => new DefaultMemoryManager(1, new MemoryManagerDeviceInterface());

/** Says that it caches, and remembers being told to give that back. */
class CountingManager extends PlainManager {
  cleanups = 0;
  cachedBytes: number | undefined;

  override signalMemoryCleanup(): void {
    this.cleanups++;
  }

  override stats(): ReturnType<MemoryManagerAdapter['stats']> {
    if (this.cachedBytes === undefined) return undefined;
    const cachedBytes = { current: this.cachedBytes, peak: 0, total: 0 };
    return { ...keeping().stats(0)!, cachedBytes };
  }
}

/** A slot with managers that keep memory: the last is active, those before drain. */
function slotOf(...kept: readonly (readonly number[])[]) {
  const { device, runtime } = simulatedRuntime();
  const { slot } = runtime;
  const managers = kept.map((sizes) => {
    const manager = installed(keeping(), runtime);
    const blocks = sizes.map((bytes) => manager.allocBytes(bytes, true));
    // Draining managers stay for it. Their number is no power of two, so that a free of theirs makes no cleanup.
    const live = [1, 2, 3].map(() => slot.alloc(1024, true));
    return { manager, live, blocks };
  });
  for (const { manager, blocks } of managers) for (const ptr of blocks) manager.unlock(ptr, true);
  return { device, runtime, slot, managers };
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('ManagerSlot', () => {
  describe('releaseCached', () => {
    test('returns by how much less the slot holds, and stops as soon as that is enough', () => {
      const { slot, device } = slotOf([MiB, 2 * MiB, 4 * MiB]);
      const before = slot.reservedBytes;
      expect(slot.releaseCached(0, 3 * MiB, ANY)).toBe(4 * MiB);
      expect([before - slot.reservedBytes, device.liveBytes]).toEqual([4 * MiB, slot.reservedBytes]);
      expect(slot.releaseCached(0, 100 * MiB, 2 * MiB)).toBe(2 * MiB);
      expect(slot.releaseCached(0, 100 * MiB, MiB - 1)).toBe(0);
      expect(slot.releaseCached(0, 0, ANY)).toBe(0);
      expect(slot.releaseCached(0, ANY, ANY)).toBe(MiB);
    });

    test('lets managers that drain give first, and the active one only what is missing', () => {
      const { slot, managers } = slotOf([5 * MiB], [6 * MiB, 3 * MiB]);
      const cached = () => managers.map(({ manager }) => manager.stats(0).cachedBytes.current);
      const before = cached();
      expect(before[0]).toBeGreaterThan(0);
      expect(slot.releaseCached(0, before[0]!, ANY)).toBe(before[0]);
      expect(cached()).toEqual([0, before[1]]);
      expect(slot.releaseCached(0, MiB, ANY)).toBe(3 * MiB);
    });

    test('makes the error of a manager a warning, and the others still give', () => {
      const { slot, managers } = slotOf([5 * MiB], [6 * MiB]);
      const error = new Error('a bad manager');
      vi.spyOn(managers[0]!.manager, 'releaseCached').mockImplementation(() => {
        throw error;
      });
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      expect(slot.releaseCached(0, MiB, ANY)).toBe(6 * MiB);
      expect(warn.mock.calls).toEqual([[error]]);
    });

    test('keeps what the device refuses to take, in every book', () => {
      const { slot, device, managers } = slotOf([MiB, 2 * MiB]);
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      let refused = 0;
      device.failWhen(({ name }) => name === 'nativeFree' && refused++ === 0 && new Error('refused'));
      expect(slot.releaseCached(0, ANY, ANY)).toBe(2 * MiB);
      expect([warn.mock.calls.length, device.liveBytes]).toEqual([1, slot.reservedBytes]);
      managers[0]!.manager.checkInvariants();
      expect(slot.releaseCached(0, ANY, ANY)).toBe(MiB);
    });

    test('has the device take what stopped managers owe before anybody gives what it caches', () => {
      const { device, runtime } = simulatedRuntime();
      const { slot } = runtime;
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      const first = installed(keeping(), runtime);
      slot.unlock(slot.alloc(8 * MiB, true), true);
      device.failWhen(({ name }) => name === 'nativeFree' && new Error('refused'));
      installed(keeping(), runtime);
      expect([first.lifecycle.state, slot.reservedBytes]).toEqual(['stopped', 8 * MiB]);
      device.failWhen(undefined);
      expect(slot.releaseCached(0, MiB, 7 * MiB)).toBe(0);
      expect(slot.releaseCached(0, MiB, 8 * MiB)).toBe(8 * MiB);
      expect([slot.reservedBytes, device.liveBytes]).toEqual([0, 0]);
      expect(warn).toHaveBeenCalled();
    });

    test('logs the native frees alone, and tells observers of no cleanup', () => {
      const { slot, managers } = slotOf([MiB, 2 * MiB]);
      const { manager } = managers[0]!;
      const sink = new TextSink();
      manager.setLogStream(sink);
      manager.setLoggingEnabled(true);
      const cleanup = vi.fn();
      const nativeFree = vi.fn();
      const observer = { cleanup, nativeFree } as unknown as SlotObserver;
      slot.observe(observer);
      slot.releaseCached(0, MiB, ANY);
      slot.unobserve(observer);
      slot.flushLogs();
      expect(sink.lines).toEqual([expect.stringMatching(/^nativeFree \d+ $/)]);
      expect([cleanup.mock.calls.length, nativeFree.mock.calls.length]).toEqual([0, 1]);
    });

    test('may be called from inside a native allocation of the active manager', () => {
      const { slot, device } = slotOf([5 * MiB], [6 * MiB]);
      const gave: number[] = [];
      device.failWhen(({ name }) => {
        if (name === 'nativeAlloc') {
          device.failWhen(undefined);
          gave.push(slot.releaseCached(0, 8 * MiB, ANY));
        }
        return false;
      });
      const ptr: DevicePtr = slot.alloc(20 * MiB, true);
      expect(gave[0]).toBeGreaterThanOrEqual(8 * MiB - 1);
      expect([slot.allocated(ptr) >= 20 * MiB, device.liveBytes]).toEqual([true, slot.reservedBytes]);
    });

    test('does nothing after close', () => {
      const { slot, runtime } = slotOf([MiB]);
      runtime.close();
      expect(slot.releaseCached(0, ANY, ANY)).toBe(0);
    });
  });
});

describe('MemoryManagerAdapter', () => {
  describe('releaseCached', () => {
    test.each<[string, number | undefined, number, number, number]>([
      ['cleans up when all that it caches may go', 100, 1, 100, 1],
      ['does nothing when more is cached than may go', 101, 1, 100, 0],
      ['cleans up when nothing bounds it and it keeps no statistics', undefined, 1, ANY, 1],
      ['does nothing when it keeps no statistics and not everything may go', undefined, 1, 2 ** 50, 0],
      ['does nothing when nothing is cached', 0, 1, ANY, 0],
      ['does nothing when nothing is wanted', 100, 0, ANY, 0],
      ['does nothing when nothing may go', 0, 1, -1, 0],
    ])('%s', (_, cachedBytes, wanted, most, cleanups) => {
      const manager = new CountingManager();
      manager.cachedBytes = cachedBytes;
      manager.releaseCached(0, wanted, most);
      expect(manager.cleanups).toBe(cleanups);
    });
  });
});
