import { describe, expect, test } from 'vitest';
import {
  ArenaMemoryManager,
  DecoratingMemoryManager,
  FailingMemoryManager,
  GuardedMemoryManager,
  LimitingMemoryManager,
  ScratchMemoryManager,
  StatisticsMemoryManager,
  TrackingMemoryManager,
} from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import type { DevicePtr } from '../../src/core/units.js';
import { installed, PlainManager, simulatedRuntime, TextSink } from '../core/fakes.js';
import { FakeGuardMemory } from './guard-memory-fake.js';

const WRAPS: Readonly<Record<string, (inner: MemoryManagerAdapter) => DecoratingMemoryManager & { checkInvariants(): void }>> = {
  none: (inner) => new (class extends DecoratingMemoryManager {})(inner),
  limiting: (inner) => new LimitingMemoryManager(inner),
  tracking: (inner) => new TrackingMemoryManager(inner),
  statistics: (inner) => new StatisticsMemoryManager(inner),
  failing: (inner) => new FailingMemoryManager(inner),
  guarded: (inner) => new GuardedMemoryManager(inner, { memory: new FakeGuardMemory() }),
};
const GUARD_BYTES = 64;

/** What a manager does for itself, whatever it is made of. */
const OWN = new Set(
  [
    'constructor',
    'name',
    'alloc',
    'userUnlock',
    'callAlloc',
    'callUnlock',
    'checkMethods',
    'policyMethods',
    'overridesCalls',
    'givesTickets',
    'log',
    'getHandle',
  ].concat(
    ['setLogStream', 'getLogStream', 'setLoggingEnabled', 'setLogFlushInterval'], // its own call log
  ),
);

/** A block, and how the inner manager knows it. */
const BLOCK = Symbol('block');
const sink = new TextSink();
/** How each method that a decorator forwards is called on a live block, and what the inner manager is to be called with. */
const CALLS: Readonly<Record<string, readonly (typeof BLOCK | number | boolean | string | TextSink)[]>> = {
  allocated: [BLOCK],
  isUserLocked: [BLOCK],
  userLock: [BLOCK],
  recordStream: [BLOCK, 7],
  resized: [BLOCK, 50],
  ticketOf: [BLOCK],
  siteOf: [BLOCK],
  getMemoryPressure: [],
  jitTreeExceedsMemoryPressure: [100],
  getMemStepSize: [],
  setMemStepSize: [48],
  stats: [0],
  idleBytes: [0],
  liveBlockCount: [],
  callsUnderway: [],
  deviceIds: [],
  addMemoryManagement: [3],
  removeMemoryManagement: [3],
  signalMemoryCleanup: [],
  releaseCached: [0, 100, 200],
  printInfo: ['now', 0, sink],
  unlock: [BLOCK, true],
  shutdown: [],
};
/** Tried where a block is made for the other calls, or forwarded under another name. */
const ELSEWHERE = new Set(['initialize', 'allocBytes', 'userUnlock', 'metadataBytes']);
/** What guards answer themselves, from books of their own, or with bytes of their own. */
const OWN_BOOKS: Readonly<Record<string, ReadonlySet<string>>> = { guarded: new Set(['allocated', 'isUserLocked', 'resized']) };

/** The methods of a prototype and of those behind it, those of Object aside. */
function methodsOf(prototype: object): string[] {
  const above = Object.getPrototypeOf(prototype);
  const own = Object.getOwnPropertyNames(prototype);
  return above === Object.prototype ? own : [...new Set([...own, ...methodsOf(above)])];
}

/** A manager that remembers its calls. */
function recorder(): { manager: PlainManager; calls: [string, ...unknown[]][] } {
  const manager = new PlainManager();
  const calls: [string, ...unknown[]][] = [];
  for (const name of methodsOf(PlainManager.prototype)) {
    const method: unknown = name === 'liveBlocks' ? undefined : Reflect.get(manager, name);
    if (typeof method !== 'function' || name === 'constructor') continue;
    const answers: Readonly<Record<string, unknown>> = { recordStream: undefined, setMemStepSize: undefined };
    Object.defineProperty(manager, name, {
      value: (...args: unknown[]) => {
        calls.push([name, ...args]);
        return name in answers ? answers[name] : Reflect.apply(method, manager, args);
      },
    });
  }
  return { manager, calls };
}

describe('decorators', () => {
  test('own every method of the adapter, or leave it on purpose to what every manager does for itself', () => {
    // Abstract methods are on no prototype of the adapter; a manager that has nothing else has them.
    const adapter = [...methodsOf(MemoryManagerAdapter.prototype), ...Object.keys(CALLS), ...ELSEWHERE];
    const forwarded = [...new Set(adapter)].filter((name) => !OWN.has(name)).sort();
    const decorating = Object.getOwnPropertyNames(DecoratingMemoryManager.prototype);
    expect(forwarded.filter((name) => !decorating.includes(name))).toEqual([]);
    expect(forwarded.filter((name) => !(name in CALLS) && !ELSEWHERE.has(name))).toEqual([]);
  });

  describe.each(Object.entries(WRAPS))('%s', (wrap, make) => {
    test.each(Object.entries(CALLS))('forwards %s, with the pointer that the inner manager knows', (method, args) => {
      const { manager: inner, calls } = recorder();
      const { runtime } = simulatedRuntime();
      const manager = installed(make(inner), runtime);
      const ptr = runtime.slot.alloc(100, true);
      const base = wrap === 'guarded' ? ptr - GUARD_BYTES : ptr;
      const given = (block: number) => args.map((arg) => (arg === BLOCK ? block : arg));
      calls.length = 0;
      Reflect.apply(Reflect.get(manager, method) as (...all: unknown[]) => unknown, manager, given(ptr));
      if (OWN_BOOKS[wrap]?.has(method) !== true) expect(calls).toContainEqual([method, ...given(base)]);
      if (base !== ptr) expect(calls.filter((call) => call.includes(ptr))).toEqual([]);
    });
  });

  describe.each(Object.entries(WRAPS))('%s around an arena', (_, make) => {
    test('drops from its books what a reset frees, and handles are gone', () => {
      const { runtime } = simulatedRuntime();
      const arena = new ArenaMemoryManager(1, new MemoryManagerDeviceInterface());
      const manager = installed(make(make(arena)), runtime);
      const handle = runtime.allocate(100);
      const { ptr } = handle;
      arena.reset();
      manager.checkInvariants();
      expect([handle.disposed, manager.allocated(ptr), manager.ticketOf(ptr), runtime.slot.liveBlocks]).toEqual([true, 0, 0, 0]);
      const next = runtime.allocate(100);
      expect([next.ptr, handle.disposed, next.disposed]).toEqual([ptr, true, false]);
      next.dispose();
      manager.checkInvariants();
      runtime.close();
    });

    test('drops from its books what going back to a mark frees, and keeps the rest', () => {
      const { runtime } = simulatedRuntime();
      const scratch = new ScratchMemoryManager(1, new MemoryManagerDeviceInterface());
      const manager = installed(make(scratch), runtime);
      const kept = runtime.allocate(100);
      const mark = scratch.save();
      const gone = runtime.slot.alloc(100, true);
      scratch.restore(mark);
      manager.checkInvariants();
      expect([manager.allocated(kept.ptr) > 0, manager.allocated(gone as DevicePtr), kept.disposed]).toEqual([true, 0, false]);
      kept.dispose();
      runtime.close();
    });
  });

  test('say in their own books what is left after a reset', () => {
    const arena = new ArenaMemoryManager(1, new MemoryManagerDeviceInterface());
    const tracking = new TrackingMemoryManager(arena);
    const statistics = new StatisticsMemoryManager(tracking);
    const limiting = new LimitingMemoryManager(statistics, { limitBytes: 1000 });
    const guarded = new GuardedMemoryManager(limiting, { memory: new FakeGuardMemory() });
    const { runtime } = simulatedRuntime();
    installed(guarded, runtime);
    runtime.slot.alloc(700, true);
    expect(() => runtime.slot.alloc(700, true)).toThrow('out of memory');
    arena.reset();
    guarded.checkInvariants();
    expect([tracking.liveBlocks, statistics.counters().bytes.current, limiting.usedBytes]).toEqual([0, 0, 0]);
    expect(guarded.stats(0)?.requestedBytes).toEqual({ current: 0, peak: 700, total: 700 });
    runtime.slot.unlock(runtime.slot.alloc(700, true), true);
    runtime.close();
  });
});
