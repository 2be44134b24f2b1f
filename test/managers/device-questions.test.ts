import { describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import * as managers from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { installed } from '../core/fakes.js';
import { FakeGuardMemory } from './guard-memory-fake.js';

type Maker = (deviceCount: number, table: MemoryManagerDeviceInterface) => MemoryManagerAdapter;

const { SlabMemoryManager } = managers;
const MAKERS: Readonly<Record<string, Maker>> = {
  default: (count, table) => new managers.DefaultMemoryManager(count, table),
  lru: (count, table) => new managers.LruMemoryManager(count, table),
  caching: (count, table) => new managers.CachingMemoryManager(count, table),
  tlsf: (count, table) => new managers.TlsfMemoryManager(count, table),
  pool: (count, table) => new managers.PoolMemoryManager(count, table),
  pytorch: (count, table) => new managers.PyTorchMemoryManager(count, table),
  arena: (count, table) => new managers.ArenaMemoryManager(count, table),
  scratch: (count, table) => new managers.ScratchMemoryManager(count, table),
  slab: (count, table) => new SlabMemoryManager(count, table),
  buddy: (count, table) => new managers.BuddyMemoryManager(count, table),
  limiting: (count, table) => new managers.LimitingMemoryManager(new SlabMemoryManager(count, table), { limitBytes: 1e6 }),
  tracking: (count, table) => new managers.TrackingMemoryManager(new SlabMemoryManager(count, table)),
  statistics: (count, table) => new managers.StatisticsMemoryManager(new SlabMemoryManager(count, table)),
  failing: (count, table) => new managers.FailingMemoryManager(new SlabMemoryManager(count, table), { every: 1e6 }),
  guarded: (count, table) =>
    new managers.GuardedMemoryManager(new SlabMemoryManager(count, table), { memory: new FakeGuardMemory() }),
};

/** A device whose host counts what it is asked. */
class CountingDevice extends SimulatedDevice {
  readonly asked: string[] = [];

  override get activeDeviceId(): number {
    this.asked.push('activeDeviceId');
    return super.activeDeviceId;
  }

  override getMaxMemorySize(id: number): number {
    this.asked.push('getMaxMemorySize');
    return super.getMaxMemorySize(id);
  }
}

/** What a device of that many ids is asked while 100 blocks are allocated and freed that the manager has at hand. */
function askedOf(make: Maker, deviceCount: number): string[] {
  const device = new CountingDevice({ deviceCount });
  const runtime = new MemoryRuntime(device, { exitReport: false });
  installed(make(deviceCount, new MemoryManagerDeviceInterface()), runtime);
  const pair = () => runtime.slot.unlock(runtime.slot.alloc(100, true), true);
  for (let i = 0; i < 3; i++) pair();
  device.asked.length = 0;
  for (let i = 0; i < 100; i++) pair();
  const asked = device.asked.slice();
  runtime.close();
  return asked;
}

describe.each(Object.entries(MAKERS))('%s', (_, make) => {
  test('asks the only device of a host nothing while it has what is wanted', () => {
    expect(askedOf(make, 1)).toEqual([]);
  });

  test('asks which of several devices is active, and nothing else, for an allocation', () => {
    const asked = askedOf(make, 2);
    expect(asked.filter((question) => question !== 'activeDeviceId')).toEqual([]);
    // Decorators that note the device ask for themselves.
    expect(asked.length).toBeLessThanOrEqual(200);
  });
});
