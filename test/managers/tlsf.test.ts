import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { TlsfMemoryManager } from '../../managers/tlsf/tlsf-memory-manager.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, GiB, KiB, MiB } from '../../src/core/units.js';

function bench(capacityBytes = GiB): { device: SimulatedDevice; manager: TlsfMemoryManager } {
  const device = new SimulatedDevice({ capacityBytes });
  const table = new MemoryManagerDeviceInterface();
  table.getActiveDeviceId = () => device.activeDeviceId;
  table.getMaxMemorySize = (id) => device.getMaxMemorySize(id);
  table.nativeAlloc = (bytes, alignment) => device.nativeAlloc(bytes, alignment);
  table.nativeFree = (ptr) => device.nativeFree(ptr);
  const manager = new TlsfMemoryManager(1, table);
  manager.initialize();
  return { device, manager };
}

describe('TlsfMemoryManager', () => {
  describe('allocBytes', () => {
    test('asks which device is active unless there is only one', () => {
      const { manager } = bench();
      const { deviceInterface: table } = manager;
      const ask = vi.spyOn(table, 'getActiveDeviceId');
      const asked = () => {
        manager.allocBytes(64, true);
        return ask.mock.calls.splice(0).length > 0;
      };
      manager.allocBytes(64, true);
      expect(asked()).toBe(true);
      table.deviceCount = 2;
      expect(asked()).toBe(true);
    });

    test('asks no more which device is active once it has memory of the only one', () => {
      const { manager } = bench();
      manager.deviceInterface.deviceCount = 1;
      manager.allocBytes(64, true);
      const ask = vi.spyOn(manager.deviceInterface, 'getActiveDeviceId');
      manager.allocBytes(64, true);
      expect(ask).not.toHaveBeenCalled();
    });

    test('refuses the only device when it is managed no more', () => {
      const { manager } = bench();
      manager.deviceInterface.deviceCount = 1;
      manager.unlock(manager.allocBytes(64, true), true);
      manager.removeMemoryManagement(0);
      expect(() => manager.allocBytes(64, true)).toThrow(MemoryError);
    });

    test.each([
      [1, 2 * MiB],
      [MiB, 2 * MiB],
      [MiB + 1, 20 * MiB],
      [10 * MiB - 512, 20 * MiB],
      [10 * MiB, 10 * MiB],
      [10 * MiB + 1, 12 * MiB],
      [33 * MiB, 34 * MiB],
    ])('gets a segment for %i bytes of %i bytes', (bytes, segmentBytes) => {
      const { device, manager } = bench();
      manager.allocBytes(bytes, true);
      expect(device.liveBytes).toBe(segmentBytes);
    });

    test('rounds to 512 bytes and takes a freed block again', () => {
      const { device, manager } = bench();
      const first = manager.allocBytes(513, true);
      expect(manager.allocated(first)).toBe(1024);
      manager.allocBytes(1, true);
      manager.unlock(first, true);
      expect(manager.allocBytes(1000, true)).toBe(first);
      expect(device.counts.nativeAlloc).toBe(1);
    });

    test('takes the block of a bin that fits, the one that came back last first', () => {
      const { manager } = bench();
      const blocks = [201, 200, 202].map((units) => {
        const ptr = manager.allocBytes(units * 512, true);
        manager.allocBytes(1, true);
        return ptr;
      });
      for (const ptr of blocks) manager.unlock(ptr, true);
      expect(manager.allocBytes(201 * 512, true)).toBe(blocks[2]);
      expect(manager.allocBytes(201 * 512, true)).toBe(blocks[0]);
      expect(manager.allocBytes(199 * 512, true)).toBe(blocks[1]);
    });

    test('honours alignments above that of segments', () => {
      const { manager } = bench();
      for (const alignment of [1, 512, 4 * KiB, 2 * MiB, 4 * MiB]) {
        expect(manager.allocBytes(5000, true, alignment) % alignment).toBe(0);
        manager.checkInvariants();
      }
    });
  });

  describe('signalMemoryCleanup', () => {
    test('gives back segments that hold no live block', () => {
      const { device, manager } = bench();
      const small = manager.allocBytes(1, true);
      const large = manager.allocBytes(40 * MiB, true);
      manager.unlock(large, true);
      manager.signalMemoryCleanup();
      expect(device.liveBytes).toBe(2 * MiB);
      manager.unlock(small, true);
      manager.signalMemoryCleanup();
      expect(device.liveBytes).toBe(0);
    });
  });

  test('keeps its invariants after each step of any program, and changes nothing when a native call fails', () => {
    const size = fc.oneof(
      fc.integer({ min: 1, max: 4096 }),
      fc.integer({ min: 1, max: 2 * MiB }),
      fc.integer({ min: 1, max: 30 * MiB }),
    );
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ bytes: size, alignmentBits: fc.constantFrom(0, 0, 0, 12, 21) }) },
      { weight: 5, arbitrary: fc.record({ free: fc.nat() }) },
      { weight: 1, arbitrary: fc.constant('cleanup' as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), fc.nat({ max: 10 }), (steps, failing) => {
        const { device, manager } = bench(128 * MiB);
        device.failWhen(({ index, name }) => name === 'nativeAlloc' && index === failing);
        const live: { ptr: DevicePtr; bytes: number }[] = [];
        for (const action of steps) {
          if (action === 'cleanup') manager.signalMemoryCleanup();
          else if ('free' in action) {
            const held = live.splice(action.free % Math.max(live.length, 1), 1)[0];
            if (held !== undefined) manager.unlock(held.ptr, true);
          } else {
            const { bytes, alignmentBits } = action;
            try {
              live.push({ ptr: manager.allocBytes(bytes, true, alignmentBits === 0 ? 0 : 2 ** alignmentBits), bytes });
            } catch (error) {
              if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
            }
          }
          manager.checkInvariants();
          const { requestedBytes, reservedBytes } = manager.stats(0);
          expect(requestedBytes.current).toBe(live.reduce((sum, held) => sum + held.bytes, 0));
          expect(reservedBytes.current).toBe(device.liveBytes);
          let end = 0;
          for (const { ptr, bytes } of live.toSorted((a, b) => a.ptr - b.ptr)) {
            expect(ptr).toBeGreaterThanOrEqual(end);
            device.fill(ptr, 0, bytes);
            end = ptr + manager.allocated(ptr);
          }
        }
      }),
      { numRuns: 80 },
    );
  });
});
