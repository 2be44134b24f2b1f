import { describe, expect, test } from 'vitest';
import type { SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  ArenaMemoryManager,
  BuddyMemoryManager,
  CachingMemoryManager,
  DefaultMemoryManager,
  FailingMemoryManager,
  GuardedMemoryManager,
  LimitingMemoryManager,
  LruMemoryManager,
  PoolMemoryManager,
  PyTorchMemoryManager,
  ScratchMemoryManager,
  SlabMemoryManager,
  StatisticsMemoryManager,
  TlsfMemoryManager,
  TrackingMemoryManager,
} from '../../managers/index.js';
import { MemoryError } from '../../src/core/errors.js';
import type { DevicePtr } from '../../src/core/units.js';
import { ManagerBench, type ManagerMaker, SIMULATED } from '../conformance/manager-bench.js';
import { framesThatFit, overflows, under } from '../fixtures/full-stack.js';
import { FakeGuardMemory } from './guard-memory-fake.js';

const slab: ManagerMaker = (count, table) => new SlabMemoryManager(count, table, { cellBytes: 1000, slabBytes: 8000 });
const MAKERS: Readonly<Record<string, ManagerMaker>> = {
  default: (count, table) => new DefaultMemoryManager(count, table, { maxBuffers: 20 }),
  'default in debug mode': (count, table) => new DefaultMemoryManager(count, table, { debug: true }),
  caching: (count, table) => new CachingMemoryManager(count, table),
  pool: (count, table) => new PoolMemoryManager(count, table),
  pytorch: (count, table) => new PyTorchMemoryManager(count, table),
  'pytorch with expandable segments': (count, table) =>
    new PyTorchMemoryManager(count, table, { conf: 'expandable_segments:True' }),
  tlsf: (count, table) => new TlsfMemoryManager(count, table),
  lru: (count, table) => new LruMemoryManager(count, table, { capacityLayouts: 4 }),
  arena: (count, table) => new ArenaMemoryManager(count, table, { regionBytes: 8000 }),
  scratch: (count, table) => new ScratchMemoryManager(count, table, { regionBytes: 8000 }),
  slab,
  buddy: (count, table) => new BuddyMemoryManager(count, table, { regionBytes: 8192 }),
  limiting: (count, table) => new LimitingMemoryManager(slab(count, table), { limitBytes: 2 ** 40 }),
  tracking: (count, table) => new TrackingMemoryManager(slab(count, table)),
  statistics: (count, table) => new StatisticsMemoryManager(slab(count, table)),
  failing: (count, table) => new FailingMemoryManager(slab(count, table), { every: 2 ** 40 }),
  guarded: (count, table) => new GuardedMemoryManager(slab(count, table), { memory: new FakeGuardMemory() }),
};

describe.each(Object.entries(MAKERS))('%s', (_, make) => {
  test('is as before an allocation, a free or a release in which the stack ends, or the free or the release is done', () => {
    const bench = new ManagerBench(make, SIMULATED);
    const { manager } = bench;
    callOnce(bench);
    const live = new Set<DevicePtr>();
    let overflown = 0;
    for (const width of [0, 1, 2]) {
      for (let fewer = 60; fewer >= 0; fewer -= 4) {
        // Anew each time: frames shrink when V8 optimises.
        const frames = framesThatFit(width) - fewer;
        for (const bytes of [1 + ((frames * 7919) % 5000), 100]) {
          let ptr = 0 as DevicePtr;
          const isFull = overflows(() => under(frames, width, () => (ptr = manager.allocBytes(bytes, true))));
          if (isFull) overflown++;
          if (ptr !== 0) live.add(ptr);
          manager.checkInvariants?.();
          expect(manager.liveBlockCount()).toBe(live.size);
          if (overflows(() => under(frames, width, () => manager.releaseCached(0, 1, 2 ** 40)))) overflown++;
          manager.checkInvariants?.();
          const [old] = live;
          if (old === undefined || live.size < 5) continue;
          if (overflows(() => under(frames, width, () => manager.unlock(old, true)))) overflown++;
          if (manager.allocated(old) === 0) live.delete(old);
          manager.checkInvariants?.();
          expect(manager.liveBlockCount()).toBe(live.size);
        }
      }
    }
    expect(overflown).toBeGreaterThan(10);
    for (const ptr of live) manager.unlock(ptr, true);
    manager.checkInvariants?.();
    manager.shutdown();
    expect(bench.held).toBe(0);
  });
});

const refusal = new MemoryError('ERR_MEM_NATIVE', { functionName: 'nativeFree', status: 1, statusName: 'refused' });

/** Makes a call that the device may refuse. */
function refused(call: () => void): void {
  try {
    call();
  } catch (error) {
    expect(error).toBe(refusal);
  }
}

/**
 * Calls what may be called at a full stack, once, and lets the device refuse: V8 compiles a function at its first call, which
 * takes more stack than the function does.
 */
function callOnce({ device, manager }: ManagerBench): void {
  const simulated = device as SimulatedDevice;
  for (const bytes of [100, 2 ** 20]) {
    simulated.failWhen(() => true);
    expect(() => manager.allocBytes(bytes, true)).toThrow(MemoryError);
    simulated.failWhen(undefined);
    const ptrs = [manager.allocBytes(bytes, true), manager.allocBytes(bytes, true)];
    simulated.failWhen(({ name }) => (name === 'nativeFree' ? refusal : false));
    for (const ptr of ptrs) refused(() => manager.unlock(ptr, true));
    refused(() => manager.releaseCached(0, 1, 2 ** 40));
    refused(() => manager.signalMemoryCleanup());
    simulated.failWhen(undefined);
    for (const ptr of ptrs) if (manager.allocated(ptr) > 0) manager.unlock(ptr, true);
    manager.signalMemoryCleanup();
  }
}
