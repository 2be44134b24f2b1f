import { afterEach, describe, expect, test, vi } from 'vitest';
import { DEFAULT_MAX_BUFFERS, DefaultMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { GiB, MiB } from '../../src/core/units.js';
import { installed, memoryError, simulatedRuntime } from '../core/fakes.js';

function byDefault(maxBuffers = DEFAULT_MAX_BUFFERS, debug = false, capacityBytes: number = 2 ** 40) {
  const { device, runtime } = simulatedRuntime({ capacityBytes });
  const manager = installed(new DefaultMemoryManager(1, new MemoryManagerDeviceInterface(), { maxBuffers, debug }), runtime);
  return { device, manager, alloc: (bytes: number) => manager.allocBytes(bytes, true) };
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('DefaultMemoryManager', () => {
  describe('allocBytes', () => {
    test('uses a kept buffer of the same rounded size, the last one first', () => {
      const { device, manager, alloc } = byDefault();
      const [a, b] = [alloc(1000), alloc(1024)];
      expect(manager.allocated(a)).toBe(1024);
      manager.unlock(a, true);
      manager.unlock(b, true);
      expect([alloc(1), alloc(1), device.counts.nativeAlloc]).toEqual([b, a, 2]);
      expect(alloc(1025)).not.toBe(a);
    });

    test('gives kept buffers back when there are too many', () => {
      const { device, manager, alloc } = byDefault(3);
      for (const ptr of [1, 2000, 4000].map(alloc)) manager.unlock(ptr, true);
      expect(device.liveSegments).toBe(3);
      alloc(8000);
      expect(device.liveSegments).toBe(1);
    });

    test('gives kept buffers back when too many bytes are live', () => {
      const { device, manager, alloc } = byDefault(DEFAULT_MAX_BUFFERS, false, 4 * GiB);
      manager.unlock(alloc(MiB), true);
      alloc(3 * GiB);
      expect(device.liveSegments).toBe(2);
      alloc(1);
      expect(device.liveSegments).toBe(2);
      expect(device.liveBytes).toBe(3 * GiB + 1024);
    });
  });

  describe('in debug mode', () => {
    test('has exact sizes and keeps nothing', () => {
      const { device, manager, alloc } = byDefault(DEFAULT_MAX_BUFFERS, true);
      const ptr = alloc(1000);
      expect([manager.allocated(ptr), manager.getMemStepSize()]).toEqual([1000, 1]);
      manager.unlock(ptr, true);
      expect(device.liveBytes).toBe(0);
    });

    test('leaves a block as it was when the device does not take it back', () => {
      const { device, manager, alloc } = byDefault(DEFAULT_MAX_BUFFERS, true);
      const ptr = alloc(1000);
      const before = manager.stats(0);
      device.failWhen(() => new Error('the driver is gone'));
      expect(() => manager.unlock(ptr, true)).toThrow('the driver is gone');
      manager.checkInvariants();
      expect([manager.allocated(ptr), manager.isUserLocked(ptr)]).toEqual([1000, true]);
      expect({ ...manager.stats(0), cachedBytes: 0 }).toEqual({ ...before, cachedBytes: 0 });
      device.failWhen(undefined);
      manager.unlock(ptr, true);
      expect(device.liveBytes).toBe(0);
    });
  });

  describe('setMemStepSize', () => {
    test('rounds later sizes to it', () => {
      const { manager, alloc } = byDefault();
      manager.setMemStepSize(100);
      expect([manager.getMemStepSize(), manager.allocated(alloc(101))]).toEqual([100, 200]);
    });

    test.each([0, -1, 0.5, Number.NaN])('refuses %d', (bytes) => {
      const { manager } = byDefault();
      expect(() => manager.setMemStepSize(bytes)).toThrow(
        memoryError(bytes === 0 ? 'ERR_MEM_INVALID_ARGUMENT' : 'ERR_MEM_INVALID_SIZE'),
      );
      expect(manager.getMemStepSize()).toBe(1024);
    });
  });

  describe('getMemoryPressure', () => {
    test('rises when too many bytes or buffers are live', () => {
      const { manager, alloc } = byDefault(2, false, 4 * GiB);
      expect(manager.getMemoryPressure()).toBe(0);
      const ptrs = [alloc(1), alloc(1), alloc(1)];
      expect(manager.getMemoryPressure()).toBe(1);
      for (const ptr of ptrs) manager.unlock(ptr, true);
      expect(manager.getMemoryPressure()).toBe(0);
      const large = alloc(3 * GiB);
      expect(manager.getMemoryPressure()).toBe(0);
      alloc(1);
      expect(manager.getMemoryPressure()).toBe(1);
      manager.unlock(large, true);
    });
  });

  describe('jitTreeExceedsMemoryPressure', () => {
    test('compares with the capacity while little is live, with what is live above a quarter', () => {
      const { manager, alloc } = byDefault(DEFAULT_MAX_BUFFERS, false, 8 * GiB);
      const max = 7 * GiB;
      const exceeds = (bytes: number) => manager.jitTreeExceedsMemoryPressure(bytes);
      expect([exceeds(0.1 * max), exceeds(0.1 * max + 1)]).toEqual([false, true]);
      alloc(2 * GiB);
      expect([exceeds(GiB), exceeds(GiB + 1)]).toEqual([false, true]);
    });
  });

  describe('environment', () => {
    test.each(['', 'x', '0', '-1', '1.5'])('AF_MAX_BUFFERS="%s" is refused', (text) => {
      vi.stubEnv('AF_MAX_BUFFERS', text);
      expect(() => byDefault()).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'AF_MAX_BUFFERS' }));
    });

    test('AF_MAX_BUFFERS overrides the argument', () => {
      vi.stubEnv('AF_MAX_BUFFERS', '1');
      const { device, manager, alloc } = byDefault(1000);
      manager.unlock(alloc(1), true);
      alloc(5000);
      expect(device.liveSegments).toBe(1);
    });

    test.each([
      ['1', 1],
      ['0', 1024],
      ['', 1024],
    ])('AF_MEM_DEBUG="%s" gives a step of %i', (text, step) => {
      vi.stubEnv('AF_MEM_DEBUG', text);
      expect(byDefault().manager.getMemStepSize()).toBe(step);
    });

    test('AF_MEM_DEBUG is refused when it is neither 0 nor 1', () => {
      vi.stubEnv('AF_MEM_DEBUG', 'yes');
      expect(() => byDefault()).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'AF_MEM_DEBUG', value: '"yes"' }));
    });
  });

  test.each([0, -1, 1.5, Number.NaN])('refuses maxBuffers of %d', (maxBuffers) => {
    expect(() => byDefault(maxBuffers)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'maxBuffers' }));
  });

  test.each([0, -1, 1.5, 65_537, Number.NaN])('refuses %d devices', (deviceCount) => {
    const table = new MemoryManagerDeviceInterface();
    const make = () => new DefaultMemoryManager(deviceCount, table);
    expect(make).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'deviceCount', value: String(deviceCount) }));
  });
});
