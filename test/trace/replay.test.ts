import { beforeAll, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager, DefaultMemoryManager } from '../../managers/index.js';
import type { Device } from '../../src/core/device.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import type { ManagerFactory } from '../../src/core/memory-host.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { type DevicePtr, MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { loadTrace, parseTrace, replayTrace, type TraceEvents } from '../../src/trace/index.js';
import { GpuFixture } from '../fixtures/gpu-fixture.js';

const caching: ManagerFactory = (deviceCount, table) => new CachingMemoryManager(deviceCount, table);
const plain: ManagerFactory = (deviceCount, table) => new DefaultMemoryManager(deviceCount, table);

let resnet: TraceEvents;
beforeAll(async () => {
  resnet = await loadTrace('test/traces/resnet.trace.gz');
});

function runtimeOn(device: Device, create: ManagerFactory = caching): MemoryRuntime {
  const runtime = new MemoryRuntime(device, { createDefaultManager: caching, createFallbackManager: plain });
  const manager = create(runtime.deviceCount, new MemoryManagerDeviceInterface());
  new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
  return runtime;
}

/** Events from lines, ids as in a trace. */
const events = (...lines: string[]): TraceEvents => parseTrace(['#alloctrace v1 t', ...lines, ''].join('\n'), 't.trace');

function replayError(run: () => unknown): MemoryError<'ERR_MEM_REPLAY'> {
  try {
    run();
  } catch (error) {
    if (MemoryError.is(error, 'ERR_MEM_REPLAY')) return error;
    throw error;
  }
  throw new Error('the replay went well');
}

describe('replayTrace', () => {
  test('measures what Flashlight measures on the ResNet trace', () => {
    const device = new SimulatedDevice();
    const runtime = runtimeOn(device);
    const result = replayTrace(resnet, runtime);
    expect(result).toMatchObject({
      manager: 'CachingMemoryManager',
      device: 'simulated',
      events: 26_012,
      allocations: 13_327,
      nativeAllocs: 60,
      nativeFrees: 0,
      hitRate: 1 - 60 / 13_327,
      peakLiveBytes: resnet.peakLiveBytes,
      peakReservedBytes: 516 * MiB,
      utilisation: resnet.peakLiveBytes / (516 * MiB),
      swaps: 0,
      verifiedBlocks: 0,
    });
    expect(result.eventsPerSecond).toBeCloseTo(1e9 / result.nsPerEvent, 3);
    expect(runtime.slot.liveBlocks).toBe(0);
    runtime.close();
    expect(device.counts.nativeFree).toBe(device.counts.nativeAlloc);
  });

  test('counts only its own native calls and hits when the manager is warm', () => {
    const runtime = runtimeOn(new SimulatedDevice());
    replayTrace(resnet, runtime);
    const again = replayTrace(resnet, runtime);
    expect(again.nativeAllocs).toBeLessThan(10);
    expect(again.hitRate).toBeGreaterThan(0.999);
    expect(again.peakReservedBytes).toBeGreaterThanOrEqual(516 * MiB);
    runtime.close();
  });

  test('lets the default manager of the host serve when none is installed', () => {
    const runtime = new MemoryRuntime(new SimulatedDevice(), { createDefaultManager: plain });
    expect(replayTrace(events('a 0 5'), runtime)).toMatchObject({ manager: 'DefaultMemoryManager', hitRate: 0, nativeAllocs: 1 });
    runtime.close();
  });

  test('leaves live blocks allocated when told so', () => {
    const runtime = runtimeOn(new SimulatedDevice());
    replayTrace(resnet, runtime, { keepLive: true });
    expect(runtime.slot.liveBlocks).toBe(642);
    runtime.close();
  });

  test('replays allocations of 0 bytes', () => {
    const runtime = runtimeOn(new CpuDevice());
    const result = replayTrace(events('a 0 0', 'a 1 1', 'f 0', 'a 2 0'), runtime, { verify: true });
    expect(result).toMatchObject({ allocations: 3, verifiedBlocks: 1 });
    runtime.close();
  });

  test('reports progress up to the end', () => {
    const runtime = runtimeOn(new SimulatedDevice());
    const reports: number[] = [];
    replayTrace(resnet, runtime, { onProgress: (done, total) => reports.push(done / total) });
    expect(reports.length).toBeGreaterThan(4);
    expect(reports).toEqual([...reports].sort((a, b) => a - b));
    expect(reports.at(-1)).toBe(1);
    runtime.close();
  });

  describe('when swapping', () => {
    test('drains the first manager and counts the memory of both', () => {
      const device = new SimulatedDevice();
      const runtime = runtimeOn(device);
      const before = runtime.slot.active;
      const result = replayTrace(resnet, runtime, { swaps: [{ atEvent: 13_006, createManager: plain }] });
      expect(result.manager).toBe('CachingMemoryManager -> DefaultMemoryManager');
      expect(result).toMatchObject({ swaps: 1, blocksAcrossSwaps: 668 });
      expect(result.peakReservedBytes).toBeGreaterThanOrEqual(resnet.peakLiveBytes);
      expect(result.peakReservedBytes).toBe(runtime.slot.peakReservedBytes);
      expect(before?.lifecycle.state).toBe('stopped');
      expect(runtime.slot.draining).toEqual([]);
      runtime.close();
      expect(device.counts.nativeFree).toBe(device.counts.nativeAlloc);
    });

    test('keeps every byte of every block over many swaps on real memory', () => {
      const runtime = runtimeOn(new CpuDevice());
      const swaps = [0, 1, 5000, 5000, 13_006, 20_000, 26_012].map((atEvent, i) => ({
        atEvent,
        createManager: i % 2 ? caching : plain,
      }));
      const result = replayTrace(resnet, runtime, { verify: true, swaps });
      expect(result).toMatchObject({ swaps: 7, verifiedBlocks: 13_327 });
      expect(runtime.slot.liveBlocks).toBe(0);
      runtime.close();
    });

    test.each([[[-1]], [[1.5]], [[5]], [[3, 2]]])('refuses swaps at %j of 4 events, before the first', (at) => {
      const runtime = runtimeOn(new SimulatedDevice());
      const swaps = at.map((atEvent) => ({ atEvent, createManager: caching }));
      expect(() => replayTrace(events('a 0 1', 'f 0', 'a 1 1', 'f 1'), runtime, { swaps })).toThrow('atEvent of a swap');
      expect(runtime.slot.nativeAllocs).toBe(0);
      runtime.close();
    });

    test('frees everything when the next manager cannot be made', () => {
      const runtime = runtimeOn(new SimulatedDevice());
      const createManager = (): never => {
        throw new Error('no such policy');
      };
      const error = replayError(() => replayTrace(events('a 0 1', 'f 0'), runtime, { swaps: [{ atEvent: 1, createManager }] }));
      expect(error.message).toBe('t.trace:3: event 1 failed: no such policy');
      expect(runtime.slot.liveBlocks).toBe(0);
      runtime.close();
    });
  });

  describe('when memory runs out', () => {
    test('says at which event and line, and frees everything', () => {
      const device = new SimulatedDevice({ capacityBytes: 480 * MiB });
      const runtime = runtimeOn(device);
      const error = replayError(() => replayTrace(resnet, runtime));
      expect(error.facts).toMatchObject({ file: 'test/traces/resnet.trace.gz', line: 7077, event: 7075 });
      expect(error.message).toContain('event 7075 failed: out of memory: 8388608 bytes (8.00 MiB) requested');
      expect(MemoryError.is(error.cause, 'ERR_MEM_OUT_OF_MEMORY')).toBe(true);
      expect(runtime.slot.liveBlocks).toBe(0);
      runtime.close();
      expect(runtime.slot.nativeFrees).toBe(runtime.slot.nativeAllocs);
      expect(runtime.slot.reservedBytes).toBe(0);
    });

    test('frees everything after a swap, too', () => {
      const runtime = runtimeOn(new SimulatedDevice({ capacityBytes: 480 * MiB }));
      replayError(() => replayTrace(resnet, runtime, { swaps: [{ atEvent: 5000, createManager: caching }] }));
      expect(runtime.slot.liveBlocks).toBe(0);
      expect(runtime.slot.draining).toEqual([]);
      runtime.close();
    });
  });

  describe('when verifying', () => {
    test('finds a byte that somebody else changed', () => {
      const device = new CpuDevice();
      const runtime = runtimeOn(device, (deviceCount, table) => new Recording(deviceCount, table));
      const trace = events('a 0 100', 'a 1 200', 'f 0', 'f 1');
      const change = (): MemoryManagerAdapter => {
        const first = (runtime.slot.active as Recording).pointers[0]!;
        device.view(first, 100)[99]! ^= 1;
        return caching(1, new MemoryManagerDeviceInterface());
      };
      const error = replayError(() =>
        replayTrace(trace, runtime, { verify: true, swaps: [{ atEvent: 2, createManager: change }] }),
      );
      expect(error.facts).toMatchObject({ event: 2, line: 4 });
      expect(error.message).toMatch(/the last byte of allocation 0 is \d+, but \d+ was written$/);
      expect(runtime.slot.liveBlocks).toBe(0);
      runtime.close();
    });

    test('finds blocks that overlap', () => {
      const runtime = runtimeOn(new CpuDevice(), (deviceCount, table) => new OneAddress(deviceCount, table));
      const error = replayError(() => replayTrace(events('a 0 64', 'a 1 64', 'f 0'), runtime, { verify: true }));
      expect(error.message).toContain('the first byte of allocation 0');
      runtime.close();
    });

    test('reaches memory that the host cannot see by copies, and gives back what it needed for them', () => {
      const fixture = new GpuFixture('cuda');
      const device = fixture.fresh();
      const runtime = runtimeOn(device);
      const result = replayTrace(events('a 0 100', 'a 1 1', 'a 2 0', 'f 0'), runtime, { verify: true });
      expect(result.verifiedBlocks).toBe(2);
      const before = fixture.liveRanges;
      const overlapping = runtimeOn(device, (deviceCount, table) => new OneAddress(deviceCount, table));
      const error = replayError(() => replayTrace(events('a 0 64', 'a 1 64', 'f 0'), overlapping, { verify: true }));
      expect(error.message).toContain('the first byte of allocation 0');
      overlapping.close();
      expect(fixture.liveRanges).toBeLessThanOrEqual(before);
      runtime.close();
      expect(fixture.liveRanges).toBe(0);
    });

    test('refuses a device without bytes and frees the block', () => {
      const runtime = runtimeOn(new SimulatedDevice());
      const error = replayError(() => replayTrace(events('a 0 64'), runtime, { verify: true }));
      expect(MemoryError.is(error.cause, 'ERR_MEM_UNSUPPORTED_PLATFORM')).toBe(true);
      expect(runtime.slot.liveBlocks).toBe(0);
      runtime.close();
    });
  });

  test('reports the failures of freeing beside the first one', () => {
    const runtime = runtimeOn(new SimulatedDevice(), (deviceCount, table) => new NeverFrees(deviceCount, table));
    const error = replayError(() => replayTrace(events('a 0 64', 'a 1 64', 'f 0'), runtime));
    expect(error.message).toBe('t.trace:4: event 2 failed: stuck');
    expect(error.cause).toBeInstanceOf(AggregateError);
    runtime.close();
  });
});

/** Remembers what it handed out. */
class Recording extends CachingMemoryManager {
  readonly pointers: DevicePtr[] = [];

  override allocBytes(bytes: number, userLock: boolean, alignment?: number, stream?: number): DevicePtr {
    const ptr = super.allocBytes(bytes, userLock, alignment, stream);
    this.pointers.push(ptr);
    return ptr;
  }
}

/** Hands one block out again and again. */
class OneAddress extends Recording {
  override allocBytes(bytes: number, userLock: boolean, alignment?: number, stream?: number): DevicePtr {
    return this.pointers[0] ?? super.allocBytes(bytes, userLock, alignment, stream);
  }
}

class NeverFrees extends CachingMemoryManager {
  override unlock(): void {
    throw new Error('stuck');
  }
}
