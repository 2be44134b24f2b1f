import { describe, expect, test } from 'vitest';
import { DefaultMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { installed, memoryError, PlainManager, simulatedRuntime } from './fakes.js';

const MANAGERS: readonly [string, () => MemoryManagerAdapter][] = [
  ['counts its blocks', () => new DefaultMemoryManager(1, new MemoryManagerDeviceInterface())],
  ['does not count its blocks', () => new PlainManager()],
];

function errorOf(work: () => void): unknown {
  try {
    work();
    return undefined;
  } catch (error) {
    return error;
  }
}

describe('ManagerSlot', () => {
  describe('install', () => {
    test.each(MANAGERS)('there and back again from inside an allocation leaves the block with a manager that %s', (_, create) => {
      const { device, runtime } = simulatedRuntime();
      const { slot } = runtime;
      const manager = installed(create(), runtime);
      device.failWhen(() => {
        device.failWhen(undefined);
        slot.install(new PlainManager());
        slot.install(manager);
        return false;
      });
      const ptr = slot.alloc(100, true);
      expect([slot.active, slot.draining, slot.liveBlocks]).toEqual([manager, [], 1]);
      slot.install(new PlainManager());
      expect(manager.lifecycle.state).toBe('draining');
      slot.unlock(ptr, true);
      expect([manager.lifecycle.state, device.liveBytes]).toEqual(['stopped', 0]);
    });

    test('serves the first allocation when a swap listener calls it', () => {
      const { device, runtime } = simulatedRuntime();
      const { slot } = runtime;
      const manager = new PlainManager();
      runtime.events.on('swap', () => {
        if (slot.installed !== manager) slot.install(manager);
      });
      const ptr = slot.alloc(100, true);
      expect([slot.active, slot.liveBlocks, slot.allocated(ptr)]).toEqual([manager, 1, 100]);
      slot.unlock(ptr, true);
      expect(device.liveBytes).toBe(0);
    });
  });

  describe('close', () => {
    test('from a swap listener ends the first allocation before it gets memory', () => {
      const { device, runtime } = simulatedRuntime();
      runtime.events.on('swap', () => runtime.slot.close());
      expect(() => runtime.slot.alloc(100, true)).toThrow(memoryError('ERR_MEM_DISPOSED', { what: 'MemoryRuntime' }) as Error);
      expect([runtime.slot.closed, device.callCount]).toEqual([true, 0]);
    });

    test.each(MANAGERS)('is refused from inside an allocation of a manager that %s', (_, create) => {
      const { device, runtime } = simulatedRuntime();
      const { slot } = runtime;
      const manager = installed(create(), runtime);
      const attempts: unknown[] = [];
      device.failWhen(() => {
        attempts.push(errorOf(() => slot.close()));
        return false;
      });
      const ptr = slot.alloc(100, true);
      device.failWhen(undefined);
      expect(attempts).toEqual([memoryError('ERR_MEM_REENTRANT', { operation: 'close' })]);
      expect([slot.liveBlocks, slot.allocated(ptr) >= 100]).toEqual([1, true]);
      slot.close();
      expect([manager.lifecycle.state, device.liveBytes]).toEqual(['stopped', 0]);
    });
  });
});
