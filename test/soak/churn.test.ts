import { describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager, LruMemoryManager, PoolMemoryManager, TlsfMemoryManager } from '../../managers/index.js';
import type { ManagerFactory } from '../../src/core/memory-host.js';
import { type DevicePtr, MemoryRuntime } from '../../src/index.js';

const MANAGERS: [string, ManagerFactory][] = [
  ['caching', (count, table) => new CachingMemoryManager(count, table)],
  ['tlsf', (count, table) => new TlsfMemoryManager(count, table)],
  ['pool', (count, table) => new PoolMemoryManager(count, table)],
  ['lru', (count, table) => new LruMemoryManager(count, table, { capacityBytes: 2 ** 24 })],
];
const LIVE = 2000;
const OPERATIONS = 1_000_000;

/** A generator of numbers from 0 to 1, the same ones each time (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

describe.each([
  ['simulated', () => new SimulatedDevice({ virtual: true })],
  ['cpu', () => new CpuDevice()],
] as const)('a million operations on the %s device', (kind, makeDevice) => {
  test.each(MANAGERS)('leave no block damaged and no byte behind under %s', (_, create) => {
    const runtime = new MemoryRuntime(makeDevice(), { createDefaultManager: create });
    const next = random(7);
    const ptrs: DevicePtr[] = [];
    const sizes: number[] = [];
    const mark = (i: number) => {
      if (kind === 'cpu') runtime.device.fill(ptrs[i] as DevicePtr, i & 255, Math.min(8, sizes[i] as number));
    };
    const check = (i: number) => {
      if (kind === 'cpu') expect(runtime.device.view(ptrs[i] as DevicePtr, 1)[0]).toBe(i & 255);
    };
    runtime.allocate(1).dispose();
    const operations = kind === 'cpu' ? OPERATIONS / 10 : OPERATIONS;
    for (let n = 0; n < operations; n++) {
      const i = Math.floor(next() * LIVE);
      if (ptrs[i] !== undefined && ptrs[i] !== 0) {
        check(i);
        runtime.slot.unlock(ptrs[i] as DevicePtr, true);
      }
      sizes[i] = 1 + Math.floor(2 ** (next() * 17));
      ptrs[i] = runtime.slot.alloc(sizes[i] as number, true);
      mark(i);
    }
    ptrs.forEach((ptr, i) => {
      check(i);
      runtime.slot.unlock(ptr, true);
    });
    expect(runtime.slot.liveBlocks).toBe(0);
    runtime.slot.signalMemoryCleanup();
    runtime.close();
    expect(runtime.slot.nativeAllocs).toBe(runtime.slot.nativeFrees);
    expect(runtime.slot.reservedBytes).toBe(0);
  });
});
