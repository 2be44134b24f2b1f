import { describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  ArenaMemoryManager,
  BuddyMemoryManager,
  CachingMemoryManager,
  DefaultMemoryManager,
  GuardedMemoryManager,
  LruMemoryManager,
  PoolMemoryManager,
  PyTorchMemoryManager,
  SlabMemoryManager,
  StatisticsMemoryManager,
  TlsfMemoryManager,
} from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { KiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { memoryError } from '../core/fakes.js';
import { FakeGuardMemory } from './guard-memory-fake.js';

const table = () => new MemoryManagerDeviceInterface();
const MANAGERS: Readonly<Record<string, () => MemoryManagerAdapter>> = {
  caching: () => new CachingMemoryManager(1, table()),
  tlsf: () => new TlsfMemoryManager(1, table()),
  pool: () => new PoolMemoryManager(1, table()),
  pytorch: () => new PyTorchMemoryManager(1, table()),
  'default in debug mode': () => new DefaultMemoryManager(1, table(), { debug: true }),
  default: () => new DefaultMemoryManager(1, table()),
  lru: () => new LruMemoryManager(1, table()),
  arena: () => new ArenaMemoryManager(1, table(), { regionBytes: 64 * KiB }),
  slab: () => new SlabMemoryManager(1, table(), { cellBytes: 16 * KiB }),
  buddy: () => new BuddyMemoryManager(1, table()),
  'statistics around tlsf': () => new StatisticsMemoryManager(new TlsfMemoryManager(1, table())),
  'guarded around caching': () =>
    new GuardedMemoryManager(new CachingMemoryManager(1, table()), { memory: new FakeGuardMemory() }),
};

/** A runtime in which the first native call of the manager first makes `call`, once that is set. */
function opened(create: () => MemoryManagerAdapter) {
  const device = new SimulatedDevice();
  const runtime = new MemoryRuntime(device, { exitReport: false });
  const manager = create();
  runtime.slot.install(manager);
  const inside: { call: (() => void) | undefined } = { call: undefined };
  device.failWhen(() => {
    const { call } = inside;
    inside.call = undefined;
    call?.();
    return false;
  });
  return { device, runtime, slot: runtime.slot, manager, inside };
}

describe.each(Object.entries(MANAGERS))('%s', (_, create) => {
  test('drains when it is replaced from inside an allocation, and stops at the free of the block', () => {
    const { device, runtime, slot, manager, inside } = opened(create);
    inside.call = () => slot.install(new DefaultMemoryManager(1, table()));
    const ptr = slot.alloc(10 * KiB, true);
    expect(manager.lifecycle.state).toBe('draining');
    device.fill(ptr, 1, 10 * KiB);
    slot.unlock(ptr, true);
    expect([manager.lifecycle.state, slot.draining, device.liveBytes]).toEqual(['stopped', [], 0]);
    runtime.close();
  });

  test('stops after an allocation that fails when it is replaced from inside', () => {
    const { runtime, slot, manager, inside } = opened(create);
    inside.call = () => {
      slot.install(new DefaultMemoryManager(1, table()));
      throw new MemoryError('ERR_MEM_DISPOSED', { what: 'context' });
    };
    expect(() => slot.alloc(10 * KiB, true)).toThrow(memoryError('ERR_MEM_DISPOSED'));
    expect([manager.lifecycle.state, slot.draining]).toEqual(['stopped', []]);
    runtime.close();
  });

  test('stops after a cleanup, or a free, from inside which it was replaced', () => {
    const { device, runtime, slot, manager, inside } = opened(create);
    const ptr = slot.alloc(10 * KiB, true);
    inside.call = () => slot.install(new DefaultMemoryManager(1, table()));
    slot.unlock(ptr, true);
    slot.signalMemoryCleanup();
    expect([manager.lifecycle.state, slot.draining, device.liveBytes]).toEqual(['stopped', [], 0]);
    runtime.close();
  });

  test('refuses the end of the slot from inside an allocation', () => {
    const { runtime, slot, inside } = opened(create);
    const errors: unknown[] = [];
    inside.call = () => {
      try {
        runtime.close();
      } catch (error) {
        errors.push(error);
      }
    };
    slot.unlock(slot.alloc(10 * KiB, true), true);
    expect(errors).toEqual([memoryError('ERR_MEM_REENTRANT', { operation: 'close' })]);
    runtime.close();
  });
});
