import { describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { type DevicePtr, devicePtr, MiB } from '../../src/core/units.js';
import { codeOf } from '../fixtures/code-of.js';

function at(ptr: DevicePtr, offset: number): DevicePtr {
  return devicePtr(ptr + offset);
}

describe('SimulatedDevice', () => {
  describe('virtual', () => {
    const PAGE = 4096;

    function setUp(capacityBytes = 1 * MiB): { device: SimulatedDevice; virtual: NonNullable<SimulatedDevice['virtual']> } {
      const device = new SimulatedDevice({ virtual: { granularityBytes: PAGE }, deviceCount: 2, capacityBytes });
      return { device, virtual: device.virtual as NonNullable<SimulatedDevice['virtual']> };
    }

    test('reserves addresses beyond the capacity, and commits up to it', () => {
      const { device, virtual } = setUp(4 * PAGE);
      const ptr = virtual.reserve(100 * PAGE);
      expect(ptr % PAGE).toBe(0);
      const segment = device.nativeAlloc(PAGE);
      expect(virtual.commit(ptr, 4 * PAGE)).toBe(false);
      expect(virtual.commit(ptr, 3 * PAGE)).toBe(true);
      expect(device.nativeAlloc(1)).toBe(0);
      device.fill(at(ptr, PAGE), 1, 2 * PAGE);
      device.copy(ptr, segment, PAGE);
      expect(codeOf(() => device.fill(at(ptr, 2 * PAGE), 1, 2 * PAGE))).toBe('ERR_MEM_OUT_OF_RANGE');
      virtual.decommit(at(ptr, PAGE), PAGE);
      expect(codeOf(() => device.fill(at(ptr, PAGE), 1, 1))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect([device.liveBytes, device.peakBytes, virtual.committedBytes]).toEqual([3 * PAGE, 4 * PAGE, 2 * PAGE]);
      virtual.release(ptr, 100 * PAGE);
      expect(device.liveBytes).toBe(PAGE);
      expect(device.counts).toMatchObject({ reserve: 1, commit: 2, decommit: 1, release: 1 });
      device.checkInvariants();
    });

    test('charges the device that was active at the reservation', () => {
      const { device, virtual } = setUp();
      device.activate(1);
      const ptr = virtual.reserve(PAGE);
      device.activate(0);
      virtual.commit(ptr, PAGE);
      expect([device.liveBytesOf(0), device.liveBytesOf(1)]).toEqual([0, PAGE]);
    });

    test('refuses to commit twice and to decommit what is not committed', () => {
      const { virtual } = setUp();
      const ptr = virtual.reserve(4 * PAGE);
      virtual.commit(ptr, PAGE);
      expect(codeOf(() => virtual.commit(ptr, 2 * PAGE))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => virtual.decommit(ptr, 2 * PAGE))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });

    test('takes back whole pieces alone where it is told to', () => {
      const device = new SimulatedDevice({ virtual: { granularityBytes: PAGE, pieces: true } });
      const virtual = device.virtual!;
      const ptr = virtual.reserve(8 * PAGE);
      virtual.commit(ptr, 5 * PAGE, 2 * PAGE);
      expect(virtual.pieces!.wholeIn(at(ptr, PAGE), 4 * PAGE)).toEqual({ ptr: at(ptr, 2 * PAGE), bytes: 3 * PAGE });
      expect(codeOf(() => virtual.decommit(ptr, PAGE))).toBe('ERR_MEM_INVALID_ARGUMENT');
      virtual.pieces!.reusing(() => virtual.decommit(at(ptr, 2 * PAGE), 3 * PAGE));
      expect([device.liveBytes, virtual.committedBytes]).toEqual([2 * PAGE, 2 * PAGE]);
      virtual.commit(at(ptr, 2 * PAGE), 2 * PAGE);
      virtual.decommit(at(ptr, 3 * PAGE), PAGE);
      expect(new SimulatedDevice({ virtual: true }).virtual!.pieces).toBeUndefined();
      expect(codeOf(() => new SimulatedDevice({ virtual: { pieces: 1 as unknown as boolean } }))).toBe(
        'ERR_MEM_INVALID_ARGUMENT',
      );
    });

    test('refuses bad sizes and parts', () => {
      const { virtual } = setUp();
      const ptr = virtual.reserve(4 * PAGE);
      expect(virtual.reserve(0)).toBe(0);
      expect(virtual.reserve(2 ** 52)).toBe(0);
      expect(codeOf(() => virtual.reserve(-1))).toBe('ERR_MEM_INVALID_SIZE');
      expect(codeOf(() => virtual.reserve(100))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => virtual.commit(at(ptr, 100), PAGE))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => virtual.commit(ptr, 100))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => virtual.commit(ptr, 5 * PAGE))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => virtual.commit(at(ptr, 4 * PAGE), PAGE))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => virtual.decommit(PAGE as DevicePtr, PAGE))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => virtual.release(ptr, PAGE))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => virtual.release(at(ptr, PAGE), PAGE))).toBe('ERR_MEM_UNKNOWN_POINTER');
      virtual.release(ptr, 4 * PAGE);
      virtual.release(0 as DevicePtr, 0);
      expect(codeOf(() => virtual.release(ptr, 4 * PAGE))).toBe('ERR_MEM_DOUBLE_FREE');
    });

    test('fails when told', () => {
      const { device, virtual } = setUp();
      const ptr = virtual.reserve(PAGE);
      device.failNext(2);
      expect(virtual.commit(ptr, PAGE)).toBe(false);
      expect(virtual.reserve(PAGE)).toBe(0);
      expect(virtual.commit(ptr, PAGE)).toBe(true);
      device.failWhen(() => new Error('lost'));
      expect(() => virtual.decommit(ptr, PAGE)).toThrow('lost');
      expect(() => virtual.release(ptr, PAGE)).toThrow('lost');
      expect(virtual.committedBytes).toBe(PAGE);
    });
  });
});
