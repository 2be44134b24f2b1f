import { describe, expect, test } from 'vitest';
import type { ManagedAdvice } from '../../../adapters/devices/gpu/gpu-managed.js';
import { type DevicePtr, MiB } from '../../../src/core/units.js';
import { memoryError } from '../../core/fakes.js';
import { codeOf } from '../../fixtures/code-of.js';
import { GpuFixture } from '../../fixtures/gpu-fixture.js';

const HOST = -1;
const NOWHERE = -2;

// Of CUDA 13 a place is a struct, of HIP a number.
describe.each(['cuda', 'hip'] as const)('managed memory of a %s device', (kind) => {
  const fixture = new GpuFixture(kind);

  describe('prefetchAsync', () => {
    test('moves pages to a card and to the host, in the order of a stream', async () => {
      const device = fixture.fresh();
      const ptr = device.managedAlloc(MiB);
      using stream = device.createStream();
      const moved = device.prefetchAsync(ptr, MiB, 1, stream.id);
      expect(fixture.place(ptr)).toBe(NOWHERE);
      await moved;
      expect(fixture.place(ptr)).toBe(1);
      await device.prefetchAsync((ptr + 4096) as DevicePtr, 4096, 0);
      expect(fixture.place(ptr)).toBe(0);
      await device.prefetchAsync(ptr, MiB, 'host', stream.id);
      expect(fixture.place(ptr)).toBe(HOST);
      await device.prefetchAsync(ptr, 0, 0);
      expect([fixture.place(ptr), fixture.liveEvents, fixture.lastError]).toEqual([HOST, 0, 0]);
    });

    test('refuses other memory, places and streams that are none, and enqueues nothing', async () => {
      const device = fixture.fresh();
      const [managed, plain] = [device.managedAlloc(MiB), device.nativeAlloc(MiB)];
      const code = async (moved: Promise<void>) =>
        moved.then(
          () => 'none',
          (error) => error.code,
        );
      expect(await code(device.prefetchAsync(plain, MiB, 0))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(await code(device.prefetchAsync(8 as DevicePtr, 8, 0))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(await code(device.prefetchAsync(managed, MiB + 1, 0))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(await code(device.prefetchAsync(managed, -1, 0))).toBe('ERR_MEM_INVALID_SIZE');
      for (const id of [2, -1, 0.5]) {
        expect(await code(device.prefetchAsync(managed, MiB, id))).toBe('ERR_MEM_INVALID_DEVICE');
      }
      expect(await code(device.prefetchAsync(managed, MiB, 0, 1e6))).toBe('ERR_MEM_INVALID_ARGUMENT');
      fixture.fail('MemPrefetchAsync', 101);
      await expect(device.prefetchAsync(managed, MiB, 0)).rejects.toThrow(
        memoryError('ERR_MEM_NATIVE', { functionName: `${kind}MemPrefetchAsync`, status: 101 }),
      );
      expect([fixture.pending, fixture.liveEvents, fixture.place(managed)]).toEqual([0, 0, NOWHERE]);
    });
  });

  describe('advise', () => {
    test.each<[ManagedAdvice, ManagedAdvice, number]>([
      ['read-mostly', 'not-read-mostly', 1],
      ['preferred', 'not-preferred', 3],
      ['accessed-by', 'not-accessed-by', 5],
    ])('tells the driver %s, and %s', (advice, opposite, number) => {
      const device = fixture.fresh();
      const ptr = device.managedAlloc(MiB);
      for (const place of [undefined, 1, 'host'] as const) {
        device.advise(ptr, MiB, advice, place);
        expect(fixture.advice(ptr)).toBe(1 << number);
        device.advise(ptr, MiB, opposite, place);
        expect(fixture.advice(ptr)).toBe(0);
      }
    });

    test('refuses other memory, advice and devices that are none', () => {
      const device = fixture.fresh();
      const [managed, plain] = [device.managedAlloc(MiB), device.nativeAlloc(MiB)];
      expect(codeOf(() => device.advise(plain, MiB, 'preferred'))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => device.advise(managed, 2 * MiB, 'preferred'))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => device.advise(managed, MiB, 'preferred', 2))).toBe('ERR_MEM_INVALID_DEVICE');
      expect(() => device.advise(managed, MiB, 'toString' as ManagedAdvice)).toThrow(
        memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'advice' }),
      );
      device.advise(managed, 0, 'preferred');
      expect(fixture.advice(managed)).toBe(0);
    });
  });
});
