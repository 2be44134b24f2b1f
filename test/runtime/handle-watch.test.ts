import { afterEach, beforeAll, beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest';
import { ArenaMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { processState } from '../../src/core/process-state.js';
import { MiB } from '../../src/core/units.js';
import { Allocation } from '../../src/runtime/allocation.js';
import { installed, memoryError, PlainManager, simulatedRuntime } from '../core/fakes.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

beforeAll(() => void compiled(), 120_000);

let register: MockInstance;
let unregister: MockInstance;
// A collection registers one thing of its own.
const registered = () => register.mock.calls.map(([held]) => held).filter((held) => held instanceof Allocation);
const letGo = () => processState().handleWatch?.letGo();

beforeEach(() => {
  letGo();
  register = vi.spyOn(processState().droppedHandles, 'register');
  unregister = vi.spyOn(processState().droppedHandles, 'unregister');
});

afterEach(() => {
  vi.restoreAllMocks();
});

describe('HandleWatch', () => {
  test('never registers a handle that dies young', () => {
    const { runtime } = simulatedRuntime();
    for (let i = 0; i < 1000; i++) runtime.allocate(100).dispose();
    for (let i = 0; i < 100; i++) {
      const shared = runtime.allocate(100).move().share();
      shared.share().dispose();
      shared.dispose();
    }
    const few = Array.from({ length: 60 }, () => runtime.allocate(100));
    for (const block of few) block.dispose();
    expect(registered()).toEqual([]);
    expect(unregister).toHaveBeenCalledTimes(0);
    runtime.close();
  });

  test('registers the oldest of 65', () => {
    const { runtime } = simulatedRuntime();
    const blocks = Array.from({ length: 64 }, () => runtime.allocate(100));
    expect(registered()).toEqual([]);
    blocks[0]!.dispose();
    blocks.push(runtime.allocate(100), runtime.allocate(100));
    expect(registered()).toEqual([blocks[1]]);
    blocks[1]!.dispose();
    expect(unregister).toHaveBeenCalledExactlyOnceWith(blocks[1]);
    runtime.close();
  });

  test('registers the oldest above 16 MiB, and a larger one at once', () => {
    const { runtime } = simulatedRuntime({ capacityBytes: 200 * MiB });
    const blocks = [6, 6, 4].map((size) => runtime.allocate(size * MiB));
    expect(registered()).toEqual([]);
    const next = runtime.allocate(7 * MiB);
    expect(registered()).toEqual(blocks.slice(0, 2));
    const large = runtime.allocate(16 * MiB + 1);
    expect(registered()).toEqual([...blocks.slice(0, 2), large]);
    for (const block of [...blocks, next, large]) block.dispose();
    // What was disposed counts no more.
    const again = [6, 6, 4].map((size) => runtime.allocate(size * MiB));
    expect(registered()).toHaveLength(3);
    for (const block of again) block.dispose();
    runtime.close();
  });

  test.each([
    ['a cleanup', ({ slot }: ReturnType<typeof simulatedRuntime>['runtime']) => slot.signalMemoryCleanup()],
    [
      'an allocation without room',
      (runtime: ReturnType<typeof simulatedRuntime>['runtime']) =>
        void expect(() => runtime.allocate(2 ** 41)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY')),
    ],
    [
      'the timer',
      async () => {
        await expect.poll(() => registered().length).toBeGreaterThan(0);
      },
    ],
  ])('lets go of young handles at %s', async (_, happen) => {
    const { runtime } = simulatedRuntime();
    const block = runtime.allocate(100);
    await happen(runtime);
    expect(registered()).toEqual([block]);
    block.dispose();
    expect(unregister).toHaveBeenCalledExactlyOnceWith(block);
    runtime.close();
  });

  test('lets go of young handles before allocateAsync collects', async () => {
    const { runtime } = simulatedRuntime();
    const block = runtime.allocate(100);
    await expect(runtime.allocateAsync(2 ** 41)).rejects.toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
    expect(registered()).toEqual([block]);
    runtime.close();
  });

  test('forgets at close the handles whose blocks are gone', () => {
    const { runtime } = simulatedRuntime();
    const other = simulatedRuntime().runtime;
    const [block, kept] = [runtime.allocate(100), other.allocate(100)];
    runtime.close();
    expect(registered()).toEqual([kept]);
    for (let i = 0; i < 64; i++) other.allocate(1);
    block.dispose();
    const newest = other.allocate(1);
    newest.dispose();
    expect(other.slot.liveBlocks).toBe(65);
    other.close();
  });

  test('has a handle again whose free failed', () => {
    const { device, runtime } = simulatedRuntime();
    installed(new PlainManager(), runtime);
    const block = runtime.allocate(100);
    device.failWhen(() => new Error('the driver is busy'));
    expect(() => block.dispose()).toThrow('the driver is busy');
    letGo();
    expect(registered()).toEqual([block]);
    device.failWhen(undefined);
    block.dispose();
    expect(unregister).toHaveBeenCalledExactlyOnceWith(block);
    expect([block.disposed, device.liveBytes]).toEqual([true, 0]);
  });

  test('keeps its books when a native free comes back with as many allocations as there are places', () => {
    const { device, runtime } = simulatedRuntime();
    installed(new PlainManager(), runtime);
    const block = runtime.allocate(100);
    const more: Allocation[] = [];
    device.failWhen(({ name }) => {
      if (name === 'nativeFree' && more.length === 0) for (let i = 0; i < 130; i++) more.push(runtime.allocate(10 + i));
      return false;
    });
    block.dispose();
    block.dispose();
    expect(runtime.slot.liveBlocks).toBe(130);
    letGo();
    expect(registered()).toEqual(more);
    for (const one of more) one.dispose();
    expect([runtime.slot.liveBlocks, unregister.mock.calls.length]).toEqual([0, 130]);
  });

  test('forgets a handle whose block an arena has freed', () => {
    const { runtime } = simulatedRuntime();
    const arena = installed(new ArenaMemoryManager(1, new MemoryManagerDeviceInterface()), runtime);
    const block = runtime.allocate(100);
    arena.reset();
    const next = runtime.allocate(100);
    letGo();
    expect([block.disposed, next.disposed, registered()]).toEqual([true, false, [next]]);
    block.dispose();
    expect([next.disposed, runtime.slot.liveBlocks]).toEqual([false, 1]);
    runtime.close();
  });
});

describe('a handle in a process of its own', () => {
  const prelude = () => `
    import * as stowage from '${moduleUrl('src/index.js')}';
    import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
    const runtime = new stowage.MemoryRuntime(new CpuDevice(), { exitReport: false });
    const turns = async (isDone) => {
      for (let i = 0; i < 100 && !isDone(); i++) {
        gc();
        await new Promise((done) => setTimeout(done, 5));
      }
    };
    const leaks = [];
    runtime.events.on('leak', ({ bytes }) => leaks.push(bytes));
  `;
  const NODE_ARGUMENTS = ['--expose-gc', '--no-warnings'];

  test('is kept alive by its views, also when it was moved', () => {
    const { stdout, stderr } = runChild(
      `${prelude()}
        const views = [
          runtime.allocate(1000).view(Float32Array),
          runtime.allocate(2000).view(Uint8Array, 8, 16),
          (() => { const block = runtime.allocate(3000); const view = block.view(Int8Array); block.move(); return view; })(),
          (() => { const block = runtime.allocate(4000); block.view(Int16Array); const part = block.view(Int8Array, 2); block.share().move(); return part; })(),
        ];
        runtime.allocate(5000);
        views.forEach((view) => void view.fill(7));
        await turns(() => leaks.length > 0);
        for (let i = 0; i < 10; i++) { gc(); await new Promise((done) => setTimeout(done, 20)); }
        console.log(leaks.join(), runtime.slot.liveBlocks, views.every((view) => view.every((value) => value === 7)));
        while (views.length > 0) {
          const before = leaks.length;
          views.pop();
          await turns(() => leaks.length > before);
        }
        console.log(leaks.join(), runtime.slot.liveBlocks);
      `,
      { nodeArguments: NODE_ARGUMENTS },
    );
    expect({ stdout, stderr }).toEqual({ stdout: '5000 4 true\n5000,4000,3000,2000,1000 0\n', stderr: '' });
  });

  test('does not keep a runtime that was closed, nor the async context that it was made in, nor the process', () => {
    const { status, stdout, stderr } = runChild(
      `${prelude()}
        import { AsyncLocalStorage } from 'node:async_hooks';
        const storage = new AsyncLocalStorage();
        const made = (() => {
          const context = {};
          const closed = new stowage.MemoryRuntime(new CpuDevice(), { exitReport: false });
          storage.run(context, () => { closed.allocate(100); closed.allocate(1).dispose(); });
          closed.close();
          return [new WeakRef(context), new WeakRef(closed)];
        })();
        await new Promise((done) => setImmediate(done));
        gc();
        console.log(made.map((each) => each.deref() === undefined).join());
        setTimeout(() => console.log('too late'), 600_000).unref();
        runtime.allocate(100);
      `,
      { nodeArguments: NODE_ARGUMENTS },
    );
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'true,true\n', stderr: '' });
  });

  test('makes at most 120 B of garbage once V8 has compiled what it calls', () => {
    const { status, stdout, stderr } = runChild(
      `${prelude()}
        const live = Array.from({ length: 1000 }, (_, i) => runtime.allocate(1024 + (i % 7) * 512));
        function calls(pairs) {
          for (let i = 0; i < pairs; i++) runtime.allocate(1024).dispose();
        }
        const pairs = 50_000;
        let least = Infinity;
        for (let round = 0; round < 100 && least > 120; round++) {
          gc();
          const before = process.memoryUsage().heapUsed;
          calls(pairs);
          least = Math.min(least, (process.memoryUsage().heapUsed - before) / pairs);
          await new Promise((done) => setTimeout(done, 5));
        }
        console.log(least <= 120 ? 'little' : least + ' B a pair');
        for (const block of live) block.dispose();
      `,
      // Young objects are not collected while they are counted.
      { nodeArguments: [...NODE_ARGUMENTS, '--min-semi-space-size=64', '--max-semi-space-size=64'] },
    );
    expect([status, stderr, stdout.trim()]).toEqual([0, '', 'little']);
  });
});
