import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager, DefaultMemoryManager } from '../../managers/index.js';
import type { ManagerSlot } from '../../src/core/manager-slot.js';
import {
  defaultRuntime,
  formatExitReport,
  MemoryManagerDeviceInterface,
  MemoryManagerInstaller,
  MemoryRuntime,
  MiB,
} from '../../src/index.js';
import { memoryError, PlainManager } from '../core/fakes.js';
import { openRuntimes } from './open-runtimes.js';

const { simulated, cpu } = openRuntimes();

describe('MemoryRuntime', () => {
  describe('allocate', () => {
    test('installs the default manager at the first allocation', () => {
      const { runtime } = simulated();
      expect(MemoryManagerInstaller.currentlyInstalledMemoryManager(runtime)).toBeNull();
      runtime.allocate(1);
      expect(MemoryManagerInstaller.currentlyInstalledMemoryManager(runtime)).toBeInstanceOf(CachingMemoryManager);
    });

    test.each<[string, (slot: ManagerSlot) => unknown]>([
      ['alloc', (slot) => slot.alloc(1000, true)],
      ['allocArray', (slot) => slot.allocArray(true, [10], 4)],
      ['use', (slot) => slot.use(new PlainManager())()],
      ['getMemStepSize', (slot) => slot.getMemStepSize()],
    ])('installs the default manager when the program calls %s of the slot first', (_, call) => {
      const { runtime } = simulated();
      call(runtime.slot);
      runtime.allocate(1);
      expect(runtime.slot.active).toBeInstanceOf(CachingMemoryManager);
      expect(runtime.slot.installed).toBe(runtime.slot.active);
    });

    test('uses the manager that was installed before', () => {
      const { runtime } = simulated();
      const manager = new PlainManager();
      new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
      const block = runtime.allocate(100);
      expect(manager.allocated(block.ptr)).toBe(100);
      expect(manager.isUserLocked(block.ptr)).toBe(true);
    });

    test('falls back to a DefaultMemoryManager after unset, and stays there', () => {
      const { runtime } = simulated();
      const block = runtime.allocate(1);
      MemoryManagerInstaller.unsetMemoryManager(runtime);
      expect(MemoryManagerInstaller.currentlyInstalledMemoryManager(runtime)).toBeNull();
      expect(runtime.slot.active).toBeInstanceOf(DefaultMemoryManager);
      runtime.allocate(1);
      expect(runtime.slot.active).toBeInstanceOf(DefaultMemoryManager);
      block.dispose();
      expect(runtime.slot.draining).toEqual([]);
    });

    test.each([
      ['tag', 5],
      ['tag', null],
      ['tag', {}],
      ['zero', 'no'],
      ['pinned', 1],
      ['onFreed', 5],
      ['onFreed', null],
    ])('refuses options that would be ignored or fail later: %s %s', (name, value) => {
      const { runtime, device } = simulated();
      const refused = memoryError('ERR_MEM_INVALID_ARGUMENT', { name });
      expect(() => runtime.allocate(100, { [name]: value })).toThrow(refused);
      expect(device.liveBytes).toBe(0);
    });

    test('refuses to run a part of a program with a tag that is no text', () => {
      const { runtime } = simulated();
      const tag = 5 as unknown as string;
      expect(() => runtime.tag(tag, () => 0)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'name', value: '5' }));
    });

    test('honours the alignment', () => {
      const runtime = cpu();
      for (const alignment of [64, 4096, 2 * MiB]) expect(runtime.allocate(10, { alignment }).ptr % alignment).toBe(0);
    });

    test('fills with zeros when told to', () => {
      const runtime = cpu();
      const first = runtime.allocate(1000);
      first.fill(7);
      first.dispose();
      expect(runtime.allocate(1000, { zero: true }).view(Uint8Array)).toEqual(new Uint8Array(1000));
    });

    test('leaves nothing behind when filling fails', () => {
      const { device, runtime } = simulated();
      device.failWhen(({ name }) => name === 'fill' && new Error('the driver is gone'));
      expect(() => runtime.allocate(100, { zero: true })).toThrow('the driver is gone');
      expect(runtime.slot.liveBlocks).toBe(0);
    });

    test('takes pinned memory from the other slot', () => {
      const { device, runtime } = simulated();
      const block = runtime.allocate(100, { pinned: true });
      expect([device.counts.pinnedAlloc, runtime.pinnedSlot.liveBlocks, runtime.slot.liveBlocks]).toEqual([1, 1, 0]);
      block.dispose();
      expect(runtime.pinnedSlot.liveBlocks).toBe(0);
    });

    test('gives a handle of no bytes for 0', () => {
      const runtime = cpu();
      const block = runtime.allocate(0, { zero: true });
      expect([block.ptr, block.bytes, block.view(Float64Array).length]).toEqual([0, 0, 0]);
      block.fill(1);
      block.dispose();
      expect(block.disposed).toBe(true);
    });

    test('throws out of memory with the facts', () => {
      const { runtime } = simulated();
      const facts = { requestedBytes: 200 * MiB, capacityBytes: 100 * MiB };
      expect(() => runtime.allocate(200 * MiB)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', facts));
      expect(() => runtime.allocate(-1)).toThrow(memoryError('ERR_MEM_INVALID_SIZE'));
      expect(() => runtime.allocate(1, { alignment: 3 })).toThrow(memoryError('ERR_MEM_INVALID_ALIGNMENT'));
      expect(runtime.slot.liveBlocks).toBe(0);
    });
  });

  describe('withDevice', () => {
    test('allocates there and comes back, also after a throw', () => {
      const { device, runtime } = simulated(2);
      const block = runtime.withDevice(1, () => runtime.allocate(100));
      expect([device.activeDeviceId, device.liveBytesOf(0)]).toEqual([0, 0]);
      expect(device.liveBytesOf(1)).toBeGreaterThan(0);
      expect(() =>
        runtime.withDevice(1, () => {
          throw new Error('left');
        }),
      ).toThrow('left');
      expect(device.activeDeviceId).toBe(0);
      expect(() => runtime.withDevice(2, () => 1)).toThrow(memoryError('ERR_MEM_INVALID_DEVICE', { device: 2, deviceCount: 2 }));
      block.dispose();
      expect(runtime.stats(1)?.blocks.current).toBe(0);
    });
  });

  describe('withDevice with an asynchronous function', () => {
    test('allocates there after its awaits, while another device is active', async () => {
      const { device, runtime } = simulated(3);
      const work = (id: number, ms: number) =>
        runtime.withDevice(id, async () => {
          await sleep(ms);
          runtime.allocate(100);
          await runtime.withDevice(0, async () => {
            await null;
            runtime.allocate(100);
          });
          return runtime.stats()?.blocks.current;
        });
      const running = Promise.all([work(1, 5), work(2, 1)]);
      expect(device.activeDeviceId).toBe(0);
      expect(await running).toEqual([1, 1]);
      expect([0, 1, 2].map((id) => runtime.stats(id)?.blocks.current)).toEqual([2, 1, 1]);
      expect(device.activeDeviceId).toBe(0);
    });

    test('leaves what is called from outside on the active device', async () => {
      const { runtime } = simulated(2);
      let callback = (): unknown => undefined;
      const outside = new Promise((done) => setImmediate(() => done(callback())));
      const inside = runtime.withDevice(1, async () => {
        callback = () => runtime.allocate(100);
        await outside;
      });
      await inside;
      expect([0, 1].map((id) => runtime.stats(id)?.blocks.current)).toEqual([1, 0]);
    });
  });

  describe('allocateAsync', () => {
    test('tries again on the device that was active when it was called', async () => {
      const { device, runtime } = simulated(2);
      const hog = runtime.withDevice(1, () => runtime.allocate(80 * MiB));
      device.activate(1);
      const late = runtime.allocateAsync(60 * MiB);
      device.activate(0);
      setImmediate(() => hog.dispose());
      await late;
      expect([0, 1].map((id) => runtime.stats(id)?.blocks.current)).toEqual([0, 1]);
    });
  });

  describe('close', () => {
    test('frees all also when a manager cannot tell how much is live, and says so', () => {
      const { device, runtime } = simulated();
      const { manager } = runtime.use((count, table) => new CachingMemoryManager(count, table));
      const block = runtime.allocate(1000);
      const error = new Error('no statistics');
      vi.spyOn(manager, 'stats').mockImplementation(() => {
        throw error;
      });
      const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      const report = runtime.close();
      expect(warnings.mock.calls).toEqual([[error]]);
      warnings.mockRestore();
      expect([report.liveBlocks, device.liveBytes, block.disposed]).toEqual([1, 0, true]);
      expect(formatExitReport(report)).toMatch(/^stowage: 1 block, unknown bytes, of CachingMemoryManager/);
    });

    test('frees all, reports what was live, and disposes the handles', () => {
      const { device, runtime } = simulated();
      const [block, pinned] = [runtime.allocate(1000), runtime.allocate(10, { pinned: true })];
      MemoryManagerInstaller.installDefaultMemoryManager(runtime);
      runtime.allocate(5000);
      runtime.allocate(100).dispose();
      const report = runtime.close();
      const caching = { manager: 'CachingMemoryManager', slot: 'ordinary' };
      expect(report).toMatchObject({
        liveBlocks: 3,
        managers: [
          { ...caching, liveBlocks: 1, liveBytes: 5120 },
          { ...caching, liveBlocks: 1, liveBytes: 1024 },
          { manager: 'DefaultMemoryManager', slot: 'pinned', liveBlocks: 1, liveBytes: 1024 },
        ],
      });
      expect(formatExitReport(report).split('\n')).toHaveLength(4);
      expect([device.liveBytes, device.pinnedLiveBytes, block.disposed, pinned.disposed]).toEqual([0, 0, true, true]);
      expect(() => block.ptr).toThrow(memoryError('ERR_MEM_DISPOSED', { what: 'allocation' }));
      block.dispose();
      const closed = memoryError('ERR_MEM_DISPOSED', { what: 'MemoryRuntime' });
      for (const call of [
        () => runtime.allocate(1),
        () => runtime.allocate(1, { pinned: true }),
        () => runtime.withManager(new CachingMemoryManager(1, new MemoryManagerDeviceInterface()), () => 0),
        () => runtime.use(new CachingMemoryManager(1, new MemoryManagerDeviceInterface())),
      ]) {
        expect(call, String(call)).toThrow(closed);
      }
      expect(runtime.close()).toEqual({ managers: [], liveBlocks: 0 });
    });

    test('frees all though a manager does not know every device', () => {
      const { device, runtime } = simulated(3);
      const manager = new CachingMemoryManager(1, new MemoryManagerDeviceInterface());
      new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
      runtime.allocate(1000);
      expect(runtime.close()).toMatchObject({ liveBlocks: 1, managers: [{ liveBytes: 1024 }] });
      expect(device.liveBytes).toBe(0);
    });

    test('is what using does', () => {
      const device = new SimulatedDevice();
      {
        using runtime = new MemoryRuntime(device, { exitReport: false });
        runtime.allocate(1000);
      }
      expect(device.liveBytes).toBe(0);
    });

    test('frees pinned memory though a listener throws while the other slot closes', () => {
      const { device, runtime } = simulated();
      runtime.allocate(1000);
      runtime.allocate(1000, { pinned: true });
      runtime.events.once('stopped', () => {
        throw new Error('a bad listener');
      });
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      runtime.close();
      expect(warn).toHaveBeenCalledExactlyOnceWith(new Error('a bad listener'));
      warn.mockRestore();
      expect([device.liveBytes, device.pinnedLiveBytes]).toEqual([0, 0]);
    });
  });

  describe('events', () => {
    test('passes on that the system refused to lock pages', () => {
      const { device, runtime } = simulated();
      const listener = vi.fn();
      runtime.events.on('pin-failed', listener);
      const event = { ptr: runtime.allocate(1).ptr, bytes: 1, reason: 'limit' };
      device.events.emit('pin-failed', event);
      expect(listener).toHaveBeenCalledWith(event);
      runtime.close();
      device.events.emit('pin-failed', event);
      expect(listener).toHaveBeenCalledTimes(1);
    });
  });
});

describe('defaultRuntime', () => {
  test('is one for the process, over CPU memory, made again after it was closed', () => {
    const first = defaultRuntime();
    expect(defaultRuntime()).toBe(first);
    expect(first.device).toBeInstanceOf(CpuDevice);
    const block = first.allocate(1000);
    block.view(Uint8Array)[999] = 1;
    expect(MemoryManagerInstaller.currentlyInstalledMemoryManager()).toBeInstanceOf(CachingMemoryManager);
    first.close();
    expect(defaultRuntime()).not.toBe(first);
    defaultRuntime().close();
  });
});
