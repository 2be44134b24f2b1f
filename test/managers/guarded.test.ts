import { describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import {
  CachingMemoryManager,
  GuardedMemoryManager,
  type GuardedOptions,
  POISON_BYTE,
  TrackingMemoryManager,
} from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError, type MemoryErrorFacts } from '../../src/core/errors.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { installed, memoryError, PlainManager, TextSink } from '../core/fakes.js';
import { decorated } from './decorator-bench.js';
import { FakeGuardMemory } from './guard-memory-fake.js';

/** A guarded caching manager (or another one) in a runtime on real memory. */
function guarded(
  options: Omit<GuardedOptions, 'memory'> = {},
  inside: (table: MemoryManagerDeviceInterface) => MemoryManagerAdapter = (table) => new CachingMemoryManager(1, table),
) {
  const device = new CpuDevice();
  const runtime = new MemoryRuntime(device, { exitReport: false });
  const inner = inside(new MemoryManagerDeviceInterface());
  const manager = installed(new GuardedMemoryManager(inner, { memory: device, ...options }), runtime);
  /** Writes a byte as a program with a bug does: through a view, relative to a block. */
  const overwrite = (ptr: DevicePtr, offset: number, bytes = 1) => device.view((ptr + offset) as DevicePtr, bytes).fill(0xab);
  return { device, runtime, manager, overwrite };
}

function corruption(action: () => unknown): MemoryErrorFacts['ERR_MEM_CORRUPTED'] {
  try {
    action();
  } catch (error) {
    if (MemoryError.is(error, 'ERR_MEM_CORRUPTED')) return error.facts;
    throw error;
  }
  return expect.fail('nothing was thrown');
}

describe('GuardedMemoryManager', () => {
  test.each([0, 48, -64, Number.NaN])('refuses guards of %d bytes', (guardBytes) => {
    expect(() => guarded({ guardBytes })).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'guardBytes' }));
  });

  test('gives exactly the bytes asked for, aligned as asked for', () => {
    const { runtime, manager } = guarded();
    for (const alignment of [0, 1, 16, 64, 128, 4096, 65536]) {
      for (const bytes of [1, 63, 64, 1000]) {
        const ptr = runtime.slot.alloc(bytes, true, alignment);
        expect(ptr % Math.max(64, alignment)).toBe(0);
        expect(manager.allocated(ptr)).toBe(bytes);
      }
    }
    manager.check();
    manager.checkInvariants();
    runtime.close();
  });

  test.each([
    ['after', 100, 1, 100],
    ['after', 163, 1, 163],
    ['after', 100, 64, 100],
    ['before', -1, 1, -1],
    ['before', -64, 1, -64],
    ['before', -3, 3, -3],
  ] as const)('tells of a write %s a block, at offset %i, when it is freed', (side, offset, damagedBytes, offsetBytes) => {
    const { runtime, manager, overwrite } = guarded();
    const neighbour = runtime.slot.alloc(100, true);
    const ptr = runtime.slot.alloc(100, true, 128);
    manager.check();
    overwrite(ptr, offset, damagedBytes);
    const facts = { pointer: ptr, bytes: 100, side, offsetBytes, damagedBytes, site: undefined };
    expect(corruption(() => runtime.slot.unlock(ptr, true))).toEqual(facts);
    expect(corruption(() => manager.check())).toEqual(facts);
    expect(manager.damages().map((error) => error.facts)).toEqual([facts]);
    expect([manager.allocated(ptr), manager.isUserLocked(ptr)]).toEqual([100, true]);
    manager.repair(ptr);
    manager.check();
    runtime.slot.unlock(ptr, true);
    runtime.slot.unlock(neighbour, true);
    expect(runtime.slot.liveBlocks).toBe(0);
    runtime.close();
  });

  test('finds an overrun through a typed array of a handle', () => {
    const { device, runtime, manager } = guarded({ sites: 1 });
    const handle = runtime.allocate(10 * 4);
    const numbers = handle.view(Float32Array);
    numbers.fill(1);
    manager.check();
    // The view ends with its block, so a program overruns it by a length it got wrong.
    const tooLong = device.view(handle.ptr, 11 * 4);
    tooLong.fill(0);
    const { site, ...facts } = corruption(() => manager.check());
    expect(facts).toEqual({ pointer: handle.ptr, bytes: 40, side: 'after', offsetBytes: 40, damagedBytes: 4 });
    expect(site).toContain('guarded.test.ts');
    expect(() => manager.check()).toThrow(
      /the memory after block \d+ of 40 bytes was overwritten: 4 bytes, the first at offset 40; allocated at /,
    );
    runtime.close();
  });

  test('asks a tracking manager inside for the site', () => {
    const { runtime, manager, overwrite } = guarded({}, (table) => {
      return new TrackingMemoryManager(new CachingMemoryManager(1, table), { sites: true });
    });
    const allocateHere = () => runtime.slot.alloc(10, true);
    const ptr = allocateHere();
    overwrite(ptr, 10);
    expect(corruption(() => manager.check()).site).toContain('allocateHere');
    expect(manager.siteOf(ptr)).toContain('allocateHere');
    expect(manager.siteOf((ptr + 1) as DevicePtr)).toBeUndefined();
    runtime.close();
  });

  test('does not check a block that a lock still holds', () => {
    const { runtime, overwrite } = guarded();
    const ptr = runtime.slot.alloc(10, false);
    runtime.slot.userLock(ptr);
    overwrite(ptr, 10);
    runtime.slot.unlock(ptr, false);
    expect(corruption(() => runtime.slot.unlock(ptr, true)).side).toBe('after');
    runtime.close();
  });

  test('poisons what is freed, and nothing that a lock still holds', () => {
    const { device, runtime, overwrite } = guarded();
    const keptSegment = runtime.slot.alloc(1, true);
    const ptr = runtime.slot.alloc(100, false);
    overwrite(ptr, 0, 100);
    runtime.slot.userLock(ptr);
    runtime.slot.unlock(ptr, false);
    expect(device.view(ptr, 100).every((byte) => byte === 0xab)).toBe(true);
    runtime.slot.unlock(ptr, true);
    expect(device.view(ptr, 100).every((byte) => byte === POISON_BYTE)).toBe(true);
    runtime.slot.unlock(keptSegment, true);
    runtime.close();
  });

  test('poisons nothing when told not to', () => {
    const { device, runtime, overwrite } = guarded({ poison: false });
    const ptr = runtime.slot.alloc(100, true);
    overwrite(ptr, 0, 100);
    runtime.slot.unlock(ptr, true);
    expect(device.view(ptr, 100)[50]).toBe(0xab);
    runtime.close();
  });

  test('guards blocks that are segments of their own', () => {
    const { device, runtime, overwrite } = guarded({}, (table) => new PlainManager(table));
    const ptrs = Array.from({ length: 20 }, (_, i) => runtime.slot.alloc(1 + i * 500, true));
    overwrite(ptrs[7]!, 3501);
    expect(corruption(() => runtime.slot.unlock(ptrs[7]!, true)).pointer).toBe(ptrs[7]);
    runtime.close();
    expect(device.liveBytes).toBe(0);
  });

  test('makes larger guards when told to', () => {
    const { runtime, manager, overwrite } = guarded({ guardBytes: 1024 });
    const ptr = runtime.slot.alloc(10, true);
    overwrite(ptr, 1000);
    expect(corruption(() => manager.check()).offsetBytes).toBe(1000);
    runtime.close();
  });

  test('knows its own pointers only: not those of the inner manager', () => {
    const { runtime, manager } = guarded();
    const ptr = runtime.slot.alloc(100, true);
    const base = (ptr - 64) as DevicePtr;
    expect(manager.inner.allocated(base)).toBeGreaterThan(0);
    expect([manager.allocated(base), manager.isUserLocked(base)]).toEqual([0, false]);
    for (const action of [
      () => manager.unlock(base, true),
      () => manager.userLock(base),
      () => manager.recordStream(base, 1),
      () => manager.repair(base),
    ]) {
      expect(action).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: base }));
    }
    manager.userLock(NULL_PTR);
    manager.unlock(NULL_PTR, true);
    runtime.close();
  });

  test.each([0, 256, 65536])('refuses a second free of a block with an alignment of %i', (alignment) => {
    const { runtime, manager } = guarded();
    const before = runtime.slot.alloc(10, true);
    const ptr = runtime.slot.alloc(10, true, alignment);
    const after = runtime.slot.alloc(10, true);
    runtime.slot.unlock(ptr, true);
    // When the block was joined with a free one before it, nothing begins there any more.
    expect(() => runtime.slot.unlock(ptr, true)).toThrow(
      memoryError(alignment === 65536 ? 'ERR_MEM_UNKNOWN_POINTER' : 'ERR_MEM_DOUBLE_FREE', { pointer: ptr }),
    );
    expect([before, after].map((other) => manager.allocated(other))).toEqual([10, 10]);
    runtime.close();
  });

  test('frees nothing for an address inside the guard of a live block', () => {
    const { runtime, manager } = guarded();
    const ptr = runtime.slot.alloc(10, true, 4096);
    for (const front of [64, 128, 2048]) {
      const inside = (ptr - 4096 + front) as DevicePtr;
      expect(() => manager.unlock(inside, true)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: inside }));
    }
    manager.checkInvariants();
    runtime.close();
  });

  test('begins its statistics anew for a device that is added again', () => {
    const { manager } = decorated((inner) => new GuardedMemoryManager(inner, { memory: new FakeGuardMemory() }));
    manager.unlock(manager.allocBytes(100, true), true);
    manager.removeMemoryManagement(0);
    manager.addMemoryManagement(0);
    expect(manager.stats(0)?.requestedBytes).toEqual({ current: 0, peak: 0, total: 0 });
  });

  test('keeps a block when the inner manager cannot free it', () => {
    const { bench, manager } = decorated((inner) => new GuardedMemoryManager(inner, { memory: new FakeGuardMemory() }), 'debug');
    const ptr = manager.allocBytes(100, true);
    const { nativeFree } = bench.table;
    bench.table.nativeFree = () => {
      throw new Error('the driver refuses');
    };
    expect(() => manager.unlock(ptr, true)).toThrow('the driver refuses');
    expect([manager.allocated(ptr), manager.isUserLocked(ptr)]).toEqual([100, true]);
    manager.checkInvariants();
    manager.check();
    bench.table.nativeFree = nativeFree;
    manager.unlock(ptr, true);
    expect(bench.held).toBe(0);
  });

  test('gives a block back whose guards cannot be written', () => {
    const memory = new FakeGuardMemory();
    const { bench, manager } = decorated((inner) => new GuardedMemoryManager(inner, { memory }), 'debug');
    memory.fill = () => {
      throw new Error('no access');
    };
    expect(() => manager.allocBytes(100, true)).toThrow('no access');
    expect(bench.held).toBe(0);
    manager.checkInvariants();
  });

  test('poisons the bytes of a block and counts them without guards', () => {
    const memory = new FakeGuardMemory();
    const { bench, manager } = decorated((inner) => new GuardedMemoryManager(inner, { memory }));
    bench.device.activate(1);
    manager.unlock(manager.allocBytes(1000, true), true);
    manager.allocBytes(500, true);
    expect(memory.poisonedBytes).toBe(1000);
    expect(manager.stats(1)?.requestedBytes).toEqual({ current: 500, peak: 1000, total: 1500 });
    expect(manager.stats(0)?.requestedBytes.total).toBe(0);
    const sink = new TextSink();
    manager.printInfo('now', 1, sink);
    expect(sink.lines.at(-1)).toBe('Guarded: 1 live block, 64 bytes on each side');
  });
});
