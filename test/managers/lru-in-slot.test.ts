import { beforeEach, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager, LruMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface, MemoryRuntime } from '../../src/index.js';

let runtime: MemoryRuntime;
let lru: LruMemoryManager;

beforeEach(() => {
  runtime = new MemoryRuntime(new SimulatedDevice());
  lru = new LruMemoryManager(1, new MemoryManagerDeviceInterface());
  runtime.slot.install(lru);
});

const swap = () => runtime.slot.install(new CachingMemoryManager(1, new MemoryManagerDeviceInterface()));

describe('LruMemoryManager in a slot', () => {
  test('drains while a reference holds a block, and stops when the last reference goes', () => {
    const ptr = runtime.slot.alloc(512, true);
    lru.incrementRef(ptr);
    runtime.slot.unlock(ptr, true);
    swap();
    expect(lru.lifecycle.state).toBe('draining');
    expect(lru.allocated(ptr)).toBeGreaterThan(0);
    lru.decrementRef(ptr);
    expect(lru.lifecycle.state).toBe('stopped');
  });

  test('is not stopped while a block lives that came by its own methods', () => {
    const own = lru.allocate({ size: 512, align: 64 }, 0);
    const other = runtime.slot.alloc(512, true);
    runtime.slot.unlock(other, true);
    expect(runtime.slot.liveBlocks).toBe(1);
    swap();
    expect(lru.lifecycle.state).toBe('draining');
    lru.decrementRef(own);
    expect(lru.lifecycle.state).toBe('stopped');
  });

  test('goes on when it is installed again, and does not stop with its last block then', () => {
    const ptr = runtime.slot.alloc(512, true);
    swap();
    runtime.slot.install(lru);
    runtime.slot.unlock(ptr, true);
    expect(lru.lifecycle.state).toBe('active');
  });
});
