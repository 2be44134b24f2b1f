import { describe, expect, test, vi } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { pageBytes } from '../../adapters/os/mapping.js';
import { maxMemoryBytes } from '../../adapters/os/memory-limits.js';
import { type DevicePtr, devicePtr, GiB, KiB, MiB } from '../../src/core/units.js';
import { codeOf } from '../fixtures/code-of.js';

const BAD_SIZES = [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53];

function at(ptr: DevicePtr, offset: number): DevicePtr {
  return devicePtr(ptr + offset);
}

describe('CpuDevice', () => {
  describe('constructor', () => {
    test.each([0, -4096, 1000, Number.NaN, 4097])('refuses a granularity of %s', (granularityBytes) => {
      expect(codeOf(() => new CpuDevice({ granularityBytes }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });
  });

  describe('activate', () => {
    test('knows one device', () => {
      const device = new CpuDevice();
      device.activate(0);
      expect(device.activeDeviceId).toBe(0);
      expect(codeOf(() => device.activate(1))).toBe('ERR_MEM_INVALID_DEVICE');
    });
  });

  describe('getMaxMemorySize', () => {
    test('is what the process may use', () => {
      expect(new CpuDevice().getMaxMemorySize(0)).toBe(maxMemoryBytes());
      expect(codeOf(() => new CpuDevice().getMaxMemorySize(-1))).toBe('ERR_MEM_INVALID_DEVICE');
    });
  });

  describe('nativeAlloc', () => {
    test.each([1, 63, 64, 100, 4095])('aligns %i bytes to 64', (bytes) => {
      const device = new CpuDevice();
      const ptr = device.nativeAlloc(bytes);
      expect(ptr).toBeGreaterThan(0);
      expect(ptr % 64).toBe(0);
      device.nativeFree(ptr);
    });

    test.each([64 * KiB, 64 * KiB + 1, 3 * MiB])('aligns %i bytes to pages', (bytes) => {
      const device = new CpuDevice();
      const ptr = device.nativeAlloc(bytes);
      expect(ptr % pageBytes()).toBe(0);
      device.fill(ptr, 1, bytes);
      device.nativeFree(ptr);
    });

    test.each([0, 1, 8, 256, 4096, 1 * MiB])('honours an alignment of %i', (alignment) => {
      const device = new CpuDevice();
      const ptr = device.nativeAlloc(100, alignment);
      expect(ptr % Math.max(64, alignment)).toBe(0);
      device.nativeFree(ptr);
    });

    test('gives null when there is no room, and for 0 bytes', () => {
      const device = new CpuDevice();
      expect(device.nativeAlloc(2 ** 52)).toBe(0);
      expect(device.nativeAlloc(Number.MAX_SAFE_INTEGER)).toBe(0);
      expect(device.nativeAlloc(64, 2 ** 52)).toBe(0);
      expect(device.nativeAlloc(0)).toBe(0);
      expect(device.liveBytes).toBe(0);
    });

    test.each(BAD_SIZES)('refuses a size of %s', (bytes) => {
      expect(codeOf(() => new CpuDevice().nativeAlloc(bytes))).toBe('ERR_MEM_INVALID_SIZE');
    });

    test.each([3, -64, 0.5, Number.NaN])('refuses an alignment of %s', (alignment) => {
      expect(codeOf(() => new CpuDevice().nativeAlloc(64, alignment))).toBe('ERR_MEM_INVALID_ALIGNMENT');
    });
  });

  describe('nativeFree', () => {
    test('refuses what it did not hand out, and changes nothing', () => {
      const device = new CpuDevice();
      const other = new CpuDevice();
      const ptr = device.nativeAlloc(1000);
      const pinned = device.pinnedAlloc(1000);
      for (const bad of [at(ptr, 64), 64 as DevicePtr, pinned, Number.NaN as DevicePtr, -1 as DevicePtr]) {
        expect(codeOf(() => device.nativeFree(bad))).toBe('ERR_MEM_UNKNOWN_POINTER');
      }
      expect(codeOf(() => other.nativeFree(ptr))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(device.liveBytes).toBe(2000);
      device.nativeFree(ptr);
      expect(codeOf(() => device.nativeFree(ptr))).toBe('ERR_MEM_UNKNOWN_POINTER');
      device.pinnedFree(pinned);
      expect(device.liveBytes).toBe(0);
    });

    test('ignores the null pointer', () => {
      new CpuDevice().nativeFree(0 as DevicePtr);
    });

    test('retires whole pages that were viewed, and hands none of them out again while arrays may exist', () => {
      const device = new CpuDevice();
      const seen = new Set<number>();
      for (let i = 0; i < 50; i++) {
        const ptr = device.nativeAlloc(1 * MiB);
        expect(seen.has(ptr)).toBe(false);
        seen.add(ptr);
        const view = device.view(ptr, 1 * MiB).fill(7);
        device.nativeFree(ptr);
        expect(view[12345]).toBe(0);
        view[12345] = 1;
      }
      expect(device.retiredBytes).toBe(50 * MiB);
      expect(device.keptBytes).toBe(0);
    });

    test('keeps a viewed segment below a page for a request of the same size', () => {
      const device = new CpuDevice();
      const ptr = device.nativeAlloc(100);
      device.view(ptr, 100);
      device.nativeFree(ptr);
      expect(device.keptBytes).toBe(128);
      expect(device.nativeAlloc(200)).not.toBe(ptr);
      expect(device.nativeAlloc(110)).toBe(ptr);
      expect(device.keptBytes).toBe(0);
      device.nativeFree(ptr);
      expect(device.keptBytes).toBe(128);
      expect(device.retiredBytes).toBe(0);
    });
  });

  describe('pinnedAlloc', () => {
    test('gives whole locked pages', () => {
      const device = new CpuDevice();
      const listener = vi.fn();
      device.events.on('pin-failed', listener);
      const ptr = device.pinnedAlloc(100);
      expect(ptr % pageBytes()).toBe(0);
      device.view(ptr, 100).fill(1);
      device.pinnedFree(ptr);
      expect(device.retiredBytes).toBe(pageBytes());
      expect(listener.mock.calls.length).toBe(Math.min(1, device.pinFailures));
    });

    test('gives null for 0 bytes and refuses bad arguments', () => {
      const device = new CpuDevice();
      expect(device.pinnedAlloc(0)).toBe(0);
      expect(device.pinnedAlloc(2 ** 52)).toBe(0);
      for (const bytes of BAD_SIZES) expect(codeOf(() => device.pinnedAlloc(bytes))).toBe('ERR_MEM_INVALID_SIZE');
      expect(codeOf(() => device.pinnedAlloc(64, 3))).toBe('ERR_MEM_INVALID_ALIGNMENT');
    });
  });

  describe('pinnedFree', () => {
    test('refuses what pinnedAlloc did not hand out', () => {
      const device = new CpuDevice();
      const ptr = device.nativeAlloc(8192);
      expect(codeOf(() => device.pinnedFree(ptr))).toBe('ERR_MEM_UNKNOWN_POINTER');
      device.pinnedFree(0 as DevicePtr);
      device.nativeFree(ptr);
    });
  });

  describe('copy', () => {
    test('copies ranges that overlap', () => {
      const device = new CpuDevice();
      const ptr = device.nativeAlloc(256);
      const bytes = device.view(ptr, 256);
      bytes.forEach((_, i) => {
        bytes[i] = i;
      });
      device.copy(at(ptr, 10), ptr, 200);
      expect([...bytes.subarray(10, 210)]).toEqual(Array.from({ length: 200 }, (_, i) => i));
      device.copy(ptr, at(ptr, 10), 200);
      expect([...bytes.subarray(0, 200)]).toEqual(Array.from({ length: 200 }, (_, i) => i));
    });

    test('trusts memory of others at one end, not at both', () => {
      const [ours, theirs] = [new CpuDevice(), new CpuDevice()];
      const [a, b] = [ours.nativeAlloc(64), theirs.nativeAlloc(64)];
      theirs.fill(b, 9, 64);
      ours.copy(a, b, 64);
      expect(ours.view(a, 64)).toEqual(theirs.view(b, 64));
      ours.fill(a, 3, 64);
      ours.copy(b, a, 64);
      expect(theirs.view(b, 1)[0]).toBe(3);
      const c = theirs.nativeAlloc(64);
      expect(codeOf(() => ours.copy(c, b, 64))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => ours.copy(a, 0 as DevicePtr, 64))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => ours.copy(a, -8 as DevicePtr, 64))).toBe('ERR_MEM_INVALID_POINTER');
    });

    test('refuses a range that leaves its segment, and touches nothing', () => {
      const device = new CpuDevice();
      const [a, b] = [device.nativeAlloc(128), device.nativeAlloc(64)];
      device.fill(a, 1, 128);
      device.fill(b, 2, 64);
      expect(codeOf(() => device.copy(b, a, 65))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => device.copy(at(b, 1), a, 64))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => device.copy(a, at(b, -1), 64))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect([...device.view(b, 64)]).toEqual(new Array(64).fill(2));
      for (const bytes of BAD_SIZES) expect(codeOf(() => device.copy(a, b, bytes))).toBe('ERR_MEM_INVALID_SIZE');
      device.copy(0 as DevicePtr, 0 as DevicePtr, 0);
    });
  });

  describe('fill', () => {
    test('sets the bytes of a range and no other', () => {
      const device = new CpuDevice();
      const ptr = device.nativeAlloc(64);
      device.fill(ptr, 0, 64);
      device.fill(at(ptr, 8), 255, 16);
      expect(device.view(ptr, 64).reduce((sum, byte) => sum + byte, 0)).toBe(16 * 255);
    });

    test('refuses bad arguments', () => {
      const device = new CpuDevice();
      const ptr = device.nativeAlloc(64);
      for (const value of [-1, 256, 1.5, Number.NaN])
        expect(codeOf(() => device.fill(ptr, value, 1))).toBe('ERR_MEM_INVALID_ARGUMENT');
      for (const bytes of BAD_SIZES) expect(codeOf(() => device.fill(ptr, 0, bytes))).toBe('ERR_MEM_INVALID_SIZE');
      expect(codeOf(() => device.fill(ptr, 0, 65))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => device.fill(4096 as DevicePtr, 0, 1))).toBe('ERR_MEM_UNKNOWN_POINTER');
      device.nativeFree(ptr);
      expect(codeOf(() => device.fill(ptr, 0, 1))).toBe('ERR_MEM_UNKNOWN_POINTER');
    });
  });

  describe('synchronize', () => {
    test('returns at once', () => {
      new CpuDevice().synchronize();
    });
  });

  describe('view', () => {
    test('shares the memory, from one buffer a segment', () => {
      const device = new CpuDevice();
      const ptr = device.nativeAlloc(1 * MiB);
      const [a, b] = [device.view(ptr, 100), device.view(at(ptr, 50), 100)];
      expect(a.buffer).toBe(b.buffer);
      a[60] = 42;
      expect(b[10]).toBe(42);
      device.fill(ptr, 5, 1 * MiB);
      expect(b[99]).toBe(5);
    });

    test('finds the segment of an inner address among many', () => {
      const device = new CpuDevice();
      const ptrs = Array.from({ length: 2000 }, (_, i) => device.nativeAlloc(64 + i));
      ptrs.forEach((ptr, i) => {
        device.fill(at(ptr, 63), i % 256, 1);
      });
      for (let i = 0; i < ptrs.length; i += 2) device.nativeFree(ptrs[i] as DevicePtr);
      for (let i = 1; i < ptrs.length; i += 2) expect(device.view(at(ptrs[i] as DevicePtr, 63), 1)[0]).toBe(i % 256);
      for (let i = 0; i < ptrs.length; i += 2) {
        expect(codeOf(() => device.view(ptrs[i] as DevicePtr, 1))).toBe('ERR_MEM_UNKNOWN_POINTER');
      }
    });

    test('sees any part of a segment above 4 GiB, but not more than 4 GiB at once', () => {
      const device = new CpuDevice();
      const bytes = 9 * GiB;
      const ptr = device.nativeAlloc(bytes);
      for (const offset of [0, 2 * GiB - 1, 4 * GiB - 1, 6 * GiB + 5, bytes - 10]) {
        device.view(at(ptr, offset), 10)[9] = 7;
        device.copy(ptr, at(ptr, offset + 9), 1);
        expect(device.view(ptr, 1)[0]).toBe(7);
        device.fill(ptr, 0, 1);
      }
      expect(device.view(at(ptr, 1), 4 * GiB).length).toBe(4 * GiB);
      expect(codeOf(() => device.view(ptr, 4 * GiB + 1))).toBe('ERR_MEM_INVALID_ARGUMENT');
      device.nativeFree(ptr);
      expect(device.retiredBytes).toBe(bytes);
    });

    test('refuses what is not inside one live segment', () => {
      const device = new CpuDevice();
      const ptr = device.nativeAlloc(100);
      expect(codeOf(() => device.view(ptr, 101))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => device.view(at(ptr, -1), 2))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => device.view(at(ptr, 100), 1))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => device.view(Number.NaN as DevicePtr, 1))).toBe('ERR_MEM_INVALID_POINTER');
      for (const bytes of BAD_SIZES) expect(codeOf(() => device.view(ptr, bytes))).toBe('ERR_MEM_INVALID_SIZE');
      expect(device.view(ptr, 0).length).toBe(0);
      device.nativeFree(ptr);
      expect(codeOf(() => device.view(ptr, 1))).toBe('ERR_MEM_UNKNOWN_POINTER');
    });
  });

  test('has no streams, managed memory and registration, and says so', async () => {
    const device = new CpuDevice();
    const ptr = device.nativeAlloc(64);
    const uses = [
      () => device.createStream(),
      () => device.managedAlloc(64),
      () => device.managedFree(ptr),
      () => device.registerHost(ptr, 64),
      () => device.unregisterHost(ptr),
    ];
    for (const use of uses) expect(codeOf(use)).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
    for (const work of [device.copyAsync(ptr, ptr, 8), device.fillAsync(ptr, 0, 8)]) {
      await expect(work).rejects.toMatchObject({ code: 'ERR_MEM_UNSUPPORTED_PLATFORM', facts: { platform: 'cpu' } });
    }
    device.nativeFree(ptr);
  });
});
