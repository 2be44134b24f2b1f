import { afterEach, beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest';
import type { SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  ArenaMemoryManager,
  BuddyMemoryManager,
  CachingMemoryManager,
  DefaultMemoryManager,
  LimitingMemoryManager,
  LruMemoryManager,
  PoolMemoryManager,
  PyTorchMemoryManager,
  ScratchMemoryManager,
  SlabMemoryManager,
  TlsfMemoryManager,
  TrackingMemoryManager,
} from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import type { DevicePtr } from '../../src/core/units.js';
import { formatExitReport } from '../../src/runtime/exit-report.js';
import type { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { is } from '../fixtures/same.js';
import { installed, memoryError, PlainManager, SeededRandom, simulatedRuntime } from './fakes.js';

const table = () => new MemoryManagerDeviceInterface();

const MANAGERS: readonly [string, () => MemoryManagerAdapter][] = [
  ['PlainManager', () => new PlainManager()],
  ['ArenaMemoryManager', () => new ArenaMemoryManager(1, table())],
  ['BuddyMemoryManager', () => new BuddyMemoryManager(1, table())],
  ['CachingMemoryManager', () => new CachingMemoryManager(1, table())],
  ['DefaultMemoryManager', () => new DefaultMemoryManager(1, table())],
  ['LruMemoryManager', () => new LruMemoryManager(1, table())],
  ['PoolMemoryManager', () => new PoolMemoryManager(1, table())],
  ['PyTorchMemoryManager', () => new PyTorchMemoryManager(1, table())],
  ['ScratchMemoryManager', () => new ScratchMemoryManager(1, table())],
  ['SlabMemoryManager', () => new SlabMemoryManager(1, table())],
  ['TlsfMemoryManager', () => new TlsfMemoryManager(1, table())],
  ['a decorator', () => new LimitingMemoryManager(new TrackingMemoryManager(new CachingMemoryManager(1, table())))],
];

let warn: MockInstance;

beforeEach(() => {
  warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
});

afterEach(() => {
  warn.mockRestore();
});

/** Lets each call fail that is the n-th, whatever it does. */
function failEvery(device: SimulatedDevice, every: number): void {
  let calls = 0;
  device.failWhen(() => (++calls % every === 0 ? new Error('injected') : false));
}

/** Allocates, frees and swaps while native calls fail. */
function run(runtime: MemoryRuntime, create: () => MemoryManagerAdapter, random: SeededRandom): void {
  const { slot } = runtime;
  const live: DevicePtr[] = [];
  for (let step = 0; step < 120; step++) {
    try {
      if (step % 30 === 0) slot.install(create());
      else if (random.below(3) > 0) live.push(slot.alloc(1 + random.below(200_000), true));
      else if (live.length > 0) slot.unlock(live.at(-1)!, true);
    } catch (error) {
      if (!MemoryError.is(error) && (error as Error).message !== 'injected') throw error;
    }
    while (live.length > 0 && slot.allocated(live.at(-1)!) === 0) live.pop();
  }
}

describe('ManagerSlot with a device that refuses', () => {
  describe.each(MANAGERS)('%s', (_, create) => {
    test('loses nothing with every n-th native call failing, once the device has recovered', () => {
      for (let every = 2; every <= 50; every++) {
        const { device, runtime } = simulatedRuntime({ virtual: true });
        failEvery(device, every);
        run(runtime, create, new SeededRandom(every));
        is(runtime.slot.reservedBytes, device.liveBytes, `every ${every}: in the books while it runs`);
        runtime.close();
        is(runtime.slot.reservedBytes, device.liveBytes, `every ${every}: in the books after close`);
        device.failWhen(undefined);
        runtime.close();
        expect([device.liveBytes, runtime.slot.reservedBytes], `every ${every}`).toEqual([0, 0]);
      }
    });
  });

  test.each([
    ['a cleanup', (runtime: MemoryRuntime) => runtime.slot.signalMemoryCleanup()],
    ['the next native call that succeeds', (runtime: MemoryRuntime) => void runtime.slot.alloc(0x777, true)],
    ['an allocation without room', (runtime: MemoryRuntime) => expect(() => runtime.slot.alloc(2 ** 41, true)).toThrow()],
  ])('keeps what a stopped manager could not give back in its books, until %s', (_, answer) => {
    const { device, runtime } = simulatedRuntime();
    const { slot } = runtime;
    const first = installed(new DefaultMemoryManager(1, table()), runtime);
    for (const ptr of [slot.alloc(1024, true), slot.alloc(2048, true)]) slot.unlock(ptr, true);
    device.failWhen(() => new Error('the driver is busy'));
    const second = installed(new PlainManager(), runtime);
    expect(first.lifecycle.state).toBe('stopped');
    expect([slot.reservedBytes, device.liveBytes]).toEqual([3072, 3072]);
    expect(slot.usage()).toEqual([
      { manager: second, liveBlocks: 0, reservedBytes: 0 },
      { manager: first, liveBlocks: 0, reservedBytes: 3072 },
    ]);
    device.failWhen(undefined);
    answer(runtime);
    expect(device.liveBytes).toBe(slot.reservedBytes);
    expect(slot.usage()).toHaveLength(1);
  });

  test('tells in the exit report what the device refused at close, and a second close tries again', () => {
    const { device, runtime } = simulatedRuntime();
    runtime.slot.alloc(5000, true);
    device.failWhen(() => new Error('the driver is gone'));
    const report = runtime.close();
    expect(report).toMatchObject({ liveBlocks: 1, refusedBytes: 5000 });
    expect(formatExitReport(report)).toContain('5000 bytes (4.88 KiB) could not be given back: the device refused');
    expect(runtime.slot.reservedBytes).toBe(5000);
    device.failWhen(undefined);
    expect(runtime.close()).toEqual({ managers: [], liveBlocks: 0 });
    expect([device.liveBytes, runtime.slot.reservedBytes]).toEqual([0, 0]);
  });

  test('goes on with the others when one segment is refused for good', () => {
    const { device, runtime } = simulatedRuntime();
    const { slot } = runtime;
    installed(new DefaultMemoryManager(1, table()), runtime);
    for (const ptr of [slot.alloc(1024, true), slot.alloc(2048, true), slot.alloc(4096, true)]) slot.unlock(ptr, true);
    let refusing = true;
    const nativeFree = device.nativeFree.bind(device);
    device.nativeFree = (ptr) => {
      if (refusing) throw new Error('refused');
      nativeFree(ptr);
    };
    slot.unset();
    expect(slot.reservedBytes).toBe(7168);
    const [first] = [2 ** 32];
    refusing = false;
    device.nativeFree = (ptr) => {
      if (ptr === first) throw new Error('refused');
      nativeFree(ptr);
    };
    slot.signalMemoryCleanup();
    expect(slot.reservedBytes).toBe(1024);
  });

  test('keeps what initialize got when that throws and the device refuses', () => {
    const { device, runtime } = simulatedRuntime();
    const manager = new PlainManager();
    manager.initialize = () => {
      manager.deviceInterface.nativeAlloc(5000);
      device.failWhen(() => new Error('the driver is gone'));
      throw new Error('no such core');
    };
    expect(() => runtime.slot.install(manager)).toThrow('no such core');
    expect([runtime.slot.reservedBytes, manager.lifecycle.state]).toEqual([5000, 'created']);
    device.failWhen(undefined);
    runtime.slot.signalMemoryCleanup();
    expect([runtime.slot.reservedBytes, device.liveBytes]).toEqual([0, 0]);
  });
});

describe('ManagerSlot with native functions that call back', () => {
  test.each(MANAGERS)('frees each segment once when a native free swaps: %s', (_, create) => {
    const { device, runtime } = simulatedRuntime({ virtual: true });
    const { slot } = runtime;
    const manager = installed(create(), runtime);
    const ptr = slot.alloc(1000, true);
    let armed = true;
    device.failWhen(({ name }) => {
      if (armed && name !== 'nativeAlloc' && name !== 'commit' && name !== 'reserve') {
        armed = false;
        installed(new PlainManager(), runtime);
      }
      return false;
    });
    slot.unlock(ptr, true);
    slot.signalMemoryCleanup();
    slot.unset();
    installed(new PlainManager(), runtime);
    expect([manager.lifecycle.state, device.liveBytes, slot.reservedBytes]).toEqual(['stopped', 0, 0]);
    expect(warn).not.toHaveBeenCalled();
  });

  test('keeps a segment whose free swapped and then failed', () => {
    const { device, runtime } = simulatedRuntime();
    const { slot } = runtime;
    const manager = installed(new TlsfMemoryManager(1, table()), runtime);
    slot.unlock(slot.alloc(1000, true), true);
    device.failWhen(({ name }) => {
      if (name !== 'nativeFree') return false;
      device.failWhen(undefined);
      installed(new PlainManager(), runtime);
      return new Error('refused after all');
    });
    expect(() => slot.signalMemoryCleanup()).toThrow('refused after all');
    expect([manager.lifecycle.state, slot.reservedBytes]).toEqual(['stopped', device.liveBytes]);
    slot.signalMemoryCleanup();
    expect([slot.reservedBytes, device.liveBytes]).toEqual([0, 0]);
  });
});

describe('ManagerSlot', () => {
  describe('fill', () => {
    test('leaves a manager that sits here as it is, and its books with it', () => {
      const { device, runtime } = simulatedRuntime();
      const { slot } = runtime;
      const manager = installed(new TlsfMemoryManager(1, table()), runtime);
      slot.fill(manager);
      const ptr = slot.alloc(1000, true);
      expect(slot.reservedBytes).toBe(device.liveBytes);
      installed(new PlainManager(), runtime);
      slot.fill(manager);
      slot.unlock(ptr, true);
      expect([device.liveBytes, slot.reservedBytes]).toEqual([0, 0]);
      expect(() => slot.fill(manager)).toThrow(memoryError('ERR_MEM_LIFECYCLE', { from: 'stopped' }));
    });

    test('has what a manager gets before it is installed in the books', () => {
      const { device, runtime } = simulatedRuntime();
      const manager = new PlainManager();
      const installer = new MemoryManagerInstaller(manager, runtime);
      manager.deviceInterface.nativeAlloc(5000);
      expect(runtime.slot.reservedBytes).toBe(5000);
      installer.setAsMemoryManager();
      runtime.close();
      expect([device.liveBytes, runtime.slot.reservedBytes]).toEqual([0, 0]);
    });
  });
});
