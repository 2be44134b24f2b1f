import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import type { VirtualMemory } from '../../src/core/device-interface.js';
import { type DevicePtr, devicePtr, GiB, KiB, MiB } from '../../src/core/units.js';
import { codeOf } from '../fixtures/code-of.js';

const PAGE = 64 * KiB;

function setUp(granularityBytes?: number): { device: CpuDevice; virtual: VirtualMemory } {
  const device = new CpuDevice(granularityBytes === undefined ? {} : { granularityBytes });
  return { device, virtual: device.virtual as VirtualMemory };
}

function at(ptr: DevicePtr, offset: number): DevicePtr {
  return devicePtr(ptr + offset);
}

function residentBytes(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * KiB;
}

describe.skipIf(process.platform === 'win32')('CpuVirtualMemory', () => {
  describe('reserve', () => {
    test.each([4096, 64 * KiB, 2 * MiB])('starts at a multiple of a granularity of %i', (granularityBytes) => {
      const { virtual } = setUp(granularityBytes);
      expect(virtual.granularityBytes).toBe(granularityBytes);
      const ptr = virtual.reserve(granularityBytes * 3);
      expect(ptr % granularityBytes).toBe(0);
      virtual.release(ptr, granularityBytes * 3);
    });

    test('takes addresses only, and gives null when there are none left', () => {
      const { virtual } = setUp();
      const ptr = virtual.reserve(1024 * GiB);
      expect(ptr).toBeGreaterThan(0);
      virtual.release(ptr, 1024 * GiB);
      expect(virtual.reserve(2 ** 52)).toBe(0);
      expect(virtual.reserve(0)).toBe(0);
    });

    test('refuses bad sizes', () => {
      const { virtual } = setUp();
      for (const bytes of [-1, Number.NaN, 2 ** 53]) expect(codeOf(() => virtual.reserve(bytes))).toBe('ERR_MEM_INVALID_SIZE');
      expect(codeOf(() => virtual.reserve(PAGE + 4096))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });
  });

  describe('commit', () => {
    test('makes its part usable and no other', () => {
      const { device, virtual } = setUp();
      const ptr = virtual.reserve(4 * PAGE);
      expect(codeOf(() => device.view(ptr, 1))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => device.fill(ptr, 1, 1))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(virtual.commit(at(ptr, PAGE), 2 * PAGE)).toBe(true);
      device.fill(at(ptr, PAGE), 3, 2 * PAGE);
      expect(device.view(at(ptr, 3 * PAGE - 1), 1)[0]).toBe(3);
      expect(codeOf(() => device.view(at(ptr, 3 * PAGE - 1), 2))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => device.copy(ptr, at(ptr, PAGE), 1))).toBe('ERR_MEM_OUT_OF_RANGE');
      virtual.release(ptr, 4 * PAGE);
    });

    test('refuses committed pages and bad parts', () => {
      const { device, virtual } = setUp();
      const ptr = virtual.reserve(4 * PAGE);
      virtual.commit(ptr, PAGE);
      expect(codeOf(() => virtual.commit(ptr, 2 * PAGE))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => virtual.commit(at(ptr, PAGE), 4096))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => virtual.commit(at(ptr, PAGE + 4096), PAGE))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => virtual.commit(at(ptr, PAGE), -PAGE))).toBe('ERR_MEM_INVALID_SIZE');
      expect(codeOf(() => virtual.commit(at(ptr, PAGE), 4 * PAGE))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => virtual.commit(PAGE as DevicePtr, PAGE))).toBe('ERR_MEM_UNKNOWN_POINTER');
      const segment = device.nativeAlloc(PAGE, PAGE);
      expect(codeOf(() => virtual.commit(segment, PAGE))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => device.nativeFree(ptr))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => virtual.commit(at(ptr, PAGE), PAGE))).toBe('none');
    });
  });

  describe('decommit', () => {
    test.runIf(process.platform === 'linux')('gives the memory back and leaves views safe', () => {
      const { device, virtual } = setUp();
      const bytes = 256 * MiB;
      const ptr = virtual.reserve(bytes);
      virtual.commit(ptr, bytes);
      const view = device.view(ptr, bytes);
      device.fill(ptr, 1, bytes);
      const before = residentBytes();
      virtual.decommit(ptr, bytes);
      expect(before - residentBytes()).toBeGreaterThan(200 * MiB);
      expect(view[bytes - 1]).toBe(0);
      expect(codeOf(() => device.view(ptr, 1))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(virtual.commit(ptr, PAGE)).toBe(true);
      expect(device.view(ptr, 1)[0]).toBe(0);
      virtual.release(ptr, bytes);
    });

    test('refuses what is not committed', () => {
      const { virtual } = setUp();
      const ptr = virtual.reserve(4 * PAGE);
      virtual.commit(ptr, PAGE);
      expect(codeOf(() => virtual.decommit(ptr, 2 * PAGE))).toBe('ERR_MEM_INVALID_ARGUMENT');
      virtual.decommit(ptr, PAGE);
      expect(codeOf(() => virtual.decommit(ptr, PAGE))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });
  });

  describe('release', () => {
    test('unmaps a range that nobody viewed, and retires another', () => {
      const { device, virtual } = setUp();
      const [a, b] = [virtual.reserve(2 * PAGE), virtual.reserve(2 * PAGE)];
      virtual.release(a, 2 * PAGE);
      expect(device.retiredBytes).toBe(0);
      virtual.commit(b, PAGE);
      const view = device.view(b, PAGE).fill(1);
      virtual.release(b, 2 * PAGE);
      expect(device.retiredBytes).toBe(2 * PAGE);
      expect(view[0]).toBe(0);
      expect(new Uint8Array(view.buffer)[2 * PAGE - 1]).toBe(0);
    });

    test('takes whole ranges only', () => {
      const { device, virtual } = setUp();
      const ptr = virtual.reserve(2 * PAGE);
      expect(codeOf(() => virtual.release(ptr, PAGE))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => virtual.release(at(ptr, PAGE), PAGE))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => virtual.release(device.nativeAlloc(PAGE), PAGE))).toBe('ERR_MEM_UNKNOWN_POINTER');
      virtual.release(ptr, 2 * PAGE);
      expect(codeOf(() => virtual.release(ptr, 2 * PAGE))).toBe('ERR_MEM_UNKNOWN_POINTER');
      virtual.release(0 as DevicePtr, 0);
    });
  });
});
