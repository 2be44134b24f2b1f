import { describe, expect, test, vi } from 'vitest';
import { type SimulatedCallName, SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  ArenaMemoryManager,
  BuddyMemoryManager,
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
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { KiB, MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';

/** The calls that take memory. */
const TAKING: ReadonlySet<SimulatedCallName> = new Set(['nativeFree', 'decommit', 'release']);

const table = () => new MemoryManagerDeviceInterface();
const MANAGERS: readonly [string, boolean, () => MemoryManagerAdapter][] = [
  ['caching', false, () => new CachingMemoryManager(2, table())],
  ['tlsf', false, () => new TlsfMemoryManager(2, table())],
  ['pool of pages', true, () => new PoolMemoryManager(2, table(), { slack: 10 })],
  ['pool of segments', false, () => new PoolMemoryManager(2, table(), { slack: 10 })],
  ['pytorch', false, () => new PyTorchMemoryManager(2, table())],
  ['pytorch with expandable segments', true, () => new PyTorchMemoryManager(2, table(), { conf: 'expandable_segments:True' })],
  ['default', false, () => new DefaultMemoryManager(2, table(), { maxBuffers: MiB })],
  ['lru', false, () => new LruMemoryManager(2, table())],
  ['arena', false, () => new ArenaMemoryManager(2, table())],
  ['slab', false, () => new SlabMemoryManager(2, table(), { cellBytes: MiB, slabBytes: MiB })],
  ['buddy', false, () => new BuddyMemoryManager(2, table())],
];

/** A manager of two devices, and what stream 0 of the first and another have yet to do at each call that takes memory. */
function benchOf(virtual: boolean, create: () => MemoryManagerAdapter) {
  const device = new SimulatedDevice({ deviceCount: 2, virtual, streams: true });
  const streams = device.streams!;
  const runtime = new MemoryRuntime(device, { exitReport: false });
  const manager = create();
  new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
  const own = streams.defaultStream(0);
  const other = streams.create();
  const pending: number[] = [];
  const bench = {
    device,
    manager,
    slot: runtime.slot,
    runtime,
    streams,
    own,
    other,
    pending,
    /** What a call that takes memory does before it returns. */
    inside: () => {},
    /** Allocates blocks on the first device, lets its stream 0 work on them, and frees them. */
    use: (sizes: readonly number[]) => {
      device.activate(0);
      const blocks = sizes.map((bytes) => bench.slot.alloc(bytes, true));
      for (const ptr of blocks) {
        streams.submit(own);
        bench.slot.unlock(ptr, true);
      }
    },
  };
  device.failWhen(({ name }) => {
    if (!TAKING.has(name)) return false;
    pending.push(streams.pending(own) + streams.pending(other));
    bench.inside();
    return false;
  });
  return bench;
}

describe.each(MANAGERS)('%s gives no memory back that stream 0 of its device works on', (_, virtual, create) => {
  test.each([
    ['at a cleanup', (it: ReturnType<typeof benchOf>) => it.slot.signalMemoryCleanup()],
    ['at its shutdown', (it: ReturnType<typeof benchOf>) => it.slot.install(new TlsfMemoryManager(2, table()))],
    ['when the device is removed', (it: ReturnType<typeof benchOf>) => it.manager.removeMemoryManagement(0)],
  ])('%s, while another device is active', (__, giveBack) => {
    const it = benchOf(virtual, create);
    it.use([MiB, 4 * MiB]);
    it.device.activate(1);
    giveBack(it);
    expect(it.pending.length).toBeGreaterThan(0);
    expect(it.pending).toEqual(it.pending.map(() => 0));
    expect(it.device.liveBytesOf(0)).toBe(0);
  });

  test('when the runtime is closed, and live blocks go, too', () => {
    const it = benchOf(virtual, create);
    it.use([MiB]);
    const live = it.slot.alloc(64 * KiB, true);
    it.streams.submit(it.own, () => it.device.fill(live, 0, 64 * KiB));
    it.device.activate(1);
    it.runtime.close();
    expect(it.pending.length).toBeGreaterThan(0);
    expect(it.pending).toEqual(it.pending.map(() => 0));
    expect([it.device.liveBytes, it.streams.liveEvents]).toEqual([0, 0]);
  });

  test('when the runtime is closed, the device refuses to take back live blocks, and takes them later', () => {
    const it = benchOf(virtual, create);
    it.slot.alloc(64 * KiB, true);
    it.streams.submit(it.own);
    let refuses = true;
    it.device.failWhen(({ name }) => {
      if (!TAKING.has(name)) return false;
      it.pending.push(it.streams.pending(it.own));
      return refuses && new Error('refused');
    });
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    expect(it.runtime.close().refusedBytes).toBeGreaterThan(0);
    refuses = false;
    it.runtime.close();
    warn.mockRestore();
    expect(it.pending.length).toBeGreaterThan(1);
    expect(it.pending).toEqual(it.pending.map(() => 0));
    expect(it.device.liveBytes).toBe(0);
  });

  test('when the device refuses memory', () => {
    const it = benchOf(virtual, create);
    const kept = it.slot.alloc(64 * KiB, true);
    it.use([MiB, 4 * MiB]);
    it.device.failNext(1);
    it.slot.unlock(it.slot.alloc(40 * MiB, true), true);
    expect(it.pending.length).toBeGreaterThan(0);
    expect(it.pending).toEqual(it.pending.map(() => 0));
    it.slot.unlock(kept, true);
  });
});

describe.each(MANAGERS.slice(0, 4))('%s gives no memory back that stream 0 of its device works on', (_, virtual, create) => {
  test('nor another stream that was named to it, when the runtime is closed; one that was closed does not hinder that', () => {
    const it = benchOf(virtual, create);
    const closed = it.device.createStream();
    const blocks = [it.other, closed.id].map((stream) => it.slot.alloc(MiB, true, 0, stream));
    const shared = it.slot.alloc(MiB, true);
    it.slot.recordStream(shared, it.other);
    let filled = 0;
    for (const ptr of [...blocks, shared]) {
      it.streams.submit(it.other, () => {
        // Throws where no memory is.
        it.device.fill(ptr, 0, MiB);
        filled++;
      });
    }
    closed[Symbol.dispose]();
    it.runtime.close();
    expect([filled, it.device.liveBytes, it.streams.liveEvents]).toEqual([3, 0, 0]);
  });

  test('also when that work began inside of a call before', () => {
    const it = benchOf(virtual, create);
    it.use([MiB, 2 * MiB, 4 * MiB, 8 * MiB]);
    it.inside = () => {
      it.inside = () => {};
      it.use([MiB, 2 * MiB, 4 * MiB]);
    };
    it.slot.signalMemoryCleanup();
    it.slot.signalMemoryCleanup();
    expect(it.pending.length).toBeGreaterThan(1);
    expect(it.pending).toEqual(it.pending.map(() => 0));
    expect(it.device.liveBytesOf(0)).toBe(0);
  });
});
