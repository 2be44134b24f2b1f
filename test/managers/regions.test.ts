import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArenaMemoryManager, BuddyMemoryManager, SlabMemoryManager } from '../../managers/index.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, KiB, MiB } from '../../src/core/units.js';
import { searchRuns } from '../config/search.js';
import { ManagerBench, SIMULATED } from '../conformance/manager-bench.js';
import { codeOf } from '../fixtures/code-of.js';

describe('SlabMemoryManager', () => {
  const slab = (options = {}) => new ManagerBench((count, table) => new SlabMemoryManager(count, table, options), SIMULATED);

  test('hands out cells of one size, the last one given back first', () => {
    const bench = slab({ cellBytes: 100, slabBytes: 1 * KiB });
    const held = Array.from({ length: 10 }, () => bench.alloc(100));
    expect(held.slice(1).map(({ ptr }, i) => ptr - held[i]!.ptr)).toEqual(new Array(9).fill(112));
    expect([bench.nativeAllocs, bench.manager.allocated(held[0]!.ptr)]).toEqual([1, 112]);
    bench.free(held[3]!);
    bench.free(held[7]!);
    expect([bench.alloc(1).ptr, bench.alloc(112).ptr]).toEqual([held[7]!.ptr, held[3]!.ptr]);
  });

  test('gets larger slabs the more it has', () => {
    const bench = slab({ cellBytes: 64, slabBytes: 4 * KiB });
    for (let i = 0; i < 64 * 127; i++) bench.manager.allocBytes(64, true);
    expect(bench.nativeAllocs).toBe(7);
  });

  test('gives what is larger, or aligned more strictly, memory of its own, and gives that back at once', () => {
    const bench = slab({ cellBytes: 64 });
    const cell = bench.alloc(64);
    const large = [bench.alloc(65), bench.alloc(10, { alignment: 4096 }), bench.alloc(MiB)];
    expect([bench.nativeAllocs, large[1]!.ptr % 4096]).toEqual([4, 0]);
    for (const held of large) bench.free(held);
    expect(bench.nativeFrees).toBe(3);
    bench.free(cell);
    expect(bench.nativeFrees).toBe(3);
  });

  test('refuses cells that cannot be', () => {
    for (const options of [{ cellBytes: 0 }, { cellBytes: -1 }, { slabBytes: 0 }, { alignmentBytes: 12 }]) {
      expect(
        codeOf(() => slab(options)),
        JSON.stringify(options),
      ).toBe('ERR_MEM_INVALID_ARGUMENT');
    }
  });
});

describe('BuddyMemoryManager', () => {
  const buddy = (options = {}) => new ManagerBench((count, table) => new BuddyMemoryManager(count, table, options), SIMULATED);

  test('gives blocks the next power of two, at multiples of it', () => {
    const bench = buddy({ regionBytes: 64 * KiB, leafBytes: 64 });
    for (const [bytes, size] of [
      [1, 64],
      [65, 128],
      [1000, 1024],
      [1024, 1024],
      [1025, 2048],
      [30_000, 32_768],
    ] as const) {
      const held = bench.alloc(bytes);
      expect(bench.manager.allocated(held.ptr)).toBe(size);
      expect(held.ptr % size).toBe(0);
    }
    expect(bench.nativeAllocs).toBe(1);
  });

  test('joins halves again: after any program of frees the whole region is one block', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 3000 }), fc.nat()), { maxLength: 60 }), (program) => {
        const bench = buddy({ regionBytes: 16 * KiB, leafBytes: 16 });
        const live: ReturnType<ManagerBench['alloc']>[] = [];
        for (const [bytes, at] of program) {
          if (at % 3 === 0 && live.length > 0) bench.free(live.splice(at % live.length, 1)[0]!);
          else live.push(bench.alloc(bytes));
        }
        while (live.length > 0) bench.free(live.pop()!);
        const before = bench.nativeAllocs;
        bench.alloc(16 * KiB);
        if (program.length > 0) expect(bench.nativeAllocs).toBe(before);
      }),
      { numRuns: searchRuns(60) },
    );
  });

  test('gives what is larger than a region memory of its own, and gives that back at once', () => {
    const bench = buddy({ regionBytes: 64 * KiB });
    const held = bench.alloc(65 * KiB);
    expect(bench.manager.allocated(held.ptr)).toBe(128 * KiB);
    bench.free(held);
    expect([bench.nativeAllocs, bench.nativeFrees]).toEqual([1, 1]);
  });
});

describe.each([
  [
    'ArenaMemoryManager',
    (count: number, table: MemoryManagerDeviceInterface) => new ArenaMemoryManager(count, table, { regionBytes: 4 * KiB }),
  ],
  [
    'SlabMemoryManager',
    (count: number, table: MemoryManagerDeviceInterface) => new SlabMemoryManager(count, table, { slabBytes: 4 * KiB }),
  ],
  [
    'BuddyMemoryManager',
    (count: number, table: MemoryManagerDeviceInterface) => new BuddyMemoryManager(count, table, { regionBytes: 4 * KiB }),
  ],
])('%s', (_, make) => {
  test('is as before when any native call of a program fails', () => {
    for (let failing = 1; failing < 40; failing++) {
      const bench = new ManagerBench(make, SIMULATED);
      let calls = 0;
      for (const name of ['nativeAlloc', 'nativeFree'] as const) {
        const real = bench.table[name] as (...args: number[]) => DevicePtr;
        (bench.table as unknown as Record<string, unknown>)[name] = (...args: number[]) => {
          if (++calls === failing) throw new MemoryError('ERR_MEM_NATIVE', { functionName: name, status: 1, statusName: 'gone' });
          return real(...args);
        };
      }
      const live: ReturnType<ManagerBench['alloc']>[] = [];
      const once = (action: () => void) => {
        const before = bench.state();
        try {
          action();
        } catch {
          bench.manager.checkInvariants?.();
          expect(bench.state()).toEqual(before);
          action();
        }
      };
      for (let i = 0; i < 30; i++) {
        once(() => live.push(bench.alloc(1 + ((i * 977) % 9000))));
        if (i % 3 === 2) {
          const oldest = live.shift()!;
          once(() => bench.free(oldest));
        }
        if (i % 10 === 9) once(() => bench.manager.signalMemoryCleanup());
      }
      for (const held of live) once(() => bench.free(held));
      once(() => bench.manager.shutdown());
      expect([bench.held, bench.device.liveBytes]).toEqual([0, 0]);
    }
  });

  test('refuses blocks that the device does not align as asked, and keeps nothing of them', () => {
    const bench = new ManagerBench(make, SIMULATED);
    const { nativeAlloc } = bench.table;
    bench.table.nativeAlloc = (bytes) => (nativeAlloc(bytes + 64, 64) + 32) as DevicePtr;
    bench.table.nativeFree = () => undefined;
    expect(codeOf(() => bench.alloc(100, { alignment: 4096 }))).toBe('ERR_MEM_INVALID_ALIGNMENT');
    expect(bench.manager.stats(0)).toMatchObject({ reservedBytes: { current: 0 }, blocks: { current: 0 } });
  });
});
