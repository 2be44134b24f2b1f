import { describe, expect, test } from 'vitest';
import { type SimulatedCall, SimulatedDevice, type SimulatedDeviceOptions } from '../../adapters/devices/simulated.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, devicePtr, KiB, MiB } from '../../src/core/units.js';
import { codeOf } from '../fixtures/code-of.js';

const START = 2 ** 32;
const BAD_SIZES = [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53];

function at(ptr: DevicePtr, offset: number): DevicePtr {
  return devicePtr(ptr + offset);
}

describe('SimulatedDevice', () => {
  describe('constructor', () => {
    test.each<[string, SimulatedDeviceOptions]>([
      ['no device', { deviceCount: 0 }],
      ['too many devices', { deviceCount: 256 }],
      ['a part of a device', { deviceCount: 1.5 }],
      ['a negative capacity', { capacityBytes: -1 }],
      ['a capacity of NaN', { capacityBytes: Number.NaN }],
      ['too few capacities', { deviceCount: 2, capacityBytes: [1] }],
      ['a bad capacity in the list', { deviceCount: 2, capacityBytes: [1, 0.5] }],
      ['a capacity that is no number', { capacityBytes: '1' as unknown as number }],
      ['a bad pinned capacity', { pinnedCapacityBytes: -1 }],
      ['a granularity that is no power of two', { virtual: { granularityBytes: 3000 } }],
      ['an unknown cost', { costs: { paint: { callNs: 1 } } as SimulatedDeviceOptions['costs'] & object }],
      ['an unknown part of a cost', { costs: { copy: { ns: 1 } as object } }],
      ['a negative cost', { costs: { copy: { callNs: -1 } } }],
    ])('refuses %s', (_, options) => {
      expect(codeOf(() => new SimulatedDevice(options))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });

    test('has neither streams nor virtual memory unless told', () => {
      const device = new SimulatedDevice();
      expect([device.streams, device.virtual, device.deviceCount]).toEqual([undefined, undefined, 1]);
    });
  });

  describe('activate', () => {
    test('directs allocations', () => {
      const device = new SimulatedDevice({ deviceCount: 3, capacityBytes: [10, 20, 30] });
      device.activate(2);
      expect(device.activeDeviceId).toBe(2);
      expect(device.nativeAlloc(30)).toBe(START + 2 * 2 ** 44);
      expect([0, 1, 2].map((id) => device.getMaxMemorySize(id))).toEqual([10, 20, 30]);
      expect([0, 1, 2].map((id) => device.liveBytesOf(id))).toEqual([0, 0, 30]);
      for (const id of [-1, 3, 0.5]) {
        expect(codeOf(() => device.activate(id))).toBe('ERR_MEM_INVALID_DEVICE');
        expect(codeOf(() => device.getMaxMemorySize(id))).toBe('ERR_MEM_INVALID_DEVICE');
        expect(codeOf(() => device.peakBytesOf(id))).toBe('ERR_MEM_INVALID_DEVICE');
      }
    });
  });

  describe('nativeAlloc', () => {
    test('starts each segment where the one before ended', () => {
      const device = new SimulatedDevice();
      expect(device.nativeAlloc(3)).toBe(START);
      expect(device.nativeAlloc(1 * MiB)).toBe(START + 3);
      device.nativeFree(START as DevicePtr);
      expect(device.nativeAlloc(7)).toBe(START + 3 + MiB);
      expect(device.nativeAlloc(1, 4096)).toBe(START + MiB + 4096);
      expect(device.nativeAlloc(1, 1)).toBe(START + MiB + 4097);
    });

    test('holds the capacity to the byte', () => {
      const device = new SimulatedDevice({ capacityBytes: 100 });
      const ptr = device.nativeAlloc(60);
      expect(device.nativeAlloc(41)).toBe(0);
      expect(device.nativeAlloc(40)).toBe(START + 60);
      expect(device.nativeAlloc(1)).toBe(0);
      device.nativeFree(ptr);
      expect(device.nativeAlloc(60)).toBe(START + 100);
      expect([device.liveBytes, device.peakBytes, device.liveSegments]).toEqual([100, 100, 2]);
      expect(device.counts).toMatchObject({ nativeAlloc: 5, nativeFree: 1 });
      device.checkInvariants();
    });

    test('gives null when the addresses are used up, and for 0 bytes', () => {
      const device = new SimulatedDevice({ deviceCount: 2, capacityBytes: 2 ** 53 - 1 });
      expect(device.nativeAlloc(2 ** 44)).toBe(START);
      expect(device.nativeAlloc(1)).toBe(0);
      expect(device.nativeAlloc(0)).toBe(0);
    });

    test('refuses bad arguments and counts none of them', () => {
      const device = new SimulatedDevice();
      for (const bytes of BAD_SIZES) {
        expect(codeOf(() => device.nativeAlloc(bytes))).toBe('ERR_MEM_INVALID_SIZE');
        expect(codeOf(() => device.pinnedAlloc(bytes))).toBe('ERR_MEM_INVALID_SIZE');
      }
      for (const alignment of [3, -1, Number.NaN]) {
        expect(codeOf(() => device.nativeAlloc(1, alignment))).toBe('ERR_MEM_INVALID_ALIGNMENT');
        expect(codeOf(() => device.pinnedAlloc(1, alignment))).toBe('ERR_MEM_INVALID_ALIGNMENT');
      }
      expect(device.callCount).toBe(0);
    });
  });

  describe('nativeFree', () => {
    test('tells a second free from an unknown pointer', () => {
      const device = new SimulatedDevice({ deviceCount: 2 });
      const [a, b] = [device.nativeAlloc(10), device.nativeAlloc(10)];
      device.activate(1);
      device.nativeFree(a);
      expect(codeOf(() => device.nativeFree(a))).toBe('ERR_MEM_DOUBLE_FREE');
      for (const bad of [at(b, 1), at(b, 10), 5, 2 ** 44 + START, 2 ** 52, -1, Number.NaN, 2 ** 53]) {
        expect(codeOf(() => device.nativeFree(bad as DevicePtr))).toBe('ERR_MEM_UNKNOWN_POINTER');
      }
      device.nativeFree(0 as DevicePtr);
      device.nativeFree(b);
      expect(device.liveBytes).toBe(0);
      expect(device.counts.nativeFree).toBe(2);
    });

    test('still tells it after many segments came and went', () => {
      const device = new SimulatedDevice();
      const first = device.nativeAlloc(8);
      const kept = device.nativeAlloc(8);
      device.nativeFree(first);
      for (let i = 0; i < 10_000; i++) device.nativeFree(device.nativeAlloc(1 + (i % 7)));
      expect(codeOf(() => device.nativeFree(first))).toBe('ERR_MEM_DOUBLE_FREE');
      device.nativeFree(kept);
    });

    test('agrees with a map over a random program', () => {
      const device = new SimulatedDevice({ deviceCount: 3 });
      const live = new Map<DevicePtr, number>();
      let seed = 7;
      const random = (below: number): number => {
        seed = (seed * 48271) % 2147483647;
        return seed % below;
      };
      for (let step = 0; step < 20_000; step++) {
        device.activate(random(3));
        const bytes = 1 + random(1000);
        if (random(5) < 3) live.set(device.nativeAlloc(bytes), bytes);
        else {
          const ptr = [...live.keys()][random(live.size)];
          if (ptr === undefined) continue;
          device.nativeFree(ptr);
          live.delete(ptr);
        }
        if (step % 2000 === 0) {
          device.checkInvariants();
          for (const [ptr, size] of live) device.fill(ptr, 0, size);
        }
      }
      expect(device.liveBytes).toBe([...live.values()].reduce((sum, bytes) => sum + bytes, 0));
      expect(device.liveSegments).toBe(live.size);
    });

    test('costs about as much with many live segments as with few', () => {
      /** The least processor time of a free and an allocation beside as many live segments, in us. */
      const cost = (segments: number): number => {
        const device = new SimulatedDevice();
        for (let i = 0; i < segments; i++) device.nativeAlloc(1000);
        const ring = Array.from({ length: 1000 }, () => device.nativeAlloc(1000));
        let best = Number.POSITIVE_INFINITY;
        for (let round = 0; round < 5; round++) {
          const before = process.cpuUsage();
          for (let i = 0; i < 50_000; i++) {
            device.nativeFree(ring[i % 1000] as DevicePtr);
            ring[i % 1000] = device.nativeAlloc(1000);
          }
          best = Math.min(best, process.cpuUsage(before).user / 50_000);
        }
        return best;
      };
      // Were each looked at, it would be a hundred times.
      expect(cost(100_000) / cost(1000)).toBeLessThan(20);
    });
  });

  describe('pinnedAlloc', () => {
    test('has addresses, counts and a capacity of its own', () => {
      const device = new SimulatedDevice({ pinnedCapacityBytes: 100 });
      const ptr = device.pinnedAlloc(100);
      expect(ptr).toBe(2 ** 52);
      expect(device.pinnedAlloc(1)).toBe(0);
      expect([device.pinnedLiveBytes, device.liveBytes]).toEqual([100, 0]);
      expect(codeOf(() => device.nativeFree(ptr))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => device.pinnedFree(device.nativeAlloc(1)))).toBe('ERR_MEM_UNKNOWN_POINTER');
      device.pinnedFree(ptr);
      device.pinnedFree(0 as DevicePtr);
      expect(codeOf(() => device.pinnedFree(ptr))).toBe('ERR_MEM_DOUBLE_FREE');
      expect([device.pinnedLiveBytes, device.pinnedPeakBytes]).toEqual([0, 100]);
      expect(device.counts).toMatchObject({ pinnedAlloc: 2, pinnedFree: 1 });
    });
  });

  describe('copy', () => {
    test('checks both ranges against live memory', () => {
      const device = new SimulatedDevice({ deviceCount: 2 });
      const [a, gone, pinned] = [device.nativeAlloc(10), device.nativeAlloc(10), device.pinnedAlloc(10)];
      device.activate(1);
      const b = device.nativeAlloc(5);
      device.nativeFree(gone);
      device.copy(a, b, 5);
      device.copy(at(a, 5), at(pinned, 5), 5);
      device.copy(a, b, 0);
      expect(codeOf(() => device.copy(a, b, 6))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => device.copy(a, gone, 1))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => device.copy(4096 as DevicePtr, a, 1))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => device.copy(a, -1 as DevicePtr, 1))).toBe('ERR_MEM_INVALID_POINTER');
      for (const bytes of BAD_SIZES) expect(codeOf(() => device.copy(a, b, bytes))).toBe('ERR_MEM_INVALID_SIZE');
      expect(device.counts.copy).toBe(3);
    });
  });

  describe('copyAsync', () => {
    test('is done when the stream is', async () => {
      const device = new SimulatedDevice({ streams: true });
      const [a, b] = [device.nativeAlloc(64), device.nativeAlloc(64)];
      const stream = device.createStream();
      let isDone = false;
      const copied = device.copyAsync(b, a, 64, stream.id).then(() => {
        isDone = true;
      });
      await Promise.resolve();
      expect([isDone, device.counts.copy]).toEqual([false, 1]);
      stream.synchronize();
      await copied;
      expect(isDone).toBe(true);
    });

    test('rejects when memory was freed before its turn', async () => {
      const device = new SimulatedDevice({ streams: true });
      const [a, b] = [device.nativeAlloc(64), device.nativeAlloc(64)];
      const works = [device.copyAsync(b, a, 64, 1), device.fillAsync(a, 0, 64, 1)];
      device.nativeFree(a);
      device.synchronize();
      for (const work of works) await expect(work).rejects.toMatchObject({ code: 'ERR_MEM_UNKNOWN_POINTER' });
    });
  });

  describe('createStream', () => {
    test('gives streams that nobody has used', () => {
      const device = new SimulatedDevice({ streams: true });
      device.streams?.submit(7);
      expect([device.createStream().id, device.createStream().id]).toEqual([8, 9]);
    });

    test('and work on streams is not supported without streams', async () => {
      const device = new SimulatedDevice();
      const ptr = device.nativeAlloc(64);
      expect(codeOf(() => device.createStream())).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
      const error = { code: 'ERR_MEM_UNSUPPORTED_PLATFORM', facts: { platform: 'simulated' } };
      await expect(device.copyAsync(ptr, ptr, 8)).rejects.toMatchObject(error);
      await expect(device.fillAsync(ptr, 0, 8)).rejects.toMatchObject(error);
    });
  });

  describe('fill', () => {
    test('checks its range and value', () => {
      const device = new SimulatedDevice();
      const ptr = device.nativeAlloc(10);
      device.fill(at(ptr, 5), 255, 5);
      expect(codeOf(() => device.fill(at(ptr, 5), 0, 6))).toBe('ERR_MEM_OUT_OF_RANGE');
      for (const value of [-1, 256, 0.5]) expect(codeOf(() => device.fill(ptr, value, 1))).toBe('ERR_MEM_INVALID_ARGUMENT');
      for (const bytes of BAD_SIZES) expect(codeOf(() => device.fill(ptr, 0, bytes))).toBe('ERR_MEM_INVALID_SIZE');
      expect(device.counts.fill).toBe(1);
    });
  });

  describe('view', () => {
    test('is not there', () => {
      const device = new SimulatedDevice();
      expect(codeOf(() => device.view(device.nativeAlloc(1), 1))).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
    });
  });

  describe('failNext', () => {
    test('fails the next calls that ask for memory', () => {
      const device = new SimulatedDevice();
      const ptr = device.nativeAlloc(1);
      device.failNext(2);
      device.nativeFree(ptr);
      expect([device.nativeAlloc(1), device.pinnedAlloc(1)]).toEqual([0, 0]);
      expect(device.nativeAlloc(1)).toBe(START + 1);
    });

    test('throws a given error', () => {
      const device = new SimulatedDevice();
      const error = new MemoryError('ERR_MEM_NATIVE', { functionName: 'malloc', status: 1, statusName: 'broken' });
      device.failNext(1, error);
      expect(() => device.nativeAlloc(1)).toThrow(error);
      expect(device.liveBytes).toBe(0);
      expect(codeOf(() => device.failNext(-1))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });
  });

  describe('failWhen', () => {
    test('sees every call with name, index and bytes', () => {
      const device = new SimulatedDevice({ virtual: true });
      const calls: SimulatedCall[] = [];
      device.failWhen((call) => {
        calls.push(call);
        return call.index === 1;
      });
      const ptr = device.nativeAlloc(10);
      expect(device.nativeAlloc(20)).toBe(0);
      device.nativeFree(ptr);
      device.synchronize();
      expect(calls).toEqual([
        { name: 'nativeAlloc', index: 0, bytes: 10 },
        { name: 'nativeAlloc', index: 1, bytes: 20 },
        { name: 'nativeFree', index: 2, bytes: 10 },
        { name: 'synchronize', index: 3, bytes: 0 },
      ]);
      device.failWhen(undefined);
      expect(device.nativeAlloc(1)).toBe(START + 10);
    });

    test('lets any call throw, and nothing has changed then', () => {
      const device = new SimulatedDevice();
      const ptr = device.nativeAlloc(10);
      device.failWhen(() => new Error('lost'));
      expect(() => device.nativeFree(ptr)).toThrow('lost');
      expect(() => device.copy(ptr, ptr, 1)).toThrow('lost');
      device.failWhen(() => true);
      device.nativeFree(ptr);
      expect(device.liveBytes).toBe(0);
    });
  });

  describe('nativeTimeNs', () => {
    test('adds up the costs of calls', () => {
      const device = new SimulatedDevice({ costs: { nativeAlloc: { callNs: 100, mibNs: 8 }, nativeFree: { callNs: 7 } } });
      device.nativeFree(device.nativeAlloc(2 * MiB));
      device.nativeAlloc(512 * KiB);
      expect(device.nativeTimeNs).toBe(100 + 16 + 7 + 100 + 4);
      expect(new SimulatedDevice().nativeTimeNs).toBe(0);
    });
  });
});
