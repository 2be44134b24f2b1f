import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type LruMemoryManager, TrackingMemoryManager, type TrackingOptions } from '../../managers/index.js';
import { withAllocationTag } from '../../src/core/allocation-tag.js';
import { type DevicePtr, MiB, NULL_PTR } from '../../src/core/units.js';
import { memoryError, TextSink } from '../core/fakes.js';
import { decorated, type POLICIES } from './decorator-bench.js';

const tracking = (options: TrackingOptions = {}, policy: keyof typeof POLICIES = 'caching') =>
  decorated((inner) => new TrackingMemoryManager(inner, options), policy);

describe('TrackingMemoryManager', () => {
  test.each([0, -1, 1.5, Number.NaN])('refuses %d frames', (sites) => {
    expect(() => tracking({ sites })).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'sites' }));
  });

  describe('blocks', () => {
    test('lists what is live, oldest first, as it was asked for', () => {
      const { bench, manager } = tracking();
      const first = manager.allocBytes(100, true);
      const gone = manager.allocBytes(100, true);
      bench.device.activate(2);
      const third = withAllocationTag('weights', () => manager.allocBytes(600, false));
      manager.unlock(gone, true);
      const of = (ptr: DevicePtr, bytes: number, requestedBytes: number, device: number, serial: number, tag?: string) => {
        return { ptr, bytes, requestedBytes, device, serial, tag, site: undefined };
      };
      expect(manager.blocks()).toEqual([of(first, 512, 100, 0, 1), of(third, 1024, 600, 2, 3, 'weights')]);
      expect(manager.liveBlocks).toBe(2);
    });

    test('leaves out what a reference count freed past it', () => {
      const { manager } = tracking({}, 'lru');
      const lru = manager.inner as LruMemoryManager;
      const ptr = manager.allocBytes(100, true);
      lru.incrementRef(ptr);
      manager.unlock(ptr, true);
      lru.decrementRef(ptr);
      expect(manager.find(ptr)).toBeUndefined();
      expect(manager.blocks()).toEqual([]);
    });
  });

  describe('siteOf', () => {
    test('tells where a block was allocated, beginning in the program', () => {
      const { manager } = tracking({ sites: true });
      const allocateHere = () => manager.alloc(true, [10, 10], 4);
      const ptr = allocateHere();
      const lines = manager.siteOf(ptr)?.split('\n') ?? [];
      expect(lines[0]).toMatch(/^at allocateHere \(.*tracking\.test\.ts:\d+:\d+\)$/);
      expect(lines.length).toBeLessThanOrEqual(8);
      expect(manager.find(ptr)?.site).toBe(lines.join('\n'));
      manager.unlock(ptr, true);
      expect(manager.siteOf(ptr)).toBeUndefined();
    });

    test('has as many frames as asked for, and leaves the limit of other stacks alone', () => {
      const { manager } = tracking({ sites: 1 });
      const limit = Error.stackTraceLimit;
      const ptr = manager.allocBytes(1, true);
      expect(Error.stackTraceLimit).toBe(limit);
      expect(manager.siteOf(ptr)?.split('\n')).toHaveLength(1);
    });

    test('asks the managers inside when it records none itself', () => {
      const { manager } = decorated((inner) => new TrackingMemoryManager(new TrackingMemoryManager(inner, { sites: 2 })));
      const ptr = manager.allocBytes(1, true);
      expect(manager.siteOf(ptr)).toContain('tracking.test.ts');
      expect(tracking().manager.siteOf(ptr)).toBeUndefined();
    });
  });

  describe('find', () => {
    test('finds a block by its head, any address inside, and none beside', () => {
      const { manager } = tracking();
      const ptr = manager.allocBytes(1000, true);
      for (const offset of [0, 1, 1000, 1023]) expect(manager.find((ptr + offset) as DevicePtr)?.ptr).toBe(ptr);
      for (const other of [ptr - 1, ptr + 1024, 1, NULL_PTR, Number.NaN]) {
        expect(manager.find(other as DevicePtr)).toBeUndefined();
      }
    });

    test('finds as a scan does, in random programs', () => {
      const { bench, manager } = tracking();
      const live = new Map<DevicePtr, number>();
      fc.assert(
        fc.property(
          fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 3 * MiB }), free: fc.nat(3) }), { maxLength: 300 }),
          (steps) => {
            for (const { bytes, free } of steps) {
              const [victim] = [...live.keys()].slice(bytes % (live.size || 1));
              if (free === 0 && victim !== undefined) {
                manager.unlock(victim, true);
                live.delete(victim);
              } else {
                const ptr = manager.allocBytes(free === 1 ? bytes : 1 + (bytes % 2000), true);
                live.set(ptr, manager.allocated(ptr));
              }
              const [base, size] = [...live].at(bytes % (live.size || 1)) ?? [0, 1];
              const address = (base + (bytes % (2 * size))) as DevicePtr;
              const expected = [...live].find(([ptr, length]) => address >= ptr && address < ptr + length)?.[0];
              expect(manager.find(address)?.ptr).toBe(expected);
            }
            manager.checkInvariants();
          },
        ),
        { numRuns: 15 },
      );
      expect(bench.held).toBeGreaterThan(0);
    });

    test('finds among thousands, allocated and freed in any order', () => {
      const { manager } = tracking();
      const ptrs = Array.from({ length: 5000 }, () => manager.allocBytes(512, true));
      expect(manager.find((ptrs[4321]! + 100) as DevicePtr)?.ptr).toBe(ptrs[4321]);
      for (const [i, ptr] of ptrs.entries()) if (i % 3 !== 0) manager.unlock(ptr, true);
      manager.checkInvariants();
      expect(ptrs.map((ptr) => manager.find((ptr + 1) as DevicePtr)?.ptr)).toEqual(
        ptrs.map((ptr, i) => (i % 3 === 0 ? ptr : undefined)),
      );
      for (const [i, ptr] of ptrs.entries()) if (i % 3 === 0) manager.unlock(ptr, true);
      manager.checkInvariants();
      expect(manager.find((ptrs[0]! + 1) as DevicePtr)).toBeUndefined();
    });
  });

  describe('leakReport', () => {
    test('groups what is live by site, most bytes first', () => {
      const { manager } = tracking({ sites: 1 });
      const small = () => manager.allocBytes(512, true);
      const large = () => manager.allocBytes(4096, true);
      for (let i = 0; i < 3; i++) small();
      large();
      const { blocks, bytes, groups } = manager.leakReport();
      expect([blocks, bytes]).toEqual([4, 3 * 512 + 4096]);
      expect(groups.map((group) => [group.blocks, group.bytes, group.firstSerial])).toEqual([
        [1, 4096, 4],
        [3, 1536, 1],
      ]);
      expect(groups[1]?.site).toMatch(/^at small /);
      const sink = new TextSink();
      manager.printLeaks(sink);
      expect(sink.lines[0]).toBe('4 live blocks, 5.50 KiB');
      expect(sink.lines[1]).toBe('  4.00 KiB in 1 block, the first by allocation 4:');
      expect(sink.lines[2]).toMatch(/^ {4}at large /);
    });

    test('is empty when nothing is live', () => {
      const { manager } = tracking();
      manager.unlock(manager.allocBytes(1, true), true);
      expect(manager.leakReport()).toEqual({ blocks: 0, bytes: 0, groups: [] });
      const sink = new TextSink();
      manager.printLeaks(sink);
      manager.printInfo('now', 0, sink);
      expect(sink.lines[0]).toBe('0 live blocks, 0 B');
      expect(sink.lines.at(-1)).toBe('Tracked: 0 live blocks of 1 allocation');
    });
  });
});
