import { describe, expect, test } from 'vitest';
import { CudaDevice } from '../../../adapters/devices/cuda.js';
import type { GpuLimit } from '../../../adapters/devices/gpu/gpu-limit.js';
import { CachingMemoryManager, PoolMemoryManager } from '../../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../../src/core/device-interface.js';
import { MemoryError } from '../../../src/core/errors.js';
import { MemoryManagerInstaller } from '../../../src/core/memory-manager-installer.js';
import { type DevicePtr, KiB, MiB, NULL_PTR } from '../../../src/core/units.js';
import { MemoryRuntime } from '../../../src/runtime/memory-runtime.js';
import { memoryError } from '../../core/fakes.js';
import { codeOf } from '../../fixtures/code-of.js';
import { GpuFixture } from '../../fixtures/gpu-fixture.js';

const PAGE = 64 * KiB;
const fixture = new GpuFixture('cuda');
const limited = (limit: GpuLimit) => fixture.fresh({ capacityBytes: 100 * MiB, pageBytes: PAGE, options: { limit } });

describe('the limit of a CudaDevice', () => {
  test.each([
    [40 * MiB, 40 * MiB],
    ['90%', 90 * MiB],
    ['12.5 %' as '12.5%', 12.5 * MiB],
    ['100%', 100 * MiB],
    [1000 * MiB, 100 * MiB],
    ['50% of free', 50 * MiB],
  ] as const)('%j is what the card has', (limit, bytes) => {
    const device = limited(limit);
    expect([device.getMaxMemorySize(0), device.getMaxMemorySize(1)]).toEqual([bytes, bytes]);
    expect(device.memoryInfo(0)).toEqual({ freeBytes: 100 * MiB, totalBytes: 100 * MiB });
    expect(codeOf(() => device.getMaxMemorySize(2))).toBe('ERR_MEM_INVALID_DEVICE');
  });

  test('is a share of what is free at the first use of each card, and stays', () => {
    const other = limited('100%');
    const theirs = other.nativeAlloc(20 * MiB);
    const device = fixture.device({ limit: '50% of free' });
    expect(device.getMaxMemorySize(0)).toBe(40 * MiB);
    expect(device.getMaxMemorySize(1)).toBe(50 * MiB);
    other.nativeFree(theirs);
    device.nativeFree(device.nativeAlloc(30 * MiB));
    expect(device.getMaxMemorySize(0)).toBe(40 * MiB);
  });

  test.each<[unknown, string]>([
    ['90', "'90'"],
    ['0%', "'0%'"],
    ['100.1%', "'100.1%'"],
    ['-5%', "'-5%'"],
    ['90% of it', "'90% of it'"],
    ['', "''"],
    [0, '0'],
    [-1, '-1'],
    [0.9, '0.9'],
    [Number.NaN, 'NaN'],
    [null, 'null'],
  ])('refuses %j, and loads nothing', (limit, value) => {
    const make = () => new CudaDevice({ limit: limit as GpuLimit });
    expect(make).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'limit', value }));
    expect(make).toThrow(/a positive number of bytes, or a share from above 0 to 100, such as '90%' or '90% of free'$/);
  });

  test('holds for segments and pages together, of each card alone, and counts exactly', () => {
    const device = limited(MiB);
    const virtual = device.virtual!;
    const range = virtual.reserve(32 * PAGE);
    expect(virtual.commit(range, 12 * PAGE)).toBe(true);
    expect(device.nativeAlloc(5 * PAGE)).toBe(NULL_PTR);
    const segment = device.nativeAlloc(3 * PAGE);
    expect(segment).not.toBe(NULL_PTR);
    // With 256 bytes more for the alignment it is too much.
    expect(device.nativeAlloc(PAGE, 512)).toBe(NULL_PTR);
    expect(virtual.commit((range + 12 * PAGE) as DevicePtr, 2 * PAGE)).toBe(false);
    const calls = fixture.calls;
    expect(device.nativeAlloc(2 * PAGE)).toBe(NULL_PTR);
    expect(fixture.calls).toBe(calls);
    device.activate(1);
    device.nativeFree(device.nativeAlloc(MiB));
    device.activate(0);
    virtual.decommit(range, 4 * PAGE);
    device.nativeFree(segment);
    expect(device.nativeAlloc(8 * PAGE)).not.toBe(NULL_PTR);
    expect(device.nativeAlloc(1)).toBe(NULL_PTR);
    virtual.release(range, 32 * PAGE);
    expect(device.nativeAlloc(8 * PAGE)).not.toBe(NULL_PTR);
    // Neither counts: they need not lie on the card.
    device.managedFree(device.managedAlloc(2 * MiB));
    device.pinnedFree(device.pinnedAlloc(2 * MiB));
  });

  test('leaves room for what the card refused', () => {
    const device = limited(MiB);
    device.synchronize();
    const virtual = device.virtual!;
    const range = virtual.reserve(16 * PAGE);
    fixture.fail('MemMap', 999);
    expect(codeOf(() => virtual.commit(range, 16 * PAGE))).toBe('ERR_MEM_NATIVE');
    fixture.fail('Malloc', 2);
    expect(device.nativeAlloc(MiB)).toBe(NULL_PTR);
    const segment = device.nativeAlloc(MiB);
    fixture.fail('Free', 999);
    expect(codeOf(() => device.nativeFree(segment))).toBe('ERR_MEM_NATIVE');
    expect(device.nativeAlloc(1)).toBe(NULL_PTR);
    device.nativeFree(segment);
    expect(virtual.commit(range, 16 * PAGE)).toBe(true);
  });

  test.each([
    ['caching', (count: number, table: MemoryManagerDeviceInterface) => new CachingMemoryManager(count, table)],
    ['pool', (count: number, table: MemoryManagerDeviceInterface) => new PoolMemoryManager(count, table)],
  ] as const)('is the capacity that %s knows, and says when it is out of memory', (_, create) => {
    const device = limited('50%');
    using runtime = new MemoryRuntime(device, { exitReport: false });
    new MemoryManagerInstaller(create(2, new MemoryManagerDeviceInterface()), runtime).setAsMemoryManager();
    using block = runtime.allocate(40 * MiB);
    expect(block.bytes).toBe(40 * MiB);
    let error: unknown;
    try {
      runtime.allocate(20 * MiB);
    } catch (thrown) {
      error = thrown;
    }
    expect(MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY') && error.facts.capacityBytes).toBe(50 * MiB);
    expect(fixture.used(0)).toBeLessThanOrEqual(50 * MiB);
  });
});
