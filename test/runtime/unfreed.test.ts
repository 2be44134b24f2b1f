import { afterEach, beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest';
import {
  CachingMemoryManager,
  DefaultMemoryManager,
  LruMemoryManager,
  PoolMemoryManager,
  TlsfMemoryManager,
} from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { processState, type Reclaimable } from '../../src/core/process-state.js';
import type { Allocation } from '../../src/runtime/allocation.js';
import type { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { installed, PlainManager, simulatedRuntime } from '../core/fakes.js';
import { framesThatFit, overflows, under } from '../fixtures/full-stack.js';

const table = () => new MemoryManagerDeviceInterface();
let warn: MockInstance;

/** Warnings of frees that failed: not the one that tells of the first dropped handle. */
const failures = () => warn.mock.calls.filter(([told]) => told instanceof Error).length;

/** Drops a handle, and gives what the finalisation registry does with one that was collected. */
function dropped(runtime: MemoryRuntime, bytes: number): Reclaimable {
  const state = processState();
  state.handleWatch?.letGo();
  // Not registered in fact: the collector would reclaim it once more, some day.
  const register = vi.spyOn(state.droppedHandles, 'register').mockImplementation(() => {});
  runtime.allocate(bytes);
  state.handleWatch?.letGo();
  const [[, owned]] = register.mock.calls as [[WeakKey, Reclaimable]];
  register.mockRestore();
  return owned;
}

beforeEach(() => {
  warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
});

afterEach(() => {
  warn.mockRestore();
});

describe('MemoryRuntime', () => {
  describe('a dropped handle whose free fails', () => {
    test.each([
      ['a cleanup', ({ slot }: ReturnType<typeof simulatedRuntime>['runtime']) => slot.signalMemoryCleanup()],
      [
        'an allocation without room',
        ({ slot }: ReturnType<typeof simulatedRuntime>['runtime']) => void expect(() => slot.alloc(2 ** 41, true)).toThrow(),
      ],
    ])('is freed by %s', (_, cleanUp) => {
      const { device, runtime } = simulatedRuntime();
      installed(new PlainManager(), runtime);
      const leaks: number[] = [];
      runtime.events.on('leak', ({ bytes }) => leaks.push(bytes));
      const owned = dropped(runtime, 5000);
      device.failWhen(() => new Error('the driver is busy'));
      owned.reclaim();
      runtime.slot.signalMemoryCleanup();
      expect([runtime.slot.liveBlocks, leaks, failures()]).toEqual([1, [], 2]);
      device.failWhen(undefined);
      cleanUp(runtime);
      expect([runtime.slot.liveBlocks, device.liveBytes, leaks]).toEqual([0, 0, [5000]]);
      runtime.slot.signalMemoryCleanup();
      expect([leaks, failures()]).toEqual([[5000], 2]);
    });

    test('is not freed again when close has freed it', () => {
      const { device, runtime } = simulatedRuntime();
      installed(new PlainManager(), runtime);
      const owned = dropped(runtime, 5000);
      device.failWhen(() => new Error('the driver is busy'));
      owned.reclaim();
      runtime.close();
      device.failWhen(undefined);
      runtime.close();
      expect([device.liveBytes, runtime.slot.reservedBytes]).toEqual([0, 0]);
    });
  });

  describe('dispose', () => {
    test.each([
      ['young', () => {}],
      ['old', () => processState().handleWatch?.letGo()],
    ])('frees the block of a handle that is %s, or leaves it with the handle, where the stack ends', (_, age) => {
      const { device, runtime } = simulatedRuntime();
      installed(new CachingMemoryManager(1, table()), runtime);
      let overflown = 0;
      for (const width of [0, 1, 2]) {
        for (let fewer = 90; fewer >= 0; fewer -= 6) {
          const block = runtime.allocate(100 + fewer);
          const other = runtime.allocate(10);
          age();
          const frames = framesThatFit(width) - fewer;
          if (overflows(() => under(frames, width, () => block.dispose()))) overflown++;
          expect(runtime.slot.liveBlocks).toBe(block.disposed ? 1 : 2);
          if (!block.disposed) {
            processState().handleWatch?.letGo();
            const unregistered = vi.spyOn(processState().droppedHandles, 'unregister');
            block.dispose();
            expect(unregistered.mock.results).toEqual([{ type: 'return', value: true }]);
            unregistered.mockRestore();
          }
          other.dispose();
          expect(runtime.slot.liveBlocks).toBe(0);
        }
      }
      expect(overflown).toBeGreaterThan(10);
      runtime.close();
      expect(device.liveBytes).toBe(0);
    });
  });

  describe('slice, resize', () => {
    test.each<[string, (block: Allocation, parts: Allocation[]) => unknown]>([
      ['slice', (block, parts) => parts.push(block.slice(10))],
      ['resize to a new block', (block) => block.resize(100_000)],
      ['resize in place', (block) => block.resize(900)],
    ])('leave each block with its handles where the stack ends: %s', (_name, work) => {
      const { device, runtime } = simulatedRuntime();
      installed(new CachingMemoryManager(1, table()), runtime);
      let overflown = 0;
      for (const age of [() => {}, () => processState().handleWatch?.letGo()]) {
        for (const width of [0, 1, 2]) {
          for (let fewer = 90; fewer >= 0; fewer -= 6) {
            const block = runtime.allocate(1000);
            const parts: Allocation[] = [];
            age();
            const frames = framesThatFit(width) - fewer;
            if (overflows(() => under(frames, width, () => work(block, parts)))) {
              overflown++;
              expect([block.bytes, parts.length]).toEqual([1000, 0]);
            }
            runtime.slot.signalMemoryCleanup();
            expect([runtime.slot.liveBlocks, block.disposed]).toEqual([1, false]);
            for (const handle of [block, ...parts]) handle.dispose();
            expect(runtime.slot.liveBlocks).toBe(0);
          }
        }
      }
      expect(overflown).toBeGreaterThan(10);
      expect(runtime.collectorStats().undisposedBytes).toBe(0);
      runtime.close();
      expect(device.liveBytes).toBe(0);
    });
  });

  describe('allocate', () => {
    test.each([
      ['CachingMemoryManager', () => new CachingMemoryManager(1, table())],
      ['DefaultMemoryManager', () => new DefaultMemoryManager(1, table())],
      ['LruMemoryManager', () => new LruMemoryManager(1, table())],
      ['PoolMemoryManager', () => new PoolMemoryManager(1, table())],
      ['TlsfMemoryManager', () => new TlsfMemoryManager(1, table())],
    ])('leaves no block without a handle where the stack ends: %s', (_, create) => {
      const { device, runtime } = simulatedRuntime();
      installed(create(), runtime);
      const handles: Allocation[] = [];
      let overflown = 0;
      for (const width of [0, 1, 2]) {
        for (let fewer = 90; fewer >= 0; fewer -= 5) {
          const frames = framesThatFit(width) - fewer;
          const allocate = () =>
            runtime.tag('deep', () => handles.push(runtime.allocate(100 + fewer, { zero: fewer % 2 === 0 })));
          if (overflows(() => under(frames, width, allocate))) overflown++;
          runtime.slot.signalMemoryCleanup();
          expect(runtime.slot.liveBlocks).toBe(handles.length);
        }
      }
      expect(overflown).toBeGreaterThan(10);
      for (const handle of handles) handle.dispose();
      runtime.slot.signalMemoryCleanup();
      runtime.close();
      expect(device.liveBytes).toBe(0);
    });

    test('frees the block when the device that was active cannot be made active again', async () => {
      const { device, runtime } = simulatedRuntime({ deviceCount: 2 });
      installed(new PlainManager(), runtime);
      const activate = device.activate.bind(device);
      let calls = 0;
      await runtime.withDevice(1, async () => {
        await null;
        device.activate = (id) => {
          if (++calls === 2) throw new Error('the driver is gone');
          activate(id);
        };
        expect(() => runtime.allocate(100)).toThrow('the driver is gone');
      });
      expect([calls, runtime.slot.liveBlocks, device.liveBytes]).toEqual([2, 0, 0]);
    });
  });
});
