import { describe, expect, test } from 'vitest';
import { CachingMemoryManager } from '../../managers/index.js';
import { type DevicePtr, MiB, NULL_PTR } from '../../src/core/units.js';
import type { Allocation } from '../../src/runtime/allocation.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { describeDevice } from '../conformance/device-suite.js';
import { suiteTarget } from './suite-target.js';

const { make } = suiteTarget;

/** The first and the last byte of device memory, by a copy. */
function endsOf(device: ReturnType<typeof make>, ptr: DevicePtr, bytes: number): number[] {
  const [first, last] = [new Uint8Array(1), new Uint8Array(1)];
  device.read(ptr, first);
  device.read((ptr + bytes - 1) as DevicePtr, last);
  return [first[0] as number, last[0] as number];
}

// What a pool keeps is not free on the card.
describeDevice(`${make().name} with asyncPool`, {
  make: () => make({ asyncPool: { releaseThresholdBytes: 0 } }),
  hasBytes: true,
  hasViews: false,
  leastAlignment: 256,
});

describe('a card', () => {
  test('holds a limit', () => {
    const device = make({ limit: 64 * MiB });
    expect(device.getMaxMemorySize(0)).toBe(64 * MiB);
    expect(device.nativeAlloc(64 * MiB + 1)).toBe(NULL_PTR);
    const ptr = device.nativeAlloc(64 * MiB);
    expect([ptr === NULL_PTR, device.nativeAlloc(1)]).toEqual([false, NULL_PTR]);
    device.nativeFree(ptr);
    expect(make({ limit: '50% of free' }).getMaxMemorySize(0)).toBeLessThan(device.memoryInfo(0).totalBytes);
  });

  test('keeps memory in the pool of the runtime, and gives it back by a trim', () => {
    const device = make({ asyncPool: true });
    const pool = device.asyncPool!;
    const ptr = device.nativeAlloc(64 * MiB);
    expect(pool.info(0).usedBytes).toBeGreaterThanOrEqual(64 * MiB);
    device.nativeFree(ptr);
    const { reservedBytes, usedBytes } = pool.info(0);
    expect(reservedBytes - usedBytes).toBeGreaterThanOrEqual(64 * MiB);
    pool.trim(0, 0);
    expect(pool.info(0).reservedBytes).toBeLessThan(reservedBytes);
  });

  test('moves managed memory, and takes advice about it', async () => {
    const device = make();
    const ptr = device.managedAlloc(8 * MiB);
    device.advise(ptr, 8 * MiB, 'preferred', 0);
    device.advise(ptr, 8 * MiB, 'accessed-by', 'host');
    await device.prefetchAsync(ptr, 8 * MiB, 0);
    device.fill(ptr, 5, 8 * MiB);
    await device.prefetchAsync(ptr, 8 * MiB, 'host');
    device.advise(ptr, 8 * MiB, 'not-preferred', 0);
    expect(device.view(ptr, 8 * MiB).every((byte) => byte === 5)).toBe(true);
    device.managedFree(ptr);
  });

  test('maps memory in pieces, takes whole ones back, and maps them elsewhere', () => {
    const device = make();
    const { virtual } = device;
    if (virtual?.pieces === undefined) return;
    const { pieces } = virtual;
    const page = virtual.granularityBytes;
    const range = virtual.reserve(32 * page);
    const at = (pages: number) => (range + pages * page) as DevicePtr;
    expect(virtual.commit(range, 12 * page, 8 * page)).toBe(true);
    device.fill(range, 3, 12 * page);
    expect(pieces.wholeIn(at(1), 11 * page)).toEqual({ ptr: at(8), bytes: 4 * page });
    expect(() => virtual.decommit(range, 4 * page)).toThrow('whole pieces');
    pieces.reusing(() => {
      virtual.decommit(range, 8 * page);
      expect(virtual.commit(at(20), 10 * page, 8 * page)).toBe(true);
    });
    device.fill(at(20), 4, 10 * page);
    expect([...endsOf(device, at(8), 4 * page), ...endsOf(device, at(20), 10 * page)]).toEqual([3, 3, 4, 4]);
    virtual.decommit(at(8), 4 * page);
    virtual.release(range, 32 * page);
    expect(virtual.committedBytes).toBe(0);
  });

  test.each([false, true])('exports pages as file descriptors and opens them, read-only: %s', (readOnly) => {
    const device = make({ shareable: true });
    const { virtual } = device;
    if (virtual === undefined) return;
    const page = virtual.granularityBytes;
    const range = virtual.reserve(4 * page);
    expect(virtual.commit(range, 4 * page)).toBe(true);
    device.fill(range, 7, 4 * page);
    const exported = device.exportPages((range + page - 8) as DevicePtr, page + 16);
    const imported = device.importPages(exported.memory, { readOnly });
    exported.dispose();
    expect(endsOf(device, imported, page + 16)).toEqual([7, 7]);
    device.fill(range, 8, 4 * page);
    expect(endsOf(device, imported, page + 16)).toEqual([8, 8]);
    if (!readOnly) {
      device.fill(imported, 9, page + 16);
      expect(endsOf(device, (range + page - 8) as DevicePtr, page + 16)).toEqual([9, 9]);
    }
    device.closeMemory(imported);
    virtual.release(range, 4 * page);
  });

  test('does captured work at each launch, on memory that stays the graph’s', () => {
    const device = make();
    const runtime = new MemoryRuntime(device, {
      exitReport: false,
      createDefaultManager: (count, table) => new CachingMemoryManager(count, table),
    });
    const stream = device.createStream();
    const input = runtime.allocate(4 * MiB);
    const made: Allocation[] = [];
    const graph = runtime.capture(stream, () => {
      const between = runtime.allocate(4 * MiB);
      void device.copyAsync(between.ptr, input.ptr, 4 * MiB, stream.id);
      const output = runtime.allocate(4 * MiB);
      made.push(output);
      void device.copyAsync(output.ptr, between.ptr, 4 * MiB, stream.id);
      between.dispose();
    });
    const others = Array.from({ length: 8 }, () => runtime.allocate(4 * MiB));
    for (const value of [1, 2]) {
      for (const other of others) other.fill(255);
      input.fill(value);
      graph.launch(stream);
      stream.synchronize();
      expect(endsOf(device, made[0]!.ptr, 4 * MiB)).toEqual([value, value]);
      for (const other of others) expect(endsOf(device, other.ptr, 4 * MiB)).toEqual([255, 255]);
    }
    graph.dispose();
    stream.dispose();
    runtime.close();
  });
});
