import { describe, expect, test } from 'vitest';
import { type DevicePtr, GiB, MiB } from '../../src/core/units.js';
import { memoryError } from '../core/fakes.js';
import { bench } from './pytorch-bench.js';

describe('PyTorchMemoryManager', () => {
  describe('private pools', () => {
    test('have memory of their own, kept until they are released', () => {
      const { alloc, free, manager, calls } = bench();
      const ordinary = alloc(30);
      manager.usePool(7);
      const own = alloc(30);
      manager.usePool(0);
      free(ordinary, own);
      manager.signalMemoryCleanup();
      expect(calls()).toBe('+30 +30 -30');
      manager.usePool(7);
      expect(alloc(30)).toBe(own);
      free(own);
      manager.usePool(0);
      manager.releasePool(7);
      manager.signalMemoryCleanup();
      expect(calls()).toBe('-30');
    });

    test.each(['', 'expandable_segments:True'])('that are released and empty leave nothing behind, with %j', (conf) => {
      const { manager, alloc, free, device } = bench({ conf });
      const once = (pool: number) => {
        manager.usePool(pool);
        const blocks = [alloc(5), alloc(0.5)];
        free(...blocks);
        manager.usePool(0);
        manager.releasePool(pool);
      };
      manager.usePool(1);
      const kept = alloc(5);
      manager.usePool(0);
      manager.releasePool(1);
      for (let pool = 2; pool < 20; pool++) once(pool);
      manager.signalMemoryCleanup();
      once(20);
      const before = manager.metadataBytes;
      for (let pool = 21; pool < 200; pool++) {
        once(pool);
        manager.signalMemoryCleanup();
      }
      expect(manager.metadataBytes).toBe(before);
      expect(manager.allocated(kept)).toBe(5 * MiB);
      free(kept);
      manager.checkInvariants();
      manager.signalMemoryCleanup();
      expect(device.liveBytes).toBe(0);
    });

    test('go back at the end, released or not', () => {
      const { alloc, free, manager, device } = bench();
      manager.usePool(1);
      free(alloc(30));
      manager.shutdown();
      expect(device.liveBytes).toBe(0);
    });

    test.each([-1, 0.5, Number.NaN])('are integers: not %d', (pool) => {
      const { manager } = bench();
      expect(() => manager.usePool(pool)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'pool' }));
      expect(() => manager.releasePool(pool)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'pool' }));
    });

    test.each([0, 7])('cannot be released unless they were used: not %d', (pool) => {
      const { manager } = bench();
      manager.usePool(1);
      manager.usePool(0);
      expect(() => manager.releasePool(pool)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'pool' }));
      expect(() => manager.releasePool(1)).not.toThrow();
    });

    test('keep their live blocks when they are released, which is done once, until those are freed', () => {
      const { alloc, free, manager, calls } = bench();
      manager.usePool(1);
      const live = alloc(30);
      manager.usePool(0);
      manager.releasePool(1);
      expect(() => manager.releasePool(1)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'pool' }));
      manager.signalMemoryCleanup();
      expect([calls(), manager.stats().allocatedBytes.current]).toEqual(['+30', 30 * MiB]);
      free(live);
      manager.signalMemoryCleanup();
      expect(calls()).toBe('-30');
    });

    test('cannot be released while they are in use', () => {
      const { manager } = bench();
      manager.usePool(3);
      expect(() => manager.releasePool(3)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    });
  });

  describe('restores a segment of a snapshot', () => {
    const blocks = [
      { offsetBytes: 2 * MiB, bytes: 3 * MiB, requestedBytes: 3 * MiB - 7 },
      { offsetBytes: 5 * MiB, bytes: 4 * MiB, requestedBytes: 4 * MiB },
    ];

    test.each(['', 'expandable_segments:True'])('with its live blocks, and what lies between them cached: %j', (conf) => {
      const { manager, alloc, free, device, calls } = bench({ conf });
      const address = device.nativeAlloc(20 * MiB);
      const segment = { pool: 0, stream: 0, isSmall: false, address, bytes: 20 * MiB, blocks };
      const [first, second] = manager.restoreSegment(segment) as [DevicePtr, DevicePtr];
      manager.checkInvariants();
      expect(second - first).toBe(3 * MiB);
      expect(manager.stats()).toMatchObject({
        requestedBytes: { current: 7 * MiB - 7 },
        allocatedBytes: { current: 7 * MiB },
        reservedBytes: { current: 20 * MiB },
      });
      calls();
      expect(alloc(2)).toBe(first - 2 * MiB);
      expect(alloc(11)).toBe(second + 4 * MiB);
      expect(calls()).toBe('');
      free(first, second);
      manager.checkInvariants();
    });

    test.each([
      [{ offsetBytes: 18 * MiB, bytes: 3 * MiB, requestedBytes: 1 }],
      [{ offsetBytes: 100, bytes: 512, requestedBytes: 1 }],
      [{ offsetBytes: 0, bytes: 512, requestedBytes: 513 }],
      [{ offsetBytes: 0, bytes: 0, requestedBytes: 0 }],
    ])('unless a block does not lie in it: %o', (block) => {
      const { manager } = bench();
      const segment = { pool: 0, stream: 0, isSmall: false, address: GiB, bytes: 20 * MiB, blocks: [block] };
      expect(() => manager.restoreSegment(segment)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
      expect(manager.stats().reservedBytes.current).toBe(0);
    });
  });
});
