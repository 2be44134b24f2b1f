import { describe, expect, test } from 'vitest';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { type DevicePtr, KiB, MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { NULL_OFFSET } from '../../src/shared/allocators/shared-allocator.js';
import { ThreadLocalAllocator } from '../../src/shared/allocators/thread-local-allocator.js';
import { SharedAllocation } from '../../src/shared/shared-allocation.js';
import { SharedMemoryDevice } from '../../src/shared/shared-memory-device.js';
import { SharedMemoryManager } from '../../src/shared/shared-memory-manager.js';
import { memoryError, PlainManager } from '../core/fakes.js';
import { bufferRegion, FakeThreads, ID } from './regions.js';

function make(bytes = 4 * MiB) {
  const region = bufferRegion(bytes);
  const threads = new FakeThreads();
  const allocator = ThreadLocalAllocator.shmInit(region, { id: ID, watch: threads.watch(1) });
  const other = ThreadLocalAllocator.shmDeserialize(region, { watch: threads.watch(2) });
  const device = new SharedMemoryDevice(allocator);
  const runtime = new MemoryRuntime(device, {
    exitReport: false,
    createDefaultManager: (_, table) => new PlainManager(table),
    createFallbackManager: (_, table) => new PlainManager(table),
  });
  const manager = new SharedMemoryManager(1, new MemoryManagerDeviceInterface(), { allocator });
  return { region, allocator, other, device, runtime, manager };
}

describe('SharedMemoryManager', () => {
  test('serves a runtime that is switched to it, whose handles show the region', () => {
    const { region, allocator, runtime, manager } = make();
    const before = runtime.allocate(1000);
    new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
    const block = runtime.allocate(4 * KiB, { zero: true, alignment: 4096 });
    block.view(Uint32Array)[3] = 0xabcdef;
    const offset = manager.offsetOf(block.ptr);
    expect(region.int32[offset / 4 + 3]).toBe(0xabcdef);
    expect(block.ptr % 4096).toBe(0);
    const { ptr } = block;
    before.dispose();
    block.dispose();
    expect(manager.offsetOf(ptr)).toBe(NULL_OFFSET);
    runtime.close();
    allocator.detach();
  });

  test('shares a block: others attach it, and the manager no longer knows it', () => {
    const { allocator, other, runtime, manager } = make();
    new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
    const ptr = runtime.slot.alloc(500, true);
    const shared = manager.share(ptr);
    expect(manager.allocated(ptr)).toBe(0);
    expect(() => manager.unlock(ptr, true)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
    expect(() => manager.share(ptr)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
    const theirs = SharedAllocation.attach(shared.token(), { getAllocator: () => other });
    runtime.close();
    shared.dispose();
    expect([theirs.bytes, theirs.references]).toEqual([500, 1]);
    theirs.dispose();
    allocator.checkInvariants();
  });

  test('frees what is live when its runtime closes', () => {
    const { allocator, other, runtime, manager } = make();
    new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
    for (let n = 1; n < 20; n++) runtime.slot.alloc(n * 1000, true);
    runtime.close();
    allocator.detach();
    expect(other.allocatedBytes).toBe(0);
  });

  test('takes nothing of the region once it has ended', () => {
    const { allocator, runtime, manager } = make();
    new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
    runtime.close();
    const { allocatedBytes } = allocator;
    expect(() => manager.allocBytes(4000, true)).toThrow(memoryError('ERR_MEM_LIFECYCLE'));
    expect(() => manager.addMemoryManagement(0)).toThrow(memoryError('ERR_MEM_DISPOSED'));
    expect([allocator.allocatedBytes, manager.stats().allocatedBytes.current]).toEqual([allocatedBytes, 0]);
  });

  test('says how full the region is when it has no room', () => {
    const { allocator, runtime, manager } = make(128 * KiB);
    new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
    const { capacityBytes } = allocator;
    expect(() => runtime.allocate(MiB)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', { requestedBytes: MiB, capacityBytes }));
    runtime.close();
  });
});

describe('SharedMemoryDevice', () => {
  test('copies and fills in the region, and refuses ranges that lie outside', () => {
    const { device, region } = make();
    const a = device.nativeAlloc(1000);
    const b = device.nativeAlloc(1000, 4096);
    device.fill(a, 7, 1000);
    device.copy(b, a, 1000);
    expect(device.view(b, 1000)[999]).toBe(7);
    expect([a % 64, b % 4096]).toEqual([0, 0]);
    const far = (region.base + region.bytes) as DevicePtr;
    const last = (far - 10) as DevicePtr;
    for (const use of [() => device.fill(far, 0, 1), () => device.view(far, 1), () => device.copy(far, far, 1)]) {
      expect(use).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
    }
    for (const use of [() => device.fill(last, 0, 11), () => device.view(last, 11), () => device.copy(last, a, 11)]) {
      expect(use).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
    }
    expect(() => device.fill(a, 256, 1)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    expect(() => device.nativeFree(far)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
    device.nativeFree(a);
    device.nativeFree(b);
    expect([device.liveBytes, device.nativeAlloc(2 ** 40)]).toEqual([0, 0]);
  });

  test('pins whole pages of the system', () => {
    const { device } = make();
    const ptr = device.pinnedAlloc(5000);
    expect(ptr % 4096).toBe(0);
    device.view(ptr, 5000).fill(1);
    device.pinnedFree(ptr);
    expect(device.liveBytes).toBe(0);
    expect(() => device.pinnedFree(ptr)).toThrow(/already free|no manager/);
  });
});
