import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { CudaDevice } from '../../../adapters/devices/cuda.js';
import type { GpuAsyncPool } from '../../../adapters/devices/gpu/gpu-async-pool.js';
import type { GpuMemory } from '../../../adapters/devices/gpu/gpu-memory.js';
import { CachingMemoryManager, TlsfMemoryManager } from '../../../managers/index.js';
import { KiB, MiB, NULL_PTR } from '../../../src/core/units.js';
import { describeDevice } from '../../conformance/device-suite.js';
import type { DeviceCase } from '../../conformance/manager-bench.js';
import { describeManager } from '../../conformance/manager-suite.js';
import { memoryError } from '../../core/fakes.js';
import { codeOf } from '../../fixtures/code-of.js';
import { GpuFixture, takeAgain } from '../../fixtures/gpu-fixture.js';

const fixture = new GpuFixture('cuda');

function poolOf(device: GpuMemory): GpuAsyncPool {
  return device.asyncPool!;
}

describe.each(['cuda', 'hip'] as const)('the asyncPool of a %s device', (kind) => {
  const own = kind === 'cuda' ? fixture : new GpuFixture('hip');
  const fresh = (asyncPool: boolean | { releaseThresholdBytes?: number } = true) => own.fresh({ options: { asyncPool } });

  test('is there when it is asked for', () => {
    expect(own.fresh().asyncPool).toBeUndefined();
    expect(fresh(false).asyncPool).toBeUndefined();
    expect(poolOf(fresh()).info(0)).toEqual({ reservedBytes: 0, reservedPeakBytes: 0, usedBytes: 0, usedPeakBytes: 0 });
  });

  test('keeps what was freed for the next segment, until it is trimmed', () => {
    const device = fresh();
    const [a, b] = [device.nativeAlloc(MiB), device.nativeAlloc(2 * MiB)];
    device.nativeFree(a);
    expect(poolOf(device).info(0)).toMatchObject({ reservedBytes: 3 * MiB, usedBytes: 2 * MiB, usedPeakBytes: 3 * MiB });
    expect(device.memoryInfo(0).freeBytes).toBe(253 * MiB);
    poolOf(device).trim(0, 2.5 * MiB);
    expect(poolOf(device).info(0).reservedBytes).toBe(2.5 * MiB);
    poolOf(device).trim(0, 0);
    expect(poolOf(device).info(0)).toMatchObject({ reservedBytes: 2 * MiB, reservedPeakBytes: 3 * MiB });
    device.nativeFree(b);
    poolOf(device).trim(0, 0);
    expect([own.used(0), own.liveRanges, device.liveBytes, own.pending]).toEqual([0, 0, 0, 0]);
  });

  test('keeps no more than the release threshold when something is waited for', () => {
    const device = fresh({ releaseThresholdBytes: MiB });
    const [a, b] = [device.nativeAlloc(MiB), device.nativeAlloc(2 * MiB)];
    device.nativeFree(b);
    device.synchronize();
    expect(own.used(0)).toBe(MiB);
    device.nativeFree(a);
    device.synchronize();
    expect(own.used(0)).toBe(MiB);
  });

  test('has a pool for each card', () => {
    const device = fresh();
    device.activate(1);
    const ptr = device.nativeAlloc(MiB);
    expect([poolOf(device).info(0).usedBytes, poolOf(device).info(1).usedBytes]).toEqual([0, MiB]);
    device.activate(0);
    device.nativeFree(ptr);
    expect([own.currentDevice, poolOf(device).info(1).usedBytes]).toEqual([0, 0]);
  });
});

describe('the asyncPool of a CudaDevice', () => {
  test('refuses settings that are none', () => {
    const make = (asyncPool: unknown) => () => new CudaDevice({ asyncPool: asyncPool as boolean });
    expect(codeOf(make({ releaseThresholdBytes: -1 }))).toBe('ERR_MEM_INVALID_SIZE');
    expect(make({ threshold: 1 })).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { value: '"threshold"' }));
    expect(codeOf(make(1))).toBe('ERR_MEM_INVALID_ARGUMENT');
    const pool = poolOf(fixture.fresh({ options: { asyncPool: true } }));
    expect(codeOf(() => pool.trim(0, -1))).toBe('ERR_MEM_INVALID_SIZE');
    expect(codeOf(() => pool.trim(2, 0))).toBe('ERR_MEM_NATIVE');
  });

  test('frees after all work of the device', async () => {
    const device = fixture.fresh({ options: { asyncPool: true } });
    const [a, b] = [device.nativeAlloc(4096), device.nativeAlloc(4096)];
    device.fill(a, 1, 4096);
    const copied = device.copyAsync(b, a, 4096, device.createStream().id);
    device.nativeFree(a);
    expect(fixture.peek(b, 1)).toEqual(Uint8Array.of(1));
    await copied;
  });

  test('answers 0 when there is no room, and uses what it has kept first', () => {
    const device = fixture.fresh({ capacityBytes: 4 * MiB, options: { asyncPool: true } });
    const ptr = device.nativeAlloc(3 * MiB);
    expect(device.nativeAlloc(2 * MiB)).toBe(NULL_PTR);
    expect(fixture.lastError).toBe(0);
    device.nativeFree(ptr);
    expect(device.nativeAlloc(4 * MiB)).not.toBe(NULL_PTR);
  });

  test('loses nothing to any n-th native call that fails', () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    onTestFinished(() => void vi.restoreAllMocks());
    let n = 1;
    for (; ; n++) {
      const device = fixture.fresh({ capacityBytes: 16 * MiB, options: { asyncPool: true } });
      const calls = fixture.calls;
      fixture.failNth(n, 999);
      const ptrs = [MiB, 2 * MiB].map((bytes) => takeAgain(() => device.nativeAlloc(bytes)));
      for (const ptr of ptrs) takeAgain(() => device.nativeFree(ptr));
      const last = takeAgain(() => device.nativeAlloc(64));
      takeAgain(() => device.nativeFree(last));
      takeAgain(() => device.synchronize());
      expect({
        n,
        used: takeAgain(() => poolOf(device).info(0).usedBytes),
        ranges: fixture.liveRanges,
        live: device.liveBytes,
      }).toEqual({ n, used: 0, ranges: 0, live: 0 });
      takeAgain(() => poolOf(device).trim(0, 0));
      expect([n, fixture.used(0)]).toEqual([n, 0]);
      if (fixture.calls - calls < n) break;
    }
    expect(n).toBeGreaterThan(20);
  });
});

describeDevice('cuda with asyncPool', {
  make: () => fixture.fresh({ deviceCount: 2, pageBytes: 64 * KiB, options: { asyncPool: { releaseThresholdBytes: 0 } } }),
  hasBytes: true,
  hasViews: false,
  has: ['managed memory', 'registration', 'memory info'],
  leastAlignment: 256,
});

const CASE: DeviceCase = {
  name: 'CUDA with asyncPool',
  deviceCount: 1,
  hasBytes: false,
  hasCapacity: true,
  make: (capacityBytes = 2 ** 33) =>
    fixture.fresh({ deviceCount: 1, capacityBytes, pageBytes: 0, options: { asyncPool: { releaseThresholdBytes: 0 } } }),
};
describeManager('CachingMemoryManager', (deviceCount, table, options) => new CachingMemoryManager(deviceCount, table, options), [
  CASE,
]);
describeManager('TlsfMemoryManager', (deviceCount, table, options) => new TlsfMemoryManager(deviceCount, table, options), [CASE]);
