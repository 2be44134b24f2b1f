import { describe, expect, test, vi } from 'vitest';
import { DefaultMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { MiB } from '../../src/core/units.js';
import { installed, memoryError, PlainManager, simulatedRuntime } from './fakes.js';

/** Runs what a test wants at the beginning or the end of its life. */
class ScriptedManager extends PlainManager {
  onInitialize: () => void = () => {};
  onShutdown: () => void = () => {};

  override initialize(): void {
    super.initialize();
    this.onInitialize();
  }

  override shutdown(): void {
    super.shutdown();
    this.onShutdown();
  }
}

const caching = () => new DefaultMemoryManager(1, new MemoryManagerDeviceInterface());

describe('ManagerSlot', () => {
  describe('install', () => {
    test('makes a created manager active and initialises it', () => {
      const { runtime } = simulatedRuntime();
      const manager = new PlainManager();
      expect([manager.lifecycle.state, manager.initialized]).toEqual(['created', 0]);
      runtime.slot.install(manager);
      expect([manager.lifecycle.state, manager.initialized]).toEqual(['active', 1]);
      expect(runtime.slot.active).toBe(manager);
      expect(runtime.slot.installed).toBe(manager);
    });

    test('leaves the active manager as it is', () => {
      const { runtime } = simulatedRuntime();
      const swaps = vi.fn();
      const manager = installed(new PlainManager(), runtime);
      runtime.events.on('swap', swaps);
      runtime.slot.install(manager);
      expect([manager.lifecycle.state, manager.initialized]).toEqual(['active', 1]);
      expect(swaps).not.toHaveBeenCalled();
    });

    test('stops the manager before at once when it has no live block', () => {
      const { runtime } = simulatedRuntime();
      const first = installed(new PlainManager(), runtime);
      installed(new PlainManager(), runtime);
      expect([first.lifecycle.state, first.stopped]).toEqual(['stopped', 1]);
      expect(runtime.slot.draining).toEqual([]);
    });

    test('lets the manager before drain until its last block is free', () => {
      const { runtime } = simulatedRuntime();
      const first = installed(new PlainManager(), runtime);
      const [a, b] = [runtime.slot.alloc(100, true), runtime.slot.alloc(200, false)];
      const second = installed(new PlainManager(), runtime);
      expect(runtime.slot.draining).toEqual([first]);
      runtime.slot.unlock(a, true);
      expect([first.lifecycle.state, first.stopped]).toEqual(['draining', 0]);
      runtime.slot.unlock(b, false);
      expect([first.lifecycle.state, first.stopped]).toEqual(['stopped', 1]);
      expect(runtime.slot.draining).toEqual([]);
      expect([second.lifecycle.state, second.liveBlocks]).toEqual(['active', 0]);
    });

    test('makes a draining manager active again without a second initialize', () => {
      const { runtime } = simulatedRuntime();
      const first = installed(new PlainManager(), runtime);
      const ptr = runtime.slot.alloc(100, true);
      const second = installed(new PlainManager(), runtime);
      installed(first, runtime);
      expect([first.lifecycle.state, first.initialized, first.stopped]).toEqual(['active', 1, 0]);
      expect(second.lifecycle.state).toBe('stopped');
      expect(runtime.slot.draining).toEqual([]);
      runtime.slot.unlock(ptr, true);
      expect(first.lifecycle.state).toBe('active');
      runtime.slot.unlock(runtime.slot.alloc(100, true), true);
      expect(first.liveBlocks).toBe(0);
    });

    test('refuses a stopped manager and changes nothing', () => {
      const { runtime } = simulatedRuntime();
      const first = installed(new PlainManager(), runtime);
      const second = installed(new PlainManager(), runtime);
      expect(() => runtime.slot.install(first)).toThrow(
        memoryError('ERR_MEM_LIFECYCLE', { manager: 'PlainManager', from: 'stopped', to: 'active' }),
      );
      expect(runtime.slot.active).toBe(second);
      expect([first.lifecycle.state, first.initialized]).toEqual(['stopped', 1]);
    });

    test.each(['active', 'draining'] as const)('refuses a manager that is %s in another slot', (state) => {
      const { runtime } = simulatedRuntime();
      const { runtime: other } = simulatedRuntime();
      const manager = installed(new PlainManager(), runtime);
      runtime.slot.alloc(100, true);
      if (state === 'draining') installed(new PlainManager(), runtime);
      for (const slot of [other.slot, runtime.pinnedSlot]) {
        expect(() => slot.install(manager)).toThrow(memoryError('ERR_MEM_TABLE_IN_USE', { manager: 'PlainManager' }));
        expect(slot.active).toBeNull();
      }
      expect([manager.lifecycle.state, manager.initialized]).toEqual([state, 1]);
    });

    test('refuses a table that serves another manager, until that one has stopped', () => {
      const { runtime } = simulatedRuntime();
      const first = installed(new PlainManager(), runtime);
      const ptr = runtime.slot.alloc(100, true);
      const second = new PlainManager(first.deviceInterface);
      expect(() => runtime.slot.install(second)).toThrow(memoryError('ERR_MEM_TABLE_IN_USE', { manager: 'PlainManager' }));
      expect([second.lifecycle.state, second.initialized]).toEqual(['created', 0]);
      expect(runtime.slot.active).toBe(first);
      runtime.slot.unlock(ptr, true);
      installed(new PlainManager(), runtime);
      runtime.slot.install(second);
      expect(second.lifecycle.state).toBe('active');
    });

    test.each(['initialize', 'shutdown'] as const)('throws from inside %s, as unset and close do', (place) => {
      const { runtime } = simulatedRuntime();
      const { slot } = runtime;
      const codes: unknown[] = [];
      const change = () => {
        for (const action of [() => slot.install(new PlainManager()), () => slot.unset(), () => slot.close()]) {
          try {
            action();
            codes.push('none');
          } catch (error) {
            codes.push((error as { facts: { operation: string } }).facts.operation);
          }
        }
      };
      const manager = new ScriptedManager();
      if (place === 'initialize') manager.onInitialize = change;
      else manager.onShutdown = change;
      installed(manager, runtime);
      const next = installed(new PlainManager(), runtime);
      expect(codes).toEqual(['install', 'unset', 'close']);
      expect(slot.active).toBe(next);
      installed(new PlainManager(), runtime);
      expect(next.lifecycle.state).toBe('stopped');
    });

    test('stays closed to changes when a draining manager stops inside initialize', () => {
      const { runtime } = simulatedRuntime();
      installed(new PlainManager(), runtime);
      const ptr = runtime.slot.alloc(100, true);
      installed(new PlainManager(), runtime);
      const manager = new ScriptedManager();
      manager.onInitialize = () => {
        runtime.slot.unlock(ptr, true);
        runtime.slot.install(new PlainManager());
      };
      expect(() => runtime.slot.install(manager)).toThrow(memoryError('ERR_MEM_REENTRANT', { operation: 'install' }));
      expect(runtime.slot.draining).toEqual([]);
    });

    test('leaves all as it was when initialize throws', () => {
      const { device, runtime } = simulatedRuntime();
      const first = installed(new PlainManager(), runtime);
      const ptr = runtime.slot.alloc(100, true);
      const manager = new ScriptedManager();
      manager.onInitialize = () => {
        manager.deviceInterface.nativeAlloc(5000);
        throw new Error('no such tensor core');
      };
      const events = vi.fn();
      runtime.events.on('swap', events).on('stopped', events);
      expect(() => runtime.slot.install(manager)).toThrow('no such tensor core');
      expect(runtime.slot.active).toBe(first);
      expect(runtime.slot.installed).toBe(first);
      expect(manager.lifecycle.state).toBe('created');
      expect(runtime.slot.draining).toEqual([]);
      expect(device.liveBytes).toBe(100);
      expect(events).not.toHaveBeenCalled();
      // The manager and its table may be used again, here or elsewhere.
      manager.onInitialize = () => {};
      installed(manager, simulatedRuntime().runtime);
      expect(manager.lifecycle.state).toBe('active');
      runtime.slot.unlock(ptr, true);
    });

    test('swaps when shutdown of the manager before throws, frees what it left, and warns', async () => {
      const { device, runtime } = simulatedRuntime();
      const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      const first = new ScriptedManager();
      first.onShutdown = () => {
        throw new Error('the driver is gone');
      };
      installed(first, runtime);
      first.deviceInterface.nativeAlloc(4096);
      const stopped = vi.fn();
      runtime.events.on('stopped', stopped);
      const second = installed(new PlainManager(), runtime);
      expect(runtime.slot.active).toBe(second);
      expect(first.lifecycle.state).toBe('stopped');
      expect(stopped).toHaveBeenCalledWith({ slot: 'ordinary', manager: first });
      expect(device.liveBytes).toBe(0);
      expect(warnings).toHaveBeenCalledWith(expect.objectContaining({ message: 'the driver is gone' }));
      warnings.mockRestore();
    });

    test('gives back what the manager before caches, though it has live blocks', () => {
      const { device, runtime } = simulatedRuntime();
      installed(caching(), runtime);
      const live = runtime.slot.alloc(MiB, true);
      runtime.slot.unlock(runtime.slot.alloc(2 * MiB, true), true);
      expect(device.liveBytes).toBe(3 * MiB);
      installed(new PlainManager(), runtime);
      expect(device.liveBytes).toBe(MiB);
      runtime.slot.unlock(live, true);
      expect(device.liveBytes).toBe(0);
    });

    test('emits a swap event that names both managers, after the change', () => {
      const { runtime } = simulatedRuntime();
      const events: unknown[] = [];
      runtime.events.on('swap', (event) => events.push({ ...event, active: runtime.slot.active }));
      const first = installed(new PlainManager(), runtime);
      const second = installed(new PlainManager(), runtime);
      expect(events).toEqual([
        { slot: 'ordinary', current: first, previous: null, active: first },
        { slot: 'ordinary', current: second, previous: first, active: second },
      ]);
    });
  });

  describe('stopped event', () => {
    test('comes once for each manager, when its last block is free', () => {
      const { runtime } = simulatedRuntime();
      const stopped: unknown[] = [];
      runtime.events.on('stopped', (event) => stopped.push(event));
      const first = installed(new PlainManager(), runtime);
      const ptr = runtime.slot.alloc(1, true);
      installed(new PlainManager(), runtime);
      expect(stopped).toEqual([]);
      runtime.slot.unlock(ptr, true);
      expect(stopped).toEqual([{ slot: 'ordinary', manager: first }]);
      runtime.close();
      expect(stopped).toHaveLength(2);
    });
  });

  describe('unset', () => {
    test('goes back to the host default, and does nothing when none is installed', () => {
      const { runtime } = simulatedRuntime();
      runtime.slot.unset();
      expect(runtime.slot.active).toBeNull();
      const manager = installed(new PlainManager(), runtime);
      const ptr = runtime.slot.alloc(1, true);
      runtime.slot.unset();
      const fallback = runtime.slot.active;
      expect(fallback).not.toBe(manager);
      expect(runtime.slot.installed).toBeNull();
      expect(runtime.slot.draining).toEqual([manager]);
      runtime.slot.unset();
      expect(runtime.slot.active).toBe(fallback);
      runtime.slot.unlock(ptr, true);
      expect(manager.lifecycle.state).toBe('stopped');
    });

    test('lets the default be installed by hand', () => {
      const { runtime } = simulatedRuntime();
      runtime.slot.alloc(1, true);
      runtime.slot.unset();
      const fallback = runtime.slot.active;
      expect(runtime.slot.installed).toBeNull();
      runtime.slot.install(fallback as PlainManager);
      expect(runtime.slot.installed).toBe(fallback);
    });
  });

  describe('close', () => {
    test('frees live blocks of all managers and shuts each down', () => {
      const { device, runtime } = simulatedRuntime();
      const managers = Array.from({ length: 4 }, (_, i) => {
        const manager = installed(new PlainManager(), runtime);
        runtime.slot.alloc(1000 + i, true);
        return manager;
      });
      runtime.slot.close();
      expect(managers.map(({ lifecycle, stopped }) => [lifecycle.state, stopped])).toEqual(Array(4).fill(['stopped', 1]));
      expect(device.liveBytes).toBe(0);
      expect(runtime.slot.nativeFrees).toBe(4);
      expect(runtime.slot.nativeAllocs).toBe(4);
      expect([runtime.slot.active, runtime.slot.installed, runtime.slot.closed]).toEqual([null, null, true]);
    });

    test('refuses everything that would need a manager afterwards', () => {
      const { runtime } = simulatedRuntime();
      const ptr = runtime.slot.alloc(1, true);
      runtime.slot.close();
      const disposed = memoryError('ERR_MEM_DISPOSED', { what: 'MemoryRuntime' });
      expect(() => runtime.slot.alloc(1, true)).toThrow(disposed);
      expect(() => runtime.slot.install(new PlainManager())).toThrow(disposed);
      expect(() => runtime.slot.close()).toThrow(disposed);
      expect(() => runtime.slot.unlock(ptr, true)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr }));
      expect(runtime.slot.allocated(ptr)).toBe(0);
      expect(runtime.slot.isUserLocked(ptr)).toBe(false);
    });

    test('stops the other managers when a listener throws', () => {
      const { device, runtime } = simulatedRuntime();
      for (let i = 0; i < 3; i++) {
        installed(new PlainManager(), runtime);
        runtime.slot.alloc(100, true);
      }
      runtime.events.on('stopped', () => {
        throw new Error('a bad listener');
      });
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      runtime.slot.close();
      expect(warn).toHaveBeenCalledTimes(3);
      warn.mockRestore();
      expect(device.liveBytes).toBe(0);
    });
  });

  describe('pinnedSlot', () => {
    test('has a manager, a default and memory of its own', () => {
      const { device, runtime } = simulatedRuntime();
      const ordinary = installed(new PlainManager(), runtime);
      const pinned = new PlainManager();
      new MemoryManagerInstaller(pinned, runtime).setAsMemoryManagerPinned();
      expect([runtime.slot.active, runtime.pinnedSlot.active]).toEqual([ordinary, pinned]);
      const ptr = runtime.pinnedSlot.alloc(100, true);
      expect([device.counts.pinnedAlloc, device.counts.nativeAlloc]).toEqual([1, 0]);
      expect(() => runtime.slot.unlock(ptr, true)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
      runtime.pinnedSlot.unset();
      expect(runtime.pinnedSlot.installed).toBeNull();
      expect(runtime.slot.installed).toBe(ordinary);
      runtime.pinnedSlot.unlock(ptr, true);
      expect([pinned.lifecycle.state, device.pinnedLiveBytes]).toEqual(['stopped', 0]);
    });
  });

  describe('removeMemoryManagement', () => {
    test('leaves every manager as it was when one of them is busy', () => {
      const { runtime } = simulatedRuntime();
      installed(caching(), runtime);
      const ptr = runtime.slot.alloc(100, true);
      const active = installed(caching(), runtime);
      const busy = memoryError('ERR_MEM_DEVICE_BUSY', { device: 0, liveBlocks: 1 });
      expect(() => runtime.slot.removeMemoryManagement(0)).toThrow(busy);
      expect(active.stats(0).reservedBytes.current).toBe(0);
      runtime.slot.unlock(ptr, true);
      runtime.slot.removeMemoryManagement(0);
      expect(() => runtime.slot.alloc(1, true)).toThrow(memoryError('ERR_MEM_INVALID_DEVICE', { device: 0 }));
    });
  });
});
