import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  CachingMemoryManager,
  DecoratingMemoryManager,
  FailingMemoryManager,
  GuardedMemoryManager,
  LimitingMemoryManager,
  LruMemoryManager,
  StatisticsMemoryManager,
  TrackingMemoryManager,
} from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { type DevicePtr, KiB, MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { searchRuns } from '../config/search.js';
import { installed, memoryError, PlainManager, simulatedRuntime, TextSink } from '../core/fakes.js';
import { decorated, POLICIES } from './decorator-bench.js';
import { FakeGuardMemory } from './guard-memory-fake.js';

type Wrap = (inner: MemoryManagerAdapter) => DecoratingMemoryManager;

const WRAPS: Record<string, Wrap> = {
  limiting: (inner) => new LimitingMemoryManager(inner, { limitBytes: 4 * MiB, limitBlocks: 12 }),
  tracking: (inner) => new TrackingMemoryManager(inner),
  sites: (inner) => new TrackingMemoryManager(inner, { sites: 2 }),
  statistics: (inner) => new StatisticsMemoryManager(inner),
  guarded: (inner) => new GuardedMemoryManager(inner, { memory: new FakeGuardMemory() }),
  failing: (inner) => new FailingMemoryManager(inner, { every: 7, probability: 0.05, seed: 3, aboveBytes: 3 * MiB }),
};

interface Model {
  user: boolean;
  manager: boolean;
  readonly bytes: number;
  readonly device: number;
}

const step = fc.record({
  kind: fc.constantFrom(
    'alloc',
    'alloc',
    'alloc',
    'unlock',
    'unlock',
    'unlock',
    'lock',
    'clean',
    'device',
    'oom',
    'free fails',
    'bad',
  ),
  bytes: fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 5 * MiB })),
  alignment: fc.constantFrom(0, 0, 64, 256, 4096),
  flag: fc.boolean(),
});

/** Puts the named decorators around a manager, the first outermost. */
function stackOf(names: readonly [string, string, string], inner: MemoryManagerAdapter): DecoratingMemoryManager {
  const [outermost, middle, innermost] = names.map((name) => WRAPS[name] as Wrap) as [Wrap, Wrap, Wrap];
  return outermost(middle(innermost(inner)));
}

/** The managers of a stack, outermost first. */
function* layers(manager: MemoryManagerAdapter): IterableIterator<MemoryManagerAdapter> {
  yield manager;
  if (manager instanceof DecoratingMemoryManager) yield* layers(manager.inner);
}

/** What callers can see of every manager in a stack. */
function visible(manager: MemoryManagerAdapter): unknown {
  return [...layers(manager)].map((layer) => [
    layer instanceof LimitingMemoryManager && [layer.usedBytes, layer.usedBlocks],
    layer instanceof TrackingMemoryManager && layer.blocks().map(({ ptr, serial }) => [ptr, serial]),
    layer instanceof StatisticsMemoryManager && [layer.counters().bytes.current, layer.counters().blocks.current],
    [0, 1, 2].map((id) => {
      const stats = layer.stats(id);
      return [stats?.blocks.current, stats?.requestedBytes.current, stats?.allocatedBytes.current];
    }),
  ]);
}

describe('decorators in any order', () => {
  test('hold what a model holds, in random programs with failures', () => {
    const names = fc.constantFrom(...Object.keys(WRAPS));
    const policies = fc.constantFrom(...(Object.keys(POLICIES) as (keyof typeof POLICIES)[]));
    fc.assert(
      fc.property(fc.tuple(names, names, names), policies, fc.array(step, { maxLength: 80 }), (stack, policy, steps) => {
        const { bench, manager } = decorated((inner) => stackOf(stack, inner), policy, 16 * MiB);
        const live = new Map<DevicePtr, Model>();
        const { nativeFree } = bench.table;
        for (const { kind, bytes, alignment, flag } of steps) {
          const before = visible(manager);
          const [ptr, block] = [...live][bytes % (live.size || 1)] ?? [];
          try {
            if (kind === 'alloc') {
              const made = manager.allocBytes(bytes, flag, alignment);
              expect([made % (alignment || 1), live.has(made)]).toEqual([0, false]);
              live.set(made, { user: flag, manager: !flag, bytes, device: bench.device.activeDeviceId });
            } else if (kind === 'bad') manager.allocBytes(flag ? -bytes : bytes, true, 3);
            else if (kind === 'clean') manager.signalMemoryCleanup();
            else if (kind === 'device') bench.device.activate(bytes % 3);
            else if (kind === 'oom') bench.refusal = bench.refusal === undefined ? () => 0 as DevicePtr : undefined;
            else if (kind === 'free fails') {
              bench.table.nativeFree = flag ? nativeFree : () => raise();
            } else if (ptr !== undefined && block !== undefined) {
              if (kind === 'lock') {
                manager.userLock(ptr);
                block.user = true;
              } else {
                manager.unlock(ptr, flag);
                if (flag) block.user = false;
                else block.manager = false;
                if (!block.user && !block.manager) live.delete(ptr);
              }
            }
          } catch (error) {
            const isExpected = ['ERR_MEM_OUT_OF_MEMORY', 'ERR_MEM_INVALID_SIZE', 'ERR_MEM_INVALID_ALIGNMENT', 'ERR_MEM_NATIVE'];
            if (!MemoryError.is(error) || !isExpected.includes(error.code)) throw error;
            expect(visible(manager)).toEqual(before);
          }
          manager.checkInvariants();
          for (const [held, model] of live) {
            expect(manager.allocated(held)).toBeGreaterThanOrEqual(model.bytes);
            expect(manager.isUserLocked(held)).toBe(model.user);
          }
          for (let id = 0; id < 3; id++) {
            const here = [...live.values()].filter((model) => model.device === id);
            const stats = manager.stats(id);
            expect(stats?.blocks.current).toBe(here.length);
            if (!stack.includes('guarded') || stack[0] === 'guarded') {
              expect(stats?.requestedBytes.current).toBe(here.reduce((sum, model) => sum + model.bytes, 0));
            }
          }
        }
        bench.table.nativeFree = nativeFree;
        for (const [ptr, block] of live) {
          if (block.user) manager.unlock(ptr, true);
          if (block.manager) manager.unlock(ptr, false);
        }
        manager.checkInvariants();
        manager.shutdown();
        expect(bench.held).toBe(0);
      }),
      { numRuns: searchRuns(300) },
    );
  });

  test.each([1, 2, 3, 4, 5, 6, 7])('are as before after every %i. inner allocation has failed', (every) => {
    for (const name of Object.keys(WRAPS)) {
      const wrap = WRAPS[name] as Wrap;
      const { bench, manager } = decorated((inner) => wrap(new FailingMemoryManager(inner, { every })));
      const live: DevicePtr[] = [];
      for (let i = 1; i <= 30; i++) {
        const before = visible(manager);
        try {
          live.push(manager.allocBytes(i * 100, i % 2 === 0, i % 3 === 0 ? 256 : 0));
        } catch (error) {
          expect(MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')).toBe(true);
          expect(visible(manager)).toEqual(before);
          if (live.length > 8) {
            for (const ptr of live.splice(0, 4)) manager.unlock(ptr, manager.isUserLocked(ptr));
          }
        }
        manager.checkInvariants();
      }
      for (const ptr of live) manager.unlock(ptr, manager.isUserLocked(ptr));
      manager.checkInvariants();
      manager.shutdown();
      expect(bench.held).toBe(0);
    }
  });

  test('give the same addresses as the manager inside alone', () => {
    const addresses = (manager: MemoryManagerAdapter) =>
      Array.from({ length: 50 }, (_, i) => {
        const ptr = manager.allocBytes(1 + ((i * 7919) % 5000), true);
        if (i % 3 === 0) manager.unlock(ptr, true);
        return ptr;
      });
    const bare = addresses(new (class extends DecoratingMemoryManager {})(decorated((inner) => inner).manager));
    for (const name of ['limiting', 'tracking', 'statistics']) {
      const lavish: Wrap = name === 'limiting' ? (inner) => new LimitingMemoryManager(inner) : WRAPS[name]!;
      expect(addresses(decorated((inner) => lavish(inner)).manager)).toEqual(bare);
    }
  });
});

/** A manager that answers every question in its own way and remembers what it was told. */
class Outspoken extends PlainManager {
  readonly told: unknown[] = [];
  override getMemoryPressure = () => 0.75;
  override jitTreeExceedsMemoryPressure = (bytes: number) => bytes > 10;
  override getMemStepSize = () => 24;
  override setMemStepSize = (bytes: number) => void this.told.push(['step', bytes]);
  override addMemoryManagement = (device: number) => void this.told.push(['add', device]);
  override removeMemoryManagement = (device: number) => void this.told.push(['remove', device]);
  override recordStream = (ptr: DevicePtr, stream: number) => void this.told.push(['stream', ptr, stream]);
  override signalMemoryCleanup = () => void this.told.push(['clean']);
}

describe('DecoratingMemoryManager', () => {
  test.each(Object.keys(WRAPS))('forwards what it does not change: %s', (name) => {
    const { runtime } = simulatedRuntime();
    const inner = new Outspoken();
    const manager = installed((WRAPS[name] as Wrap)(inner), runtime);
    expect(inner.initialized).toBe(1);
    expect([manager.getMemoryPressure(), manager.getMemStepSize()]).toEqual([0.75, 24]);
    expect([10, 11].map((bytes) => manager.jitTreeExceedsMemoryPressure(bytes))).toEqual([false, true]);
    const ptr = runtime.slot.alloc(100, true);
    manager.setMemStepSize(48);
    manager.addMemoryManagement(3);
    manager.removeMemoryManagement(3);
    runtime.slot.recordStream(ptr, 5);
    runtime.slot.signalMemoryCleanup();
    const base = name === 'guarded' ? ptr - 64 : ptr;
    expect(inner.told).toEqual([['step', 48], ['add', 3], ['remove', 3], ['stream', base, 5], ['clean']]);
    expect(manager.stats(0)).toBeUndefined();
    runtime.close();
    expect([inner.stopped, inner.lifecycle.state, manager.lifecycle.state]).toEqual([1, 'stopped', 'stopped']);
  });

  describe('in a slot', () => {
    test('shares the table of the inner manager, and logs on its own call log', () => {
      const { runtime, device } = simulatedRuntime();
      const [own, inside] = [new TextSink(), new TextSink()];
      const table = new MemoryManagerDeviceInterface();
      const inner = new CachingMemoryManager(1, table, { logStream: inside });
      const manager = installed(new TrackingMemoryManager(new LimitingMemoryManager(inner), { logStream: own }), runtime);
      expect(manager.deviceInterface).toBe(table);
      const ptr = runtime.slot.alloc(1000, true);
      runtime.slot.unlock(ptr, true);
      runtime.close();
      expect(own.lines).toEqual([
        'initialize ',
        `nativeAlloc ${2 * MiB} ${ptr} `,
        `alloc 1000 1 ${ptr} `,
        `unlock ${ptr} 1 `,
        'shutdown ',
        `nativeFree ${ptr} `,
      ]);
      expect(inside.text).toBe('');
      expect(device.liveSegments).toBe(0);
    });

    test('keeps others from installing the inner manager or a second decorator of it', () => {
      const { runtime } = simulatedRuntime();
      const inner = new CachingMemoryManager(1, new MemoryManagerDeviceInterface());
      const manager = installed(new TrackingMemoryManager(inner), runtime);
      for (const other of [inner, new TrackingMemoryManager(inner)]) {
        expect(() => runtime.slot.install(other)).toThrow(memoryError('ERR_MEM_TABLE_IN_USE', { manager: manager.name }));
        expect(() => new MemoryManagerInstaller(other, simulatedRuntime().runtime).setAsMemoryManager()).toThrow(
          memoryError('ERR_MEM_TABLE_IN_USE'),
        );
      }
      runtime.close();
    });

    test('is refused when the inner manager was shut down before', () => {
      const { runtime } = simulatedRuntime();
      const inner = new PlainManager();
      installed(new TrackingMemoryManager(inner), runtime);
      installed(new PlainManager(), runtime);
      expect(inner.lifecycle.state).toBe('stopped');
      expect(() => installed(new LimitingMemoryManager(inner), runtime)).toThrow(memoryError('ERR_MEM_LIFECYCLE'));
      expect(inner.initialized).toBe(1);
      expect(runtime.slot.alloc(10, true)).toBeGreaterThan(0);
      runtime.close();
    });

    test('is refused when the inner manager cannot be initialised, and may be tried again', () => {
      const { runtime } = simulatedRuntime();
      let fails = true;
      class Hesitant extends PlainManager {
        override initialize(): void {
          if (fails) throw new Error('not yet');
        }
      }
      const manager = new StatisticsMemoryManager(new Hesitant());
      expect(() => installed(manager, runtime)).toThrow('not yet');
      fails = false;
      expect(installed(manager, runtime).inner.lifecycle.state).toBe('active');
      runtime.close();
    });

    test('drains after a swap and goes on when it is installed again', () => {
      const { runtime } = simulatedRuntime();
      const stack = () => new TrackingMemoryManager(new LruMemoryManager(1, new MemoryManagerDeviceInterface()));
      const [first, second] = [installed(stack(), runtime), stack()];
      const ptr = runtime.slot.alloc(100, true);
      installed(second, runtime);
      expect([first.lifecycle.state, runtime.slot.allocated(ptr)]).toEqual(['draining', 100]);
      runtime.slot.install(first);
      expect([first.lifecycle.state, second.lifecycle.state]).toEqual(['active', 'stopped']);
      installed(stack(), runtime);
      runtime.slot.unlock(ptr, true);
      expect(first.lifecycle.state).toBe('stopped');
      runtime.close();
    });

    test('serves handles on real memory through four decorators', () => {
      const device = new CpuDevice();
      const runtime = new MemoryRuntime(device, { exitReport: false });
      const statistics = new StatisticsMemoryManager(new CachingMemoryManager(1, new MemoryManagerDeviceInterface()));
      const guarded = new GuardedMemoryManager(statistics, { memory: device });
      const limiting = new LimitingMemoryManager(guarded, { limitBytes: 64 * KiB });
      const tracking = installed(new TrackingMemoryManager(limiting, { sites: true }), runtime);
      {
        using handle = runtime.tag('weights', () => runtime.allocate(10_000, { zero: true, alignment: 4096 }));
        expect(handle.view(Uint8Array).every((byte) => byte === 0)).toBe(true);
        expect(tracking.find((handle.ptr + 9_999) as DevicePtr)).toMatchObject({ requestedBytes: 10_000, tag: 'weights' });
        expect(limiting.usedBytes).toBe(10_000);
        expect(statistics.counters('weights').bytes.current).toBe(10_000 + 4096 + 64);
        expect(() => runtime.allocate(60_000)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', { capacityBytes: 64 * KiB }));
      }
      expect([tracking.liveBlocks, limiting.usedBytes, statistics.counters().blocks.current]).toEqual([0, 0, 0]);
      runtime.close();
      expect(device.liveBytes).toBe(0);
    });
  });

  test('cannot be told from its inner manager by a device that is freed on another one', () => {
    const device = new SimulatedDevice({ deviceCount: 2 });
    const runtime = new MemoryRuntime(device, { exitReport: false });
    const table = new MemoryManagerDeviceInterface();
    const manager = installed(
      new StatisticsMemoryManager(new TrackingMemoryManager(new CachingMemoryManager(2, table))),
      runtime,
    );
    device.activate(1);
    const ptr = runtime.slot.alloc(100, true);
    device.activate(0);
    runtime.slot.unlock(ptr, true);
    expect([manager.counters().blocks.current, manager.stats(1)?.blocks.current]).toEqual([0, 0]);
    runtime.close();
    expect(device.liveSegments).toBe(0);
  });

  test('is a manager by type', () => {
    expect(new TrackingMemoryManager(new PlainManager())).toBeInstanceOf(MemoryManagerAdapter);
  });
});

function raise(): never {
  throw new MemoryError('ERR_MEM_NATIVE', { functionName: 'cudaFree', status: 4, statusName: 'unloading' });
}
