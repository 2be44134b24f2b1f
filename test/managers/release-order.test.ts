import { describe, expect, test, vi } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  ArenaMemoryManager,
  BlockMemoryManager,
  CachingMemoryManager,
  DefaultMemoryManager,
  LruMemoryManager,
  PoolMemoryManager,
  PyTorchMemoryManager,
  SlabMemoryManager,
  TlsfMemoryManager,
} from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { type DevicePtr, GiB, KiB, MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { installed } from '../core/fakes.js';

const ANY = Number.POSITIVE_INFINITY;
const table = () => new MemoryManagerDeviceInterface();

/** A manager of a simulated device, and the native memory that goes back to it. */
function benchOf<M extends MemoryManagerAdapter>(create: () => M, virtual: boolean | { granularityBytes: number } = false) {
  const device = new SimulatedDevice({ virtual, streams: true });
  const runtime = new MemoryRuntime(device, { exitReport: false });
  const manager = installed(create(), runtime);
  const given: number[] = [];
  device.failWhen(({ name, bytes }) => {
    if (name === 'nativeFree' || name === 'decommit') given.push(bytes);
    return false;
  });
  const alloc = (bytes: number, stream = 0) => runtime.slot.alloc(bytes, true, 0, stream);
  const keep = (...sizes: number[]) => {
    const blocks = sizes.map((bytes) => alloc(bytes));
    for (const ptr of blocks) runtime.slot.unlock(ptr, true);
  };
  const release = (wanted: number, most = ANY) => {
    const before = device.liveBytes;
    given.length = 0;
    manager.releaseCached(0, wanted, most);
    return before - device.liveBytes;
  };
  return { device, runtime, slot: runtime.slot, manager, streams: device.streams!, given, alloc, keep, release };
}

describe('DefaultMemoryManager', () => {
  test('releaseCached gives the smallest buffer back that suffices, else the largest, and of a size the one that is kept longest', () => {
    const it = benchOf(() => new DefaultMemoryManager(1, table()));
    const [a, b, c] = [MiB, 2 * MiB, 2 * MiB].map((bytes) => it.alloc(bytes)) as [DevicePtr, DevicePtr, DevicePtr];
    for (const ptr of [c, a, b]) it.slot.unlock(ptr, true);
    expect(it.release(MiB + 1)).toBe(2 * MiB);
    // The one that was freed last is there yet.
    expect(it.alloc(2 * MiB)).toBe(b);
    expect(it.alloc(MiB)).toBe(a);
  });
});

describe('LruMemoryManager', () => {
  test('releaseCached gives the least recently used layout back first, and is no use of a layout', () => {
    const it = benchOf(() => new LruMemoryManager(1, table()));
    it.keep(MiB, MiB, 3 * MiB);
    it.keep(2 * MiB);
    expect(it.release(1)).toBe(MiB);
    expect(it.release(1)).toBe(MiB);
    expect(it.release(4 * MiB, 4 * MiB)).toBe(3 * MiB);
    expect(it.release(ANY, 2 * MiB)).toBe(2 * MiB);
    it.manager.checkInvariants();
  });
});

describe.each<[string, () => MemoryManagerAdapter]>([
  ['CachingMemoryManager', () => new CachingMemoryManager(1, table())],
  ['TlsfMemoryManager', () => new TlsfMemoryManager(1, table())],
  ['PyTorchMemoryManager', () => new PyTorchMemoryManager(1, table())],
])('%s', (_, create) => {
  test('releaseCached gives the smallest segment back that suffices, else the largest', () => {
    const it = benchOf(create);
    // Segments of 12, 14, 20 and 2 MiB.
    it.keep(1000, 12 * MiB, 14 * MiB, 2 * MiB);
    expect(it.release(1)).toBe(2 * MiB);
    expect(it.release(13 * MiB)).toBe(14 * MiB);
    expect(it.release(ANY, 19 * MiB)).toBe(12 * MiB);
    expect(it.release(21 * MiB)).toBe(20 * MiB);
  });
});

describe('PoolMemoryManager', () => {
  test('releaseCached gives back as many pages as are wanted, from the end of free memory', () => {
    const it = benchOf(() => new PoolMemoryManager(1, table(), { slack: 10 }), { granularityBytes: 16 * KiB });
    const live = it.alloc(100);
    it.keep(10 * MiB);
    const cached = it.manager.stats(0).reservedBytes.current;
    expect(it.release(MiB + 1)).toBe(MiB + 16 * KiB);
    expect(it.given).toEqual([MiB + 16 * KiB]);
    expect(it.release(MiB, MiB - 1)).toBe(MiB - 16 * KiB);
    expect(it.release(MiB, 16 * KiB - 1)).toBe(0);
    it.manager.checkInvariants();
    // What is left is one block behind the live one.
    const left = cached - 2 * MiB - 16 * KiB;
    const again = it.alloc(left);
    expect(again).toBeGreaterThan(live);
    it.slot.unlock(again, true);
    it.release(ANY);
    expect(it.device.liveBytes).toBe(16 * KiB);
    it.manager.checkInvariants();
  });

  test('releaseCached keeps all of a run of pages when the device refuses a part of it', () => {
    const it = benchOf(() => new PoolMemoryManager(1, table(), { slack: 10 }), { granularityBytes: 16 * KiB });
    it.keep(10 * MiB);
    const { reservedBytes } = it.slot;
    it.device.failWhen(({ name }) => name === 'decommit' && new Error('refused'));
    expect(() => it.manager.releaseCached(0, MiB, ANY)).toThrow('refused');
    it.manager.checkInvariants();
    expect(it.slot.reservedBytes).toBe(reservedBytes);
    const calls = it.device.callCount;
    it.slot.unlock(it.alloc(10 * MiB), true);
    expect(it.device.callCount).toBe(calls);
  });
});

describe('PyTorchMemoryManager with expandable segments', () => {
  test('releaseCached gives pages of the size of its segments back, and no private pool that is in use', () => {
    const it = benchOf(() => new PyTorchMemoryManager(1, table(), { conf: 'expandable_segments:True' }), true);
    it.keep(70 * MiB);
    expect(it.release(MiB)).toBe(20 * MiB);
    expect(it.release(30 * MiB, 39 * MiB)).toBe(20 * MiB);
    it.manager.usePool(1);
    it.keep(30 * MiB);
    expect(it.release(GiB)).toBe(40 * MiB);
    expect(it.release(GiB)).toBe(0);
    it.manager.checkInvariants();
  });
});

describe.each<[string, () => ArenaMemoryManager | SlabMemoryManager]>([
  ['ArenaMemoryManager', () => new ArenaMemoryManager(1, table(), { regionBytes: MiB })],
  ['SlabMemoryManager', () => new SlabMemoryManager(1, table(), { cellBytes: MiB, slabBytes: MiB })],
])('%s', (_, create) => {
  test('releaseCached gives the smallest region without live blocks back that suffices', () => {
    const it = benchOf(create);
    // Regions of 1, 2, 4 and 8 MiB; the second keeps a block.
    const blocks = Array.from({ length: 15 }, () => it.alloc(MiB));
    const [kept] = blocks.splice(1, 1);
    for (const ptr of blocks) it.slot.unlock(ptr, true);
    expect(it.release(2 * MiB)).toBe(4 * MiB);
    expect(it.release(ANY, 7 * MiB)).toBe(MiB);
    expect(it.release(ANY)).toBe(8 * MiB);
    expect(it.manager.allocated(kept!)).toBe(MiB);
    it.manager.checkInvariants();
  });
});

describe.each<[string, boolean, () => MemoryManagerAdapter]>([
  ['CachingMemoryManager', false, () => new CachingMemoryManager(1, table())],
  ['TlsfMemoryManager', false, () => new TlsfMemoryManager(1, table())],
  ['PoolMemoryManager of pages', true, () => new PoolMemoryManager(1, table(), { slack: 10 })],
  ['PoolMemoryManager of segments', false, () => new PoolMemoryManager(1, table(), { slack: 10 })],
])('%s with memory that streams may work on', (_, virtual, create) => {
  test('releaseCached gives what is done back, and waits for nothing', () => {
    const it = benchOf(create, virtual);
    const [busy, idle] = [it.streams.create(), it.streams.create()];
    const blocks = [busy, idle].map((stream) => it.alloc(24 * MiB, stream));
    it.streams.submit(busy);
    for (const ptr of blocks) it.slot.unlock(ptr, true);
    const wait = vi.spyOn(it.streams, 'synchronize');
    const gave = it.release(ANY, GiB);
    expect(gave).toBeGreaterThanOrEqual(24 * MiB);
    expect(it.device.liveBytes).toBeGreaterThanOrEqual(24 * MiB);
    expect([wait.mock.calls.length, it.streams.pending(busy)]).toEqual([0, 1]);
    it.streams.advanceAll();
    it.release(ANY, GiB);
    expect([it.device.liveBytes, wait.mock.calls.length]).toEqual([0, 0]);
    it.runtime.close();
  });
});

describe('PyTorchMemoryManager with a block that another stream uses', () => {
  test('releaseCached leaves it until that stream is done', () => {
    const it = benchOf(() => new PyTorchMemoryManager(1, table()));
    const other = it.streams.create();
    const used = it.alloc(24 * MiB);
    it.slot.recordStream(used, other);
    it.streams.submit(other);
    it.slot.unlock(used, true);
    expect(it.release(ANY, GiB)).toBe(0);
    expect(it.streams.pending(other)).toBe(1);
    it.streams.advanceAll();
    expect(it.release(ANY, GiB)).toBe(24 * MiB);
    it.runtime.close();
  });
});

/** A policy that keeps all, and gives all of it back whatever its bounds. */
class HoardingManager extends BlockMemoryManager {
  readonly #kept: number[] = [];

  protected place(bytes: number, alignment: number, _stream: number, device: number): number {
    return this.nativeAllocate(bytes, alignment, device, bytes);
  }

  protected reclaim(block: number): void {
    this.#kept.push(block);
  }

  protected trim(): void {
    for (const block of this.#kept.splice(0)) this.nativeRelease(block);
  }
}

describe('BlockMemoryManager whose policy does not trim in parts', () => {
  test('releaseCached gives all back or nothing', () => {
    const it = benchOf(() => new HoardingManager(1, table()));
    it.keep(MiB, 2 * MiB);
    expect(it.release(1, 2 * MiB)).toBe(0);
    expect(it.release(1, 3 * MiB)).toBe(3 * MiB);
  });
});
