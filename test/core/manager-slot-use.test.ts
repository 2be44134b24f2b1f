import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ArenaMemoryManager,
  CachingMemoryManager,
  PoolMemoryManager,
  TlsfMemoryManager,
  TrackingMemoryManager,
} from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { MiB } from '../../src/core/units.js';
import type { Allocation } from '../../src/runtime/allocation.js';
import { is } from '../fixtures/same.js';
import { memoryError, PlainManager, simulatedRuntime } from './fakes.js';

const tlsf = () => new TlsfMemoryManager(1, new MemoryManagerDeviceInterface());

describe('MemoryRuntime', () => {
  describe('use', () => {
    test('makes a manager active and brings the former one back, which kept its cached memory', () => {
      const { runtime, device } = simulatedRuntime();
      runtime.allocate(MiB).dispose();
      const former = runtime.slot.active!;
      const cached = device.liveBytes;
      const used = runtime.use((deviceCount, table) => new PoolMemoryManager(deviceCount, table));
      expect([runtime.slot.active, used.manager.name, former.lifecycle.state]).toEqual([
        used.manager,
        'PoolMemoryManager',
        'active',
      ]);
      expect(device.liveBytes).toBe(cached);
      used.dispose();
      expect([runtime.slot.active, runtime.slot.installed, used.manager.lifecycle.state]).toEqual([former, former, 'stopped']);
      used.dispose();
      expect(runtime.slot.active).toBe(former);
    });

    test('frees the blocks of both, whichever is active', () => {
      const { runtime } = simulatedRuntime();
      const before = runtime.allocate(1000);
      const used = runtime.use(tlsf());
      const during = runtime.allocate(1000);
      before.dispose();
      expect(runtime.slot.active).toBe(used.manager);
      used.dispose();
      expect(used.manager.lifecycle.state).toBe('draining');
      during.dispose();
      expect([used.manager.lifecycle.state, runtime.slot.liveBlocks]).toEqual(['stopped', 0]);
    });

    test('takes what is installed meanwhile with it, and leaves what is used above', () => {
      const { runtime } = simulatedRuntime();
      const [first, second, third] = [tlsf(), tlsf(), tlsf()];
      const former = runtime.use(tlsf()).manager;
      const lower = runtime.use(first);
      runtime.slot.install(second);
      expect(first.lifecycle.state).toBe('stopped');
      const upper = runtime.use(third);
      lower.dispose();
      expect([runtime.slot.active, second.lifecycle.state]).toEqual([third, 'stopped']);
      upper.dispose();
      expect([runtime.slot.active, third.lifecycle.state, former.lifecycle.state]).toEqual([former, 'stopped', 'active']);
    });

    test('tells the blocks of one arena from those of the next, which may have their addresses', () => {
      const { runtime } = simulatedRuntime();
      const tickets = [1, 2].map(() => {
        const arena = runtime.use((deviceCount, table) => new ArenaMemoryManager(deviceCount, table, { regionBytes: MiB }));
        const ticket = arena.manager.ticketOf(runtime.allocate(1000).ptr);
        arena.manager.reset();
        const later = arena.manager.ticketOf(runtime.allocate(1000).ptr);
        arena.manager.reset();
        arena.dispose();
        return [ticket, later];
      });
      expect(new Set(tickets.flat()).size).toBe(4);
    });

    test('changes nothing when the manager cannot be installed, or its end comes from inside an allocation', () => {
      const { runtime } = simulatedRuntime();
      runtime.allocate(8).dispose();
      const former = runtime.slot.active;
      const stopped = tlsf();
      runtime.use(stopped).dispose();
      expect(() => runtime.use(stopped)).toThrow(memoryError('ERR_MEM_LIFECYCLE'));
      expect(runtime.slot.active).toBe(former);
      runtime.use(tlsf()).dispose();
      expect(runtime.slot.active).toBe(former);
    });

    test('refuses what is no manager and makes none, and says what it is', () => {
      const { runtime } = simulatedRuntime();
      for (const [given, value] of [
        [TlsfMemoryManager, 'the class TlsfMemoryManager'],
        [{}, 'an object'],
        [() => {}, 'undefined'],
        [undefined, 'undefined'],
      ]) {
        expect(() => runtime.use(given as never)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'manager', value }));
      }
      for (const given of [() => tlsf(), {}, undefined]) {
        const error = memoryError('ERR_MEM_INVALID_ARGUMENT', { expected: 'a manager' });
        expect(() => runtime.withManager(given as never, () => {})).toThrow(error);
      }
    });

    test('keeps no manager when there is nothing to run', () => {
      const { runtime } = simulatedRuntime();
      const manager = tlsf();
      expect(() => runtime.withManager(manager, 5 as never)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'fn' }));
      expect(manager.lifecycle.state).toBe('created');
    });

    test('gives the manager with its type', () => {
      const { runtime } = simulatedRuntime();
      const used = runtime.use((deviceCount, table) => new TrackingMemoryManager(new TlsfMemoryManager(deviceCount, table)));
      expect(used.manager.leakReport().blocks).toBe(0);
      used.dispose();
    });

    test('lets the default of the slot go on, which is not installed', () => {
      const { runtime } = simulatedRuntime();
      runtime.slot.alloc(8, true);
      runtime.slot.unset();
      const fallback = runtime.slot.active;
      const used = runtime.use(tlsf());
      used[Symbol.dispose]();
      expect([runtime.slot.active, runtime.slot.installed]).toEqual([fallback, null]);
    });
  });

  describe('withManager', () => {
    test('allocates from the manager, awaits included, and from the active one beside', async () => {
      const { runtime } = simulatedRuntime();
      const pool = tlsf();
      const inside = runtime.withManager(pool, async () => {
        const first = runtime.allocate(100);
        await Promise.resolve();
        return [first, runtime.allocate(100)];
      });
      const outside = runtime.allocate(100);
      const blocks = await inside;
      expect(pool.liveBlockCount()).toBe(2);
      expect(runtime.slot.usage()[0]).toMatchObject({ manager: runtime.slot.active, liveBlocks: 1 });
      for (const block of [...blocks, outside]) block.dispose();
      expect(runtime.slot.liveBlocks).toBe(0);
      // It stays, with what it caches, for the next time.
      expect(pool.lifecycle.state).toBe('active');
      runtime.withManager(pool, () => runtime.allocate(100).dispose());
      runtime.retire(pool);
      expect(pool.lifecycle.state).toBe('stopped');
    });

    test('lets several managers serve side by side, each the parts of the program that name it', () => {
      const { runtime } = simulatedRuntime();
      const managers = [tlsf(), tlsf(), new PlainManager()];
      const blocks = managers.flatMap((manager) =>
        runtime.withManager(manager, () => [runtime.allocate(64), runtime.allocate(0)]),
      );
      runtime.withManager(managers[0]!, () => {
        runtime.withManager(managers[1]!, () => blocks.push(runtime.allocate(64)));
        blocks.push(runtime.allocate(64));
      });
      expect(managers.map((manager) => runtime.slot.usage().find((use) => use.manager === manager)?.liveBlocks)).toEqual([
        2, 2, 1,
      ]);
      expect(runtime.withManager(managers[1]!, () => runtime.stats())).toMatchObject({ blocks: { current: 2 } });
      for (const block of blocks) block.dispose();
      runtime.close();
      expect(managers.map(({ lifecycle }) => lifecycle.state)).toEqual(['stopped', 'stopped', 'stopped']);
    });

    test('drains a manager that is retired with live blocks, and takes it again', () => {
      const { runtime } = simulatedRuntime();
      const pool = tlsf();
      const block = runtime.withManager(pool, () => runtime.allocate(100));
      runtime.withManager(pool, () => {
        runtime.retire(pool);
        expect(pool.lifecycle.state).toBe('draining');
        expect(() => runtime.allocate(100)).toThrow(memoryError('ERR_MEM_LIFECYCLE', { from: 'draining' }));
      });
      runtime.withManager(pool, () => runtime.allocate(100).dispose());
      expect(pool.lifecycle.state).toBe('active');
      runtime.retire(pool);
      block.dispose();
      expect(pool.lifecycle.state).toBe('stopped');
    });

    test('keeps a manager that was active, too, when another takes its place', () => {
      const { runtime } = simulatedRuntime();
      const pool = tlsf();
      runtime.slot.install(pool);
      runtime.withManager(pool, () => {
        runtime.slot.install(new CachingMemoryManager(1, new MemoryManagerDeviceInterface()));
        const block = runtime.allocate(100);
        expect(pool.liveBlockCount()).toBe(1);
        block.dispose();
      });
      expect(pool.lifecycle.state).toBe('active');
    });

    test.each(['retire', 'close'] as const)('gives no block of a manager that a listener lets go: %s', (what) => {
      const { runtime, device } = simulatedRuntime({ capacityBytes: 32 * MiB });
      const pool = new ArenaMemoryManager(1, new MemoryManagerDeviceInterface(), { regionBytes: MiB });
      runtime.events.on('oom', ({ manager }) => {
        if (manager !== pool) return;
        if (what === 'retire') runtime.retire(pool);
        else runtime.close();
      });
      const code = what === 'retire' ? 'ERR_MEM_LIFECYCLE' : 'ERR_MEM_DISPOSED';
      expect(() => runtime.withManager(pool, () => runtime.allocate(64 * MiB))).toThrow(memoryError(code));
      expect(pool.lifecycle.state).toBe('stopped');
      runtime.close();
      expect(device.liveBytes).toBe(0);
    });

    test('allocates nothing after the runtime was closed', () => {
      const { runtime } = simulatedRuntime();
      runtime.withManager(tlsf(), () => {
        runtime.close();
        expect(() => runtime.allocate(100)).toThrow(memoryError('ERR_MEM_DISPOSED'));
      });
    });

    test('climbs the ladder when the manager has no memory: all managers give back what they cache', () => {
      const { runtime, device } = simulatedRuntime({ capacityBytes: 64 * MiB });
      runtime.allocate(40 * MiB).dispose();
      const pool = tlsf();
      const block = runtime.withManager(pool, () => runtime.allocate(40 * MiB));
      expect(pool.liveBlockCount()).toBe(1);
      runtime.events.on('oom', ({ manager }) => expect(manager).toBe(pool));
      expect(() => runtime.withManager(pool, () => runtime.allocate(40 * MiB))).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      block.dispose();
      runtime.close();
      expect(device.liveBytes).toBe(0);
    });
  });

  test('gives all memory back and stops every manager after any program of uses, managers beside and installs', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom('use', 'end', 'with', 'install', 'unset', 'retire', 'free'), fc.nat(7)), {
      maxLength: 40,
      size: 'max',
    });
    fc.assert(
      fc.property(steps, (program) => {
        const { runtime, device } = simulatedRuntime();
        const seen = new Set<MemoryManagerAdapter>();
        const beside: MemoryManagerAdapter[] = [];
        const uses: { dispose(): void; depth: MemoryManagerAdapter | null }[] = [];
        const live: Allocation[] = [];
        const fresh = (): MemoryManagerAdapter => {
          const manager = tlsf();
          seen.add(manager);
          return manager;
        };
        for (const [step, n] of program) {
          if (step === 'use') {
            const depth = runtime.slot.active;
            const { dispose } = runtime.use(fresh());
            uses.push({ dispose, depth });
          } else if (step === 'end' && uses.length > 0) {
            const isTop = n % uses.length === uses.length - 1;
            const [use] = uses.splice(n % uses.length, 1);
            const { active } = runtime.slot;
            use!.dispose();
            if (!isTop) expect(runtime.slot.active).toBe(active);
          } else if (step === 'with') {
            const manager = beside[n] ?? fresh();
            if (manager.lifecycle.state === 'stopped') continue;
            if (!beside.includes(manager)) beside.push(manager);
            const before = manager.liveBlockCount()!;
            live.push(runtime.withManager(manager, () => runtime.allocate(100 + n)));
            expect(manager.liveBlockCount()).toBe(before + 1);
          } else if (step === 'install') runtime.slot.install(fresh());
          else if (step === 'unset') runtime.slot.unset();
          else if (step === 'retire' && beside[n] !== undefined) runtime.retire(beside[n]);
          else if (live.length > 0) live.splice(n % live.length, 1)[0]!.dispose();
          live.push(runtime.allocate(200));
          is(runtime.slot.active?.lifecycle.state, 'active');
          is(runtime.slot.liveBlocks, live.length);
        }
        while (uses.length > 0) {
          const { dispose, depth } = uses.pop()!;
          dispose();
          // Uses below may have ended out of order: then what they covered is there.
          if (depth !== null && depth.lifecycle.state !== 'stopped') expect(runtime.slot.active?.lifecycle.state).toBe('active');
        }
        for (const block of live) block.dispose();
        runtime.close();
        expect(device.liveBytes).toBe(0);
        for (const manager of seen) expect(['stopped', 'created']).toContain(manager.lifecycle.state);
      }),
      { numRuns: 100 },
    );
  });
});
