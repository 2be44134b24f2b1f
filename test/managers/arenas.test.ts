import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import {
  ArenaMemoryManager,
  type ArenaMemoryManagerOptions,
  ScratchMemoryManager,
  SlabMemoryManager,
  TrackingMemoryManager,
} from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { releasable } from '../../src/core/disposable.js';
import { type DevicePtr, KiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { searchRuns } from '../config/search.js';
import { ManagerBench, SIMULATED } from '../conformance/manager-bench.js';
import { installed } from '../core/fakes.js';
import { codeOf } from '../fixtures/code-of.js';
import { atLeast, same } from '../fixtures/same.js';

function arena(options: ArenaMemoryManagerOptions): { bench: ManagerBench; arena: ArenaMemoryManager } {
  const bench = new ManagerBench((count, table) => new ArenaMemoryManager(count, table, options), SIMULATED);
  return { bench, arena: bench.manager as ArenaMemoryManager };
}

function scratch(): { bench: ManagerBench; scratch: ScratchMemoryManager } {
  const bench = new ManagerBench((count, table) => new ScratchMemoryManager(count, table, { regionBytes: 1 * KiB }), SIMULATED);
  return { bench, scratch: bench.manager as ScratchMemoryManager };
}

describe('ArenaMemoryManager', () => {
  test("is the seed's memory pool: objects at aligned offsets, usage in percent, reset", () => {
    const { bench, arena: pool } = arena({ regionBytes: 1024, maxRegions: 1, alignmentBytes: 8 });
    const first = bench.alloc(4);
    const second = bench.alloc(4);
    expect(second.ptr - first.ptr).toBe(8);
    expect(pool.usagePercent).toBe(1.5625);
    // Objects end, but their places come back with the reset.
    bench.free(second);
    bench.free(first);
    expect([pool.usagePercent, pool.used, pool.available]).toEqual([1.5625, 16, 1008]);
    pool.reset();
    expect([pool.usagePercent, pool.used, pool.available]).toEqual([0, 0, 1024]);
    expect(bench.alloc(4).ptr).toBe(first.ptr);
  });

  test("is the seed's ArenaAllocator: it throws when it is full, and is as before", () => {
    const { bench, arena: full } = arena({ regionBytes: 1000, maxRegions: 1 });
    const held = [bench.alloc(100), bench.alloc(1, { alignment: 256 })];
    expect(held[1]!.ptr % 256).toBe(0);
    const { used, available } = full;
    expect(used + available).toBe(1008);
    expect(() => bench.alloc(available + 1)).toThrow(
      expect.objectContaining({
        code: 'ERR_MEM_OUT_OF_MEMORY',
        message: expect.stringMatching(/the arena has [\d.]+ B left of 1008 B/),
      }),
    );
    expect([full.used, full.available]).toEqual([used, available]);
    expect(full.stats(0)).toMatchObject({ ooms: 1, blocks: { current: 2 } });
    bench.alloc(available);
    expect(full.available).toBe(0);
  });

  test('refuses at once what a fixed arena can never hold', () => {
    const { bench } = arena({ regionBytes: 1024, maxRegions: 1 });
    expect(codeOf(() => bench.alloc(1025))).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect(bench.nativeAllocs).toBe(0);
  });

  test('doubles its regions, up to 64 times the first one', () => {
    const { bench } = arena({ regionBytes: 1024 });
    for (let i = 0; i < 1000; i++) bench.alloc(1024);
    expect(bench.nativeAllocs).toBe(21);
  });

  test('uses a region again that is wholly free, before it gets another', () => {
    const { bench } = arena({ regionBytes: 1024 });
    for (let round = 0; round < 10; round++) {
      const live = [bench.alloc(500), bench.alloc(500)];
      for (const held of live) bench.free(held);
    }
    expect(bench.nativeAllocs).toBe(1);
  });

  describe('reset', () => {
    test('frees live blocks on every device: their pointers are unknown from then on', () => {
      const { bench, arena: region } = arena({});
      const live = [0, 1, 2].map((id) => {
        bench.device.activate(id);
        return bench.alloc(1000);
      });
      region.reset();
      region.checkInvariants();
      expect(region.liveBlockCount()).toBe(0);
      for (const { ptr } of live) {
        expect(codeOf(() => region.unlock(ptr, true))).toBe('ERR_MEM_UNKNOWN_POINTER');
        expect(region.allocated(ptr)).toBe(0);
      }
      expect(bench.nativeFrees).toBe(0);
      region.signalMemoryCleanup();
      expect(bench.held).toBe(0);
      expect(region.stats(0)).toMatchObject({
        blocks: { current: 0, peak: 1, total: 1 },
        requestedBytes: { total: 1000 },
      });
    });

    test.each([
      ['', (manager: ArenaMemoryManager) => manager],
      [' under a decorator', (manager: ArenaMemoryManager) => new TrackingMemoryManager(manager)],
    ])('makes handles of before throw, also when another block has the address%s', (_, wrap) => {
      using runtime = new MemoryRuntime(new CpuDevice(), { exitReport: false });
      const region = new ArenaMemoryManager(1, new MemoryManagerDeviceInterface());
      installed(wrap(region), runtime);
      const before = runtime.allocate(100);
      const shared = runtime.allocate(100).share();
      const { ptr } = before;
      region.reset();
      const after = runtime.allocate(50);
      expect(after.ptr).toBe(ptr);
      for (const call of [() => before.view(Uint8Array), () => before.ptr, () => before.fill(1), () => shared.share()]) {
        expect(codeOf(call)).toBe('ERR_MEM_DISPOSED');
      }
      expect([before.disposed, shared.disposed, after.disposed]).toEqual([true, true, false]);
      before.dispose();
      shared.dispose();
      after.view(Uint8Array).fill(7);
      expect(region.allocated(after.ptr)).toBeGreaterThanOrEqual(50);
      after.dispose();
      expect(region.liveBlockCount()).toBe(0);
    });

    test('lets an arena that drains stop', () => {
      using runtime = new MemoryRuntime(new CpuDevice(), { exitReport: false });
      const region = installed(new ArenaMemoryManager(1, new MemoryManagerDeviceInterface()), runtime);
      const handle = runtime.allocate(100);
      installed(new SlabMemoryManager(1, new MemoryManagerDeviceInterface()), runtime);
      expect(region.lifecycle.state).toBe('draining');
      region.reset();
      expect(region.lifecycle.state).toBe('stopped');
      expect(handle.disposed).toBe(true);
    });
  });

  test.each([{ regionBytes: 0 }, { regionBytes: 1.5 }, { maxRegions: 0 }, { alignmentBytes: 3 }, { alignmentBytes: 2 ** 31 }])(
    'refuses %o',
    (options) => {
      expect(codeOf(() => arena(options))).toBe('ERR_MEM_INVALID_ARGUMENT');
    },
  );
});

describe('ScratchMemoryManager', () => {
  test('frees what was allocated since a mark, and nothing else', () => {
    const { bench, scratch: manager } = scratch();
    const kept = bench.alloc(100);
    const mark = manager.save();
    const gone = [bench.alloc(200), bench.alloc(5000), bench.alloc(10)];
    manager.restore(mark);
    manager.checkInvariants();
    expect(manager.allocated(kept.ptr)).toBeGreaterThanOrEqual(100);
    for (const { ptr } of gone) expect(codeOf(() => manager.unlock(ptr, true))).toBe('ERR_MEM_UNKNOWN_POINTER');
    expect(manager.stats(0)).toMatchObject({ blocks: { current: 1, peak: 4, total: 4 } });
    expect(bench.alloc(200).ptr).toBe(gone[0]!.ptr);
    // As in ggml, the same place can be gone back to again.
    manager.restore(mark);
    expect(manager.liveBlockCount()).toBe(1);
    bench.free(kept);
  });

  test('nests: an older mark forgets the newer ones, and dispose goes back, too', () => {
    const { bench, scratch: manager } = scratch();
    const outer = manager.save();
    bench.alloc(1);
    const inner = manager.save();
    bench.alloc(1);
    manager.restore(outer);
    expect(codeOf(() => manager.restore(inner))).toBe('ERR_MEM_INVALID_ARGUMENT');
    const held = bench.alloc(1);
    inner[Symbol.dispose]();
    expect(manager.allocated(held.ptr)).toBeGreaterThan(0);
    {
      using _mark = manager.save();
      bench.alloc(1);
      expect(manager.liveBlockCount()).toBe(2);
    }
    expect(manager.liveBlockCount()).toBe(1);
    outer[Symbol.dispose]();
    expect([manager.liveBlockCount(), manager.used]).toEqual([0, 0]);
    expect(codeOf(() => manager.restore(outer))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });

  test('forgets marks at a reset, and refuses those of another scratch', () => {
    const { scratch: manager } = scratch();
    const mark = manager.save();
    manager.reset();
    expect(codeOf(() => manager.restore(mark))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect(codeOf(() => manager.restore(scratch().scratch.save()))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect(codeOf(() => manager.restore(releasable(() => undefined)))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });

  test('agrees with a model over any program of allocations, frees, marks and cleanups', () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ do: fc.constant('alloc' as const), bytes: fc.integer({ min: 1, max: 700 }) }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('free' as const), at: fc.nat() }) },
      { weight: 2, arbitrary: fc.constant({ do: 'save' as const }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('restore' as const), at: fc.nat() }) },
      { weight: 1, arbitrary: fc.constant({ do: 'cleanup' as const }) },
      { weight: 1, arbitrary: fc.constant({ do: 'reset' as const }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (program) => {
        const { bench, scratch: manager } = scratch();
        let live: { ptr: DevicePtr; bytes: number; time: number; ticket: number }[] = [];
        let marks: { mark: ReturnType<ScratchMemoryManager['save']>; time: number }[] = [];
        const dead: { ptr: DevicePtr; ticket: number }[] = [];
        const kill = (alive: (time: number) => boolean) => {
          dead.push(...live.filter(({ time }) => !alive(time)));
          live = live.filter(({ time }) => alive(time));
        };
        program.forEach((each, time) => {
          if (each.do === 'alloc') {
            const { ptr, bytes } = bench.alloc(each.bytes);
            live.push({ ptr, bytes, time, ticket: manager.ticketOf(ptr) });
          } else if (each.do === 'free' && live.length > 0) {
            const [block] = live.splice(each.at % live.length, 1);
            manager.unlock(block!.ptr, true);
            dead.push(block!);
          } else if (each.do === 'save') marks.push({ mark: manager.save(), time });
          else if (each.do === 'restore' && marks.length > 0) {
            const at = each.at % marks.length;
            manager.restore(marks[at]!.mark);
            const since = marks[at]!.time;
            marks = marks.slice(0, at + 1);
            kill((born) => born < since);
          } else if (each.do === 'cleanup') manager.signalMemoryCleanup();
          else if (each.do === 'reset') {
            manager.reset();
            marks = [];
            kill(() => false);
          }
          manager.checkInvariants();
          same([manager.liveBlockCount()], [live.length]);
          for (const { ptr, bytes, ticket } of live) {
            atLeast(manager.allocated(ptr), bytes);
            same([manager.ticketOf(ptr)], [ticket]);
          }
          for (const { ptr, ticket } of dead) {
            if (manager.ticketOf(ptr) === ticket) expect.fail(`${ptr} still has the ticket of a block that was freed`);
          }
        });
        manager.reset();
        manager.shutdown();
        expect(bench.held).toBe(0);
      }),
      { numRuns: searchRuns(80) },
    );
  });
});
