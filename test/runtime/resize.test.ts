import { afterEach, describe, expect, test, vi } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  ArenaMemoryManager,
  BuddyMemoryManager,
  CachingMemoryManager,
  DefaultMemoryManager,
  GuardedMemoryManager,
  LimitingMemoryManager,
  LruMemoryManager,
  PoolMemoryManager,
  SlabMemoryManager,
  StatisticsMemoryManager,
  TlsfMemoryManager,
  TrackingMemoryManager,
} from '../../managers/index.js';
import { processState } from '../../src/core/process-state.js';
import {
  type Allocation,
  type Device,
  devicePtr,
  KiB,
  type MemoryManagerAdapter,
  MemoryManagerDeviceInterface,
  MemoryRuntime,
  MiB,
} from '../../src/index.js';
import { memoryError, PlainManager, TextSink } from '../core/fakes.js';
import { HiddenDevice } from './hidden-device.js';

const open: MemoryRuntime[] = [];

function runtimeOver<D extends Device>(device: D) {
  const runtime = new MemoryRuntime(device, { exitReport: false });
  open.push(runtime);
  return { device, runtime };
}
const cpu = () => runtimeOver(new CpuDevice()).runtime;
const simulated = (deviceCount = 1) => runtimeOver(new SimulatedDevice({ deviceCount, capacityBytes: 100 * MiB, streams: true }));
const table = () => new MemoryManagerDeviceInterface();

afterEach(() => {
  for (const runtime of open.splice(0)) {
    runtime.close();
    expect(runtime.slot.nativeFrees).toBe(runtime.slot.nativeAllocs);
  }
});

const MANAGERS: Readonly<Record<string, () => MemoryManagerAdapter>> = {
  caching: () => new CachingMemoryManager(1, table()),
  pool: () => new PoolMemoryManager(1, table()),
  tlsf: () => new TlsfMemoryManager(1, table()),
  default: () => new DefaultMemoryManager(1, table()),
  lru: () => new LruMemoryManager(1, table()),
  arena: () => new ArenaMemoryManager(1, table()),
  slab: () => new SlabMemoryManager(1, table(), { cellBytes: 4096 }),
  buddy: () => new BuddyMemoryManager(1, table()),
};
const contentOf = (block: Allocation, bytes: number) => [...new Uint8Array(block.toBuffer(0, bytes))];

describe('Allocation', () => {
  describe('resize', () => {
    test.each([
      ['that the host sees', () => new CpuDevice()],
      ['that the host cannot see', () => new HiddenDevice()],
    ])('keeps the content of memory %s, and has one block', (_, makeDevice) => {
      const { runtime } = runtimeOver(makeDevice());
      const block = runtime.allocate(4);
      block.copyFrom(Uint8Array.of(1, 2, 3, 4));
      for (const bytes of [1 * MiB, 100 * KiB, 3, 10, 3 * MiB]) {
        block.resize(bytes);
        expect([block.bytes, runtime.slot.liveBlocks, block.disposed]).toEqual([bytes, 1, false]);
        expect(contentOf(block, 3)).toEqual([1, 2, 3]);
        block.fill(0);
        block.copyFrom(Uint8Array.of(1, 2, 3));
      }
      block.dispose();
      expect(runtime.slot.liveBlocks).toBe(0);
    });

    test('stays where the block has the room, and moves when it has not, or most of it would be unused', () => {
      const { runtime } = simulated();
      runtime.slot.install(new CachingMemoryManager(1, table()));
      const block = runtime.allocate(100);
      const room = runtime.slot.allocated(block.ptr);
      expect(room).toBeGreaterThan(200);
      const { ptr } = block;
      for (const bytes of [room, 1, 200]) {
        block.resize(bytes);
        expect([block.ptr, block.bytes]).toEqual([ptr, bytes]);
      }
      block.resize(room + 1);
      expect(block.ptr).not.toBe(ptr);
      block.resize(1 * MiB);
      const large = block.ptr;
      block.resize(600 * KiB);
      expect(block.ptr).toBe(large);
      block.resize(400 * KiB);
      expect(block.ptr).not.toBe(large);
      expect(runtime.stats()?.blocks.current).toBe(1);
    });

    test('goes to no bytes and comes back', () => {
      const { runtime } = simulated();
      const block = runtime.allocate(5000);
      block.resize(0);
      expect([block.ptr, block.bytes, runtime.slot.liveBlocks]).toEqual([0, 0, 0]);
      block.resize(0);
      block.resize(100);
      expect([block.bytes, runtime.slot.liveBlocks, block.ptr > 0]).toEqual([100, 1, true]);
      block.resize(0);
      expect([block.ptr, block.bytes, runtime.slot.liveBlocks]).toEqual([0, 0, 0]);
    });

    test('shows the new place by new views alone', () => {
      const runtime = cpu();
      const block = runtime.allocate(100);
      const before = block.view();
      before.fill(7);
      block.resize(1 * MiB);
      const after = block.view();
      expect([after.length, after[99], after === before, block.view() === after]).toEqual([1 * MiB, 7, false, true]);
      after[0] = 8;
      expect(before[0]).toBe(7);
      block.resize(1 * MiB - 1);
      expect(block.view()).toHaveLength(1 * MiB - 1);
    });

    test('keeps alignment, stream, tag and pinned memory, and calls onFreed at the end alone', () => {
      const { device, runtime } = simulated();
      const statistics = new StatisticsMemoryManager(new CachingMemoryManager(1, table()));
      runtime.slot.install(statistics);
      const stream = device.createStream();
      const onFreed = vi.fn();
      const block = runtime.allocate(100, { alignment: 64 * KiB, stream, tag: 'cache', onFreed });
      runtime.tag('other', () => block.resize(5000));
      expect(block.ptr % (64 * KiB)).toBe(0);
      expect([statistics.tags, statistics.counters('cache').bytes.current]).toEqual([['cache'], 5000]);
      const { ptr } = block;
      device.streams!.submit(stream.id, () => {});
      expect(onFreed).not.toHaveBeenCalled();
      block.dispose();
      expect(onFreed).toHaveBeenCalledTimes(1);
      expect(runtime.allocate(5000, { alignment: 64 * KiB }).ptr).not.toBe(ptr);
      const pinned = runtime.allocate(100, { pinned: true });
      pinned.resize(1 * MiB);
      expect([runtime.pinnedSlot.liveBlocks, device.pinnedLiveBytes >= 1 * MiB]).toEqual([1, true]);
    });

    test('keeps what each of several blocks was asked for with, also those that were asked for in turns', () => {
      const { runtime } = simulated();
      const statistics = new StatisticsMemoryManager(new CachingMemoryManager(1, table()));
      runtime.slot.install(statistics);
      const asked = [{ tag: 'a' }, { alignment: 64 * KiB }, { tag: 'b', alignment: 128 * KiB }, {}, { pinned: true, tag: 'a' }];
      const blocks = [...asked, ...asked].map((options) => ({ ...options, block: runtime.allocate(100, options) }));
      for (const { block } of blocks) block.resize(5000);
      for (const { block, alignment = 1 } of blocks) expect(block.ptr % alignment).toBe(0);
      const bytesOf = (tag: string) => statistics.counters(tag).bytes.current;
      expect([statistics.tags, bytesOf('a'), bytesOf('b')]).toEqual([['a', 'b'], 10_000, 10_000]);
      expect(runtime.pinnedSlot.liveBlocks).toBe(2);
    });

    describe.each(Object.entries(MANAGERS))('in place, under %s', (_, make) => {
      test('is counted by the manager and by whoever wraps it', () => {
        const { device, runtime } = simulated();
        const tracking = new TrackingMemoryManager(make());
        const limiting = new LimitingMemoryManager(tracking);
        const manager = new StatisticsMemoryManager(limiting);
        runtime.slot.install(manager);
        const other = runtime.allocate(100);
        const block = runtime.tag('cache', () => runtime.allocate(3000));
        const { ptr } = block;
        const total = runtime.stats()!.requestedBytes.total;
        const requested = (bytes: number) => {
          block.resize(bytes);
          manager.checkInvariants();
          expect([block.ptr, block.bytes]).toEqual([ptr, bytes]);
          const { requestedBytes, allocatedBytes } = runtime.stats()!;
          expect(requestedBytes.current).toBe(100 + bytes);
          expect(allocatedBytes.current).toBe(limiting.usedBytes);
          expect([manager.counters().bytes.current, manager.counters('cache').bytes.current]).toEqual([100 + bytes, bytes]);
          expect(tracking.find(ptr)).toMatchObject({ requestedBytes: bytes, bytes: manager.allocated(ptr) });
          return requestedBytes;
        };
        expect(requested(2000)).toMatchObject({ peak: 3100, total });
        expect(requested(1900)).toMatchObject({ peak: 3100, total });
        const room = manager.allocated(ptr);
        expect(requested(room)).toMatchObject({ peak: Math.max(3100, 100 + room), total: total + room - 1900 });
        block.dispose();
        other.dispose();
        expect(runtime.stats()!.requestedBytes.current).toBe(0);
        manager.checkInvariants();
        runtime.close();
        expect(device.liveBytes).toBe(0);
      });
    });

    test('in place moves the guard behind the block, and is refused when that was overwritten', () => {
      const runtime = cpu();
      const guarded = new GuardedMemoryManager(new CachingMemoryManager(1, table()), { memory: runtime.device });
      runtime.slot.install(guarded);
      const block = runtime.allocate(3000);
      const { ptr } = block;
      block.resize(2000);
      expect([block.ptr, guarded.allocated(ptr), guarded.stats(0)!.requestedBytes.current]).toEqual([ptr, 2000, 2000]);
      guarded.checkInvariants();
      runtime.device.fill(devicePtr(ptr + 2000), 7, 1);
      expect(() => block.resize(1500)).toThrow(
        memoryError('ERR_MEM_CORRUPTED', { bytes: 2000, side: 'after', offsetBytes: 2000 }),
      );
      expect([block.bytes, guarded.allocated(ptr)]).toEqual([2000, 2000]);
      guarded.repair(ptr);
      block.dispose();
      guarded.checkInvariants();
    });

    test('stays on its device and with its manager, whatever is active', () => {
      const { device, runtime } = simulated(3);
      const pool = new PoolMemoryManager(3, table());
      const beside = runtime.withManager(pool, () => runtime.withDevice(2, () => runtime.allocate(100)));
      device.activate(1);
      const plain = runtime.allocate(100);
      device.activate(0);
      const manager = runtime.slot.active;
      for (const block of [beside, plain]) block.resize(1 * MiB);
      expect([beside, plain].map(({ ptr }) => device.deviceIdOf(ptr))).toEqual([2, 1]);
      expect([pool.allocated(beside.ptr) > 0, manager!.allocated(plain.ptr) > 0, device.activeDeviceId]).toEqual([true, true, 0]);
      // From a manager that drains it moves to the active one.
      runtime.slot.install(new TlsfMemoryManager(3, table()));
      plain.resize(2 * MiB);
      expect([runtime.slot.active!.allocated(plain.ptr), manager!.lifecycle.state]).toEqual([2 * MiB, 'stopped']);
      expect(device.deviceIdOf(plain.ptr)).toBe(1);
    });

    test('that finds no memory logs no unlock of a block that never was', () => {
      const { runtime } = simulated();
      const manager = new CachingMemoryManager(1, table());
      runtime.slot.install(manager);
      const block = runtime.allocate(100);
      const sink = new TextSink();
      manager.setLogStream(sink);
      manager.setLoggingEnabled(true);
      expect(() => block.resize(200 * MiB)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      manager.callLog.flush();
      expect(sink.lines).toEqual([`allocated ${block.ptr} `, `alloc ${200 * MiB} 1 0 `]);
    });

    test.each<[string, (block: Allocation) => Allocation]>([
      ['slices', (block) => block.slice(10)],
      ['shared handles', (block) => block.share().share()],
    ])('is refused while there are %s, for each of them, and allowed for the last one', (_, more) => {
      const { runtime } = simulated();
      const block = runtime.allocate(100);
      const other = more(block);
      const handles = [block, other].filter((handle) => !handle.disposed);
      for (const handle of handles) {
        expect(() => handle.resize(1 * MiB)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'owners', value: '2' }));
      }
      expect([other.disposed, runtime.slot.liveBlocks]).toEqual([false, 1]);
    });

    test('makes a block of its own of the last slice, with the content of the part', () => {
      const runtime = cpu();
      const block = runtime.allocate(100);
      block.view().forEach((_, i, bytes) => {
        bytes[i] = i;
      });
      const part = block.slice(90);
      block.dispose();
      part.resize(8);
      expect(contentOf(part, 8)).toEqual([90, 91, 92, 93, 94, 95, 96, 97]);
      part.resize(1 * MiB);
      expect([contentOf(part, 2), runtime.slot.liveBlocks]).toEqual([[90, 91], 1]);
      part.dispose();
      expect(runtime.slot.liveBlocks).toBe(0);
    });

    test.each([-1, 0.5, Number.NaN])('refuses %d bytes', (bytes) => {
      const block = simulated().runtime.allocate(100);
      expect(() => block.resize(bytes)).toThrow(memoryError('ERR_MEM_INVALID_SIZE'));
      block.dispose();
      expect(() => block.resize(1)).toThrow(memoryError('ERR_MEM_DISPOSED'));
    });

    test('changes nothing when there is no memory, and when the copy or the free fails', () => {
      const { device, runtime } = simulated();
      runtime.slot.install(new PlainManager());
      const block = runtime.allocate(1000);
      const before = [block.ptr, 1000, 1, 1000];
      const state = () => [block.ptr, block.bytes, runtime.slot.liveBlocks, device.liveBytes];
      expect(() => block.resize(200 * MiB)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      expect(state()).toEqual(before);
      device.failWhen(({ name }) => name === 'copy' && new Error('no copy'));
      expect(() => block.resize(2000)).toThrow('no copy');
      expect(state()).toEqual(before);
      let frees = 0;
      device.failWhen(({ name }) => name === 'nativeFree' && frees++ === 0 && new Error('no free'));
      expect(() => block.resize(2000)).toThrow('no free');
      expect(state()).toEqual(before);
      device.failWhen(undefined);
      block.resize(2000);
      expect(state().slice(1)).toEqual([2000, 1, 2000]);
    });

    test('finds what a listener did to the handle while it was asked for memory', () => {
      const { device, runtime } = simulated();
      runtime.slot.install(new PlainManager());
      const [block, hog] = [runtime.allocate(1000), runtime.allocate(90 * MiB)];
      runtime.events.once('oom', () => {
        block.dispose();
        hog.dispose();
      });
      expect(() => block.resize(50 * MiB)).toThrow(memoryError('ERR_MEM_DISPOSED'));
      expect([device.liveBytes, runtime.slot.liveBlocks]).toEqual([0, 0]);
      const [sliced, other] = [runtime.allocate(1000), runtime.allocate(90 * MiB)];
      runtime.events.once('oom', () => {
        sliced.slice(1);
        other.dispose();
      });
      expect(() => sliced.resize(50 * MiB)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'owners' }));
      expect([device.liveBytes, runtime.slot.liveBlocks, sliced.bytes]).toEqual([1000, 1, 1000]);
    });

    test.each<[string, string, (block: Allocation) => unknown, number]>([
      ['disposed of', 'ERR_MEM_DISPOSED', (block) => block.dispose(), 0],
      ['moved', 'ERR_MEM_DISPOSED', (block) => block.move(), 1000],
      ['shared', 'ERR_MEM_DISPOSED', (block) => block.share(), 1000],
      ['sliced', 'ERR_MEM_INVALID_ARGUMENT', (block) => block.slice(1), 1000],
    ])('leaves a block to who has it when the handle is %s while it is copied', (_, code, use, liveBytes) => {
      const { device, runtime } = simulated();
      runtime.slot.install(new PlainManager());
      const block = runtime.allocate(1000);
      let used: unknown;
      device.failWhen(({ name }) => {
        if (name === 'copy') used = use(block);
        return false;
      });
      expect(() => block.resize(2000)).toThrow(expect.objectContaining({ code }));
      device.failWhen(undefined);
      expect([device.liveBytes, runtime.slot.liveBlocks]).toEqual([liveBytes, liveBytes / 1000]);
      for (const handle of [used, block]) (handle as Allocation | undefined)?.dispose();
      expect([device.liveBytes, runtime.slot.liveBlocks]).toEqual([0, 0]);
    });

    test.each<[string, string, (block: Allocation) => unknown]>([
      ['disposed of', 'ERR_MEM_DISPOSED', (block) => block.dispose()],
      ['moved', 'ERR_MEM_DISPOSED', (block) => block.move()],
      ['sliced', 'ERR_MEM_INVALID_ARGUMENT', (block) => block.slice(1)],
      ['resized', '', (block) => block.resize(100 * KiB)],
    ])('finds what a manager did to the handle that it is told of: it is %s', (_, code, use) => {
      const { device, runtime } = simulated();
      const manager = new CachingMemoryManager(1, new MemoryManagerDeviceInterface());
      runtime.slot.install(manager);
      const block = runtime.allocate(1000);
      let used: unknown;
      vi.spyOn(manager, 'resized').mockImplementationOnce(() => {
        used = use(block);
      });
      let thrown: unknown;
      try {
        block.resize(1010);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toEqual(code === '' ? undefined : expect.objectContaining({ code }));
      if (code === '') expect(block.bytes).toBe(1010);
      for (const handle of [used, block]) (handle as Allocation | undefined)?.dispose();
      expect(runtime.slot.liveBlocks).toBe(0);
      expect(manager.stats(0)!.allocatedBytes.current).toBe(0);
      runtime.close();
      expect(device.liveBytes).toBe(0);
    });

    test('copies from where the handle has moved to when it is resized while it is copied', () => {
      const { device, runtime } = simulated();
      runtime.slot.install(new PlainManager());
      const block = runtime.allocate(1000);
      const copy = vi.spyOn(device, 'copy');
      copy.mockImplementationOnce(() => block.resize(1500));
      block.resize(2000);
      expect([block.bytes, device.liveBytes, runtime.slot.liveBlocks]).toEqual([2000, 2000, 1]);
      expect(copy.mock.lastCall).toEqual([block.ptr, expect.any(Number), 1500]);
      block.dispose();
      expect(device.liveBytes).toBe(0);
    });

    test('frees the old block once when its native free calls back', () => {
      const { device, runtime } = simulated();
      runtime.slot.install(new PlainManager());
      const block = runtime.allocate(1000);
      const seen: unknown[] = [];
      device.failWhen(({ name }) => {
        if (name !== 'nativeFree') return false;
        seen.push(block.disposed);
        block.dispose();
        return false;
      });
      block.resize(2000);
      device.failWhen(undefined);
      expect([seen, block.disposed, block.bytes, device.liveBytes]).toEqual([[true], false, 2000, 2000]);
    });

    test('is watched with its new bytes, young or old', () => {
      const letGo = () => processState().handleWatch?.letGo();
      const { runtime } = simulated();
      const block = runtime.allocate(1000);
      const before = runtime.collectorStats().undisposedBytes;
      const undisposed = () => runtime.collectorStats().undisposedBytes - before;
      const register = vi.spyOn(processState().droppedHandles, 'register');
      for (const bytes of [2 * MiB, 1.5 * MiB, 17 * MiB, 500]) {
        block.resize(bytes);
        letGo();
        expect(undisposed()).toBe(bytes);
      }
      const leaks = vi.fn();
      runtime.events.on('leak', leaks);
      const { ptr } = block;
      register.mock.calls.at(-1)![1].reclaim();
      register.mockRestore();
      expect(leaks).toHaveBeenCalledExactlyOnceWith({ slot: 'ordinary', ptr, bytes: 500, site: undefined });
      expect([undisposed(), runtime.slot.liveBlocks]).toEqual([0, 0]);
    });

    test('stays inside the guards of a guarded block, and ends with an arena', () => {
      const runtime = cpu();
      runtime.slot.install(new GuardedMemoryManager(new CachingMemoryManager(1, table()), { memory: runtime.device }));
      const block = runtime.allocate(100);
      block.resize(101);
      block.fill(1);
      block.resize(99);
      block.fill(2);
      block.dispose();
      const arena = new ArenaMemoryManager(1, table());
      runtime.slot.install(arena);
      const inArena = runtime.allocate(100);
      inArena.resize(1 * MiB);
      expect(inArena.disposed).toBe(false);
      arena.reset();
      expect(inArena.disposed).toBe(true);
    });
  });
});
