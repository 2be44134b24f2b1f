import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CudaDevice } from '../../adapters/devices/cuda.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CAllocatorHost } from '../../adapters/hosts/c-allocator/index.js';
import {
  ArenaMemoryManager,
  CachingMemoryManager,
  GuardedMemoryManager,
  LimitingMemoryManager,
  LruMemoryManager,
  TrackingMemoryManager,
} from '../../managers/index.js';
import { KiB, type MemoryManagerAdapter, MemoryManagerDeviceInterface, MemoryRuntime, MiB } from '../../src/index.js';
import { PlainManager } from '../core/fakes.js';

const table = () => new MemoryManagerDeviceInterface();

/** A runtime over a simulated device, with a manager. */
function runtimeWith(manager: MemoryManagerAdapter, deviceCount = 1): MemoryRuntime {
  const runtime = new MemoryRuntime(new SimulatedDevice({ deviceCount }), { exitReport: false });
  runtime.slot.install(manager);
  return runtime;
}

describe('util.inspect', () => {
  test('says what a manager holds, device by device', () => {
    const manager = new CachingMemoryManager(2, table());
    using runtime = runtimeWith(manager, 2);
    expect(inspect(manager)).toBe(
      'CachingMemoryManager { device 0: 0 B allocated in 0 blocks, 0 B reserved; device 1: 0 B allocated in 0 blocks, 0 B reserved }',
    );
    using _block = runtime.allocate(12 * MiB);
    manager.removeMemoryManagement(1);
    expect(inspect(manager)).toBe('CachingMemoryManager { device 0: 12.00 MiB allocated in 1 block, 12.00 MiB reserved }');
  });

  test('says that a manager is not installed, drains or has stopped', () => {
    const manager = new ArenaMemoryManager(1, table());
    expect(inspect(manager)).toBe('ArenaMemoryManager { not installed, device 0: 0 B allocated in 0 blocks, 0 B reserved }');
    using runtime = runtimeWith(manager);
    const block = runtime.allocate(KiB);
    runtime.slot.install(new LruMemoryManager(1, table()));
    expect(inspect(manager)).toBe('ArenaMemoryManager { draining, device 0: 1.00 KiB allocated in 1 block, 1.00 MiB reserved }');
    expect(inspect(runtime)).toBe(
      'MemoryRuntime { simulated, active: LruMemoryManager, 1 draining, 1 live block, 1.00 MiB reserved }',
    );
    block.dispose();
    expect(inspect(manager)).toMatch(/^ArenaMemoryManager \{ stopped, /);
  });

  test('says what a decorator does, and what is inside', () => {
    const manager = new LimitingMemoryManager(new TrackingMemoryManager(new CachingMemoryManager(1, table())), {
      limitBytes: MiB,
    });
    using runtime = runtimeWith(manager);
    using _block = runtime.allocate(KiB);
    expect(inspect(manager)).toBe(
      'LimitingMemoryManager { Used: 1.00 KiB of 1.00 MiB, 1 of any number of blocks, ' +
        'TrackingMemoryManager { Tracked: 1 live block of 1 allocation, ' +
        'CachingMemoryManager { device 0: 1.00 KiB allocated in 1 block, 2.00 MiB reserved } } }',
    );
  });

  test('says what a program-defined manager can tell, with nothing in the subclass', () => {
    class Counting extends PlainManager {
      override liveBlockCount(): number {
        return this.liveBlocks;
      }
    }
    class Failing extends PlainManager {
      override stats(): never {
        throw new Error('the counters are gone');
      }
    }
    using _runtime = runtimeWith(new Counting());
    expect(inspect(_runtime.slot.active)).toBe('Counting { 0 live blocks }');
    expect(inspect(new PlainManager())).toBe('PlainManager { not installed }');
    expect(inspect(new Failing())).toBe('Failing { the counters are gone }');
  });

  test('says of a runtime or host what is active and held, before the first allocation and after close too', () => {
    const runtime = new MemoryRuntime(new CpuDevice(), { exitReport: false });
    expect(inspect(runtime)).toBe('MemoryRuntime { cpu, active: none yet, 0 live blocks, 0 B reserved }');
    runtime.slot.install(new CachingMemoryManager(1, table()));
    runtime.allocate(KiB);
    runtime.allocate(KiB, { pinned: true });
    expect(inspect(runtime)).toBe(
      'MemoryRuntime { cpu, active: CachingMemoryManager, 1 live block, 2.00 MiB reserved, ' +
        'pinned active: DefaultMemoryManager, pinned 1 live block, pinned 1.00 KiB reserved }',
    );
    runtime.close();
    expect(inspect(runtime)).toBe('MemoryRuntime { cpu, closed, 0 live blocks, 0 B reserved }');
    using host = new CAllocatorHost();
    expect(inspect(host)).toBe('CAllocatorHost { cpu, active: none yet, 0 live blocks, 0 B reserved }');
  });

  test('says of a slot who is active and what is held', () => {
    const runtime = new MemoryRuntime(new CpuDevice(), { exitReport: false });
    runtime.slot.install(new CachingMemoryManager(1, table()));
    const block = runtime.allocate(KiB);
    expect(inspect(runtime.slot)).toBe('ManagerSlot { ordinary, active: CachingMemoryManager, 1 live block, 2.00 MiB reserved }');
    runtime.slot.install(new LruMemoryManager(1, table()));
    expect(inspect(runtime.slot)).toBe(
      'ManagerSlot { ordinary, active: LruMemoryManager, 1 draining, 1 live block, 2.00 MiB reserved }',
    );
    block.dispose();
    expect(inspect(runtime.pinnedSlot)).toBe('ManagerSlot { pinned, active: none yet, 0 live blocks, 0 B reserved }');
    runtime.close();
    expect(inspect(runtime.slot)).toBe('ManagerSlot { ordinary, closed, 0 live blocks, 0 B reserved }');
  });

  test('says of a device what is live, and loads no library for it', () => {
    const device = new CpuDevice();
    const ptr = device.nativeAlloc(12 * MiB);
    expect(inspect(device)).toBe('CpuDevice { cpu, 12.00 MiB live }');
    device.nativeFree(ptr);
    expect(inspect(new CudaDevice({ library: 'libnone.so' }))).toBe('CudaDevice { cuda, 0 B live }');
  });

  test("says where a handle's block is and how large, or that it has none, and why", () => {
    using runtime = runtimeWith(new CachingMemoryManager(1, table()));
    const block = runtime.allocate(MiB);
    const place = `simulated 0x${block.ptr.toString(16)}, 1.00 MiB`;
    expect(inspect(block)).toBe(`Allocation { ${place} }`);
    const moved = block.move();
    expect([inspect(block), inspect(moved)]).toEqual(['Allocation { moved }', `Allocation { ${place} }`]);
    const shared = moved.share();
    expect([inspect(moved), inspect(shared)]).toEqual(['Allocation { moved }', `SharedHandle { ${place} }`]);
    const other = shared.share();
    expect(inspect(other)).toBe(`SharedHandle { ${place}, 2 owners }`);
    const last = shared.move();
    for (const handle of [other, last]) handle.dispose();
    expect([inspect(shared), inspect(last)]).toEqual(['SharedHandle { moved }', 'SharedHandle { disposed }']);
    const open = runtime.allocate(1);
    runtime.close();
    expect(inspect(open)).toBe('Allocation { disposed }');
  });

  test('writes statistics in one line with units, and leaves the numbers as they are for everybody else', () => {
    const inner = new CachingMemoryManager(1, table());
    using runtime = runtimeWith(inner);
    using _block = runtime.allocate(1000);
    const stats = runtime.stats()!;
    expect(inspect(stats)).toBe(
      'MemoryStatsSnapshot { requested 1000 B, allocated 1.00 KiB, active 1.00 KiB, reserved 2.00 MiB, cached 2.00 MiB, ' +
        'blocks 1, allocations 1, native allocs 1 }',
    );
    expect(inspect([{ stats }])).toContain('stats: MemoryStatsSnapshot { requested');
    expect(structuredClone(stats)).toEqual(stats);
    expect(Reflect.ownKeys({ ...stats }).every((key) => typeof key === 'string')).toBe(true);
  });

  test('writes the statistics of a guarding decorator, too', () => {
    const device = new CpuDevice();
    using runtime = new MemoryRuntime(device, { exitReport: false });
    runtime.slot.install(new GuardedMemoryManager(new CachingMemoryManager(1, table()), { memory: device }));
    using _block = runtime.allocate(1000);
    expect(inspect(runtime.stats())).toMatch(/^MemoryStatsSnapshot \{ requested 1000 B, allocated 1000 B, /);
  });
});
