import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { GpuDevice } from '../../../adapters/devices/gpu/gpu-device.js';
import { SimulatedDevice } from '../../../adapters/devices/simulated.js';
import { CachingMemoryManager, PoolMemoryManager, TlsfMemoryManager } from '../../../managers/index.js';
import type { ManagerFactory } from '../../../src/core/memory-host.js';
import { type DevicePtr, KiB, MiB } from '../../../src/core/units.js';
import type { Allocation } from '../../../src/runtime/allocation.js';
import { MemoryRuntime } from '../../../src/runtime/memory-runtime.js';
import { memoryError } from '../../core/fakes.js';
import { codeOf } from '../../fixtures/code-of.js';
import { GpuFixture, takeAgain } from '../../fixtures/gpu-fixture.js';

const fixture = new GpuFixture('cuda');
const INVALIDATED = 901;

function runtimeOver(device: GpuDevice): MemoryRuntime {
  return new MemoryRuntime(device, {
    exitReport: false,
    createDefaultManager: (count, table) => new CachingMemoryManager(count, table),
  });
}

describe.each(['cuda', 'hip'] as const)('capture of a %s device', (kind) => {
  const own = kind === 'cuda' ? fixture : new GpuFixture('hip');

  test('does the work at each launch, and not before', async () => {
    const device = own.fresh();
    const [a, b, c] = [1, 2, 3].map(() => device.nativeAlloc(4096)) as [DevicePtr, DevicePtr, DevicePtr];
    for (const [i, ptr] of [a, b, c].entries()) device.fill(ptr, i + 1, 4096);
    using stream = device.createStream();
    const captured: Promise<void>[] = [];
    const graph = device.capture(stream, () => {
      captured.push(device.copyAsync(b, a, 4096, stream.id), device.fillAsync(c, 9, 64, stream.id));
    });
    await Promise.all(captured);
    stream.synchronize();
    expect([own.peek(b, 1)[0], own.peek(c, 1)[0]]).toEqual([2, 3]);
    device.fill(a, 7, 4096);
    graph.launch(stream);
    expect(own.peek(b, 1)[0]).toBe(2);
    stream.synchronize();
    expect([own.peek(b, 1)[0], own.peek(c, 1)[0]]).toEqual([7, 9]);
    device.fill(a, 8, 4096);
    using other = device.createStream();
    graph.launch(other.id);
    other.synchronize();
    expect(own.peek(b, 1)[0]).toBe(8);
    expect(graph.handle).toBeGreaterThan(0);
    graph.dispose();
    graph[Symbol.dispose]();
    for (const use of [() => graph.launch(stream), () => graph.handle]) {
      expect(use).toThrow(memoryError('ERR_MEM_DISPOSED', { what: 'graph' }));
    }
    expect([own.liveGraphs, own.liveEvents, own.lastError]).toEqual([0, 0, 0]);
  });
});

describe('capture of a CudaDevice', () => {
  test('waits for the work of a graph before it destroys it', () => {
    const device = fixture.fresh({ delay: 50 });
    const ptr = device.nativeAlloc(64);
    using stream = device.createStream();
    const graph = device.capture(stream, () => void device.fillAsync(ptr, 5, 64, stream.id));
    graph.launch(stream);
    graph.dispose();
    expect([fixture.peek(ptr, 1)[0], fixture.pending]).toEqual([5, 0]);
  });

  test('takes streams in that wait for the captured one, and are waited for', async () => {
    const device = fixture.fresh();
    const ptrs = [device.nativeAlloc(64), device.nativeAlloc(64)] as const;
    using one = device.createStream();
    using two = device.createStream();
    const graph = device.capture(one, () => {
      void device.fillAsync(ptrs[0], 1, 64, one.id);
      using forked = one.record();
      two.wait(forked);
      void device.copyAsync(ptrs[1], ptrs[0], 64, two.id);
      using joined = two.record();
      expect(forked.isDone).toBe(false);
      expect(() => joined.synchronize()).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'event' }));
      one.wait(joined);
    });
    // Both are ordinary streams again.
    await device.fillAsync(ptrs[1], 3, 64, two.id);
    graph.launch(one);
    one.synchronize();
    expect(fixture.peek(ptrs[1], 1)).toEqual(Uint8Array.of(1));
    graph.dispose();
    expect([fixture.liveGraphs, fixture.liveEvents]).toEqual([0, 0]);
  });

  test('lets an event that outlives the capture stand for the work of its stream since', async () => {
    const device = fixture.fresh({ delay: 3 });
    const ptr = device.nativeAlloc(64);
    const stream = device.createStream();
    const events: ReturnType<typeof stream.record>[] = [];
    using graph = device.capture(stream, () => {
      events.push(stream.record(), stream.record(), stream.record());
    });
    const work = device.fillAsync(ptr, 4, 64, stream.id);
    expect(events[0]!.isDone).toBe(false);
    events[1]!.synchronize();
    expect([events[0]!.isDone, fixture.peek(ptr, 1)[0]]).toEqual([true, 4]);
    await work;
    stream.dispose();
    events[2]!.synchronize();
    expect(events[2]!.isDone).toBe(true);
    for (const event of events) event.dispose();
    graph.launch(0);
    expect(fixture.lastError).toBe(0);
  });

  test('refuses a default stream, a promise, streams of another device, and a capture in a capture', () => {
    const device = fixture.fresh();
    using stream = device.createStream();
    const refused = memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'stream' });
    expect(() => device.capture(0, () => {})).toThrow(refused);
    expect(() => device.capture(1e6, () => {})).toThrow(refused);
    expect(() => device.capture(stream, (async () => {}) as () => void)).toThrow(
      memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'fn' }),
    );
    expect(codeOf(() => device.capture(stream, () => void device.capture(stream, () => {})))).toBe('ERR_MEM_NATIVE');
    using graph = device.capture(stream, () => {});
    device.activate(1);
    using far = device.createStream();
    expect(() => graph.launch(far)).toThrow(refused);
    expect(codeOf(() => new SimulatedDevice().capture(0, () => {}))).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
  });

  test('ends what fails: by the program, by what cannot be captured, and by a stream that was not waited for', async () => {
    const device = fixture.fresh();
    const ptr = device.nativeAlloc(64);
    using stream = device.createStream();
    using two = device.createStream();
    const failing: [() => void, unknown][] = [
      [
        () => {
          throw new RangeError('by the program');
        },
        new RangeError('by the program'),
      ],
      [() => device.synchronize(), memoryError('ERR_MEM_NATIVE', { functionName: 'cudaDeviceSynchronize', status: 900 })],
      [() => expect(() => device.synchronize()).toThrow(), memoryError('ERR_MEM_NATIVE', { status: INVALIDATED })],
      [
        () => {
          using forked = stream.record();
          two.wait(forked);
          void device.fillAsync(ptr, 1, 64, two.id);
        },
        memoryError('ERR_MEM_NATIVE', { functionName: 'cudaStreamEndCapture', status: 904 }),
      ],
    ];
    for (const [work, error] of failing) {
      expect(() => device.capture(stream, work)).toThrow(error as Error);
      await device.fillAsync(ptr, 2, 64, stream.id);
      await device.fillAsync(ptr, 3, 64, two.id);
      expect([fixture.peek(ptr, 1)[0], fixture.liveGraphs, fixture.lastError]).toEqual([3, 0, 0]);
    }
  });

  test('loses nothing to any n-th native call that fails', () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    onTestFinished(() => void vi.restoreAllMocks());
    let n = 1;
    for (; ; n++) {
      const device = fixture.fresh();
      const ptr = device.nativeAlloc(64);
      using stream = device.createStream();
      const calls = fixture.calls;
      fixture.failNth(n, 999);
      const work: Promise<void>[] = [];
      const capture = () => device.capture(stream, () => work.push(device.fillAsync(ptr, 6, 64, stream.id)) && undefined);
      const graph = takeAgain(capture);
      void Promise.allSettled(work);
      takeAgain(() => graph.launch(stream));
      takeAgain(() => device.synchronize());
      takeAgain(() => graph.dispose());
      // What was refused then is given back now.
      takeAgain(() => device.nativeFree(takeAgain(() => device.nativeAlloc(64))));
      expect([n, fixture.liveGraphs, fixture.liveEvents]).toEqual([n, 0, 0]);
      const made = fixture.calls - calls;
      fixture.failNth(0, 0);
      if (made < n) break;
    }
    expect(n).toBeGreaterThan(15);
  });
});

const MANAGERS: readonly [string, ManagerFactory][] = [
  ['caching', (count, table) => new CachingMemoryManager(count, table)],
  ['tlsf', (count, table) => new TlsfMemoryManager(count, table)],
  ['pool', (count, table) => new PoolMemoryManager(count, table)],
];

describe('MemoryRuntime over a CudaDevice', () => {
  describe('capture', () => {
    test.each(MANAGERS)('keeps the blocks of the captured work the graph’s own, under %s', async (_, create) => {
      const device = fixture.fresh({ pageBytes: 64 * KiB });
      const runtime = runtimeOver(device);
      using stream = device.createStream();
      using input = runtime.allocate(64 * KiB);
      const made: Allocation[] = [];
      const graph = runtime.capture(
        stream,
        () => {
          const between = runtime.allocate(64 * KiB);
          void device.copyAsync(between.ptr, input.ptr, 64 * KiB, stream.id);
          const output = runtime.allocate(64 * KiB);
          void device.copyAsync(output.ptr, between.ptr, 64 * KiB, stream.id);
          made.push(output);
          const { ptr } = between;
          between.dispose();
          // The stream may have it again at once: its work runs in order.
          using again = runtime.allocate(64 * KiB);
          expect(again.ptr).toBe(ptr);
          void device.fillAsync(again.ptr, 1, 64 * KiB, stream.id);
          // So large that it has a segment of its own, which goes back at a cleanup.
          using large = runtime.allocate(40 * MiB);
          void device.fillAsync(large.ptr, 1, 40 * MiB, stream.id);
        },
        create,
      );
      const [output] = made as [Allocation];
      expect(graph.manager.stats(0)!.allocatedBytes.current).toBe(64 * KiB);
      // Nobody else gets what was freed while it was captured.
      const others = Array.from({ length: 40 }, () => runtime.allocate(64 * KiB));
      for (const other of others) other.fill(255);
      for (const value of [3, 4]) {
        input.fill(value);
        graph.launch(stream);
        stream.synchronize();
        expect(fixture.peek(output.ptr, 64 * KiB).every((byte) => byte === value)).toBe(true);
      }
      for (const other of others) {
        expect(fixture.peek(other.ptr, 64 * KiB).every((byte) => byte === 255)).toBe(true);
        other.dispose();
      }
      runtime.slot.signalMemoryCleanup();
      graph.manager.signalMemoryCleanup();
      expect(fixture.used(0)).toBeGreaterThan(40 * MiB);
      graph.launch(stream);
      stream.synchronize();
      graph.dispose();
      expect(fixture.used(0)).toBeLessThan(40 * MiB);
      graph[Symbol.dispose]();
      expect(() => graph.launch(stream)).toThrow(memoryError('ERR_MEM_DISPOSED', { what: 'graph' }));
      // The block that is live still has its memory.
      device.fill(output.ptr, 5, 64 * KiB);
      output.dispose();
      input.dispose();
      runtime.slot.signalMemoryCleanup();
      expect([fixture.used(0), fixture.liveGraphs, fixture.liveEvents]).toEqual([0, 0, 0]);
      runtime.close();
    });

    test('reuses a block in the capture on the same stream, and gives it to no other', () => {
      const device = fixture.fresh();
      using runtime = runtimeOver(device);
      using one = device.createStream();
      using two = device.createStream();
      using graph = runtime.capture(one, () => {
        const first = runtime.allocate(MiB);
        const { ptr } = first;
        first.dispose();
        using same = runtime.allocate(MiB);
        expect(same.ptr).toBe(ptr);
        same.dispose();
        using forked = one.record();
        two.wait(forked);
        using other = runtime.allocate(MiB, { stream: two });
        expect(other.ptr).not.toBe(ptr);
        using joined = two.record();
        one.wait(joined);
      });
      graph.launch(one);
      one.synchronize();
      expect(fixture.lastError).toBe(0);
    });

    test('leaves nothing when the work fails', () => {
      const device = fixture.fresh();
      using runtime = runtimeOver(device);
      using stream = device.createStream();
      const work = () => {
        runtime.allocate(MiB).dispose();
        runtime.allocate(1024 * MiB);
      };
      expect(() => runtime.capture(stream, work)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY'));
      expect([fixture.used(0), fixture.liveGraphs]).toEqual([0, 0]);
      using block = runtime.allocate(MiB, { stream });
      expect(block.bytes).toBe(MiB);
    });

    test('cannot be launched when the runtime was closed', () => {
      const device = fixture.fresh();
      const runtime = runtimeOver(device);
      using stream = device.createStream();
      const graph = runtime.capture(stream, () => void runtime.allocate(MiB));
      runtime.close();
      expect(codeOf(() => graph.launch(stream))).toBe('ERR_MEM_DISPOSED');
      graph.dispose();
      expect([fixture.used(0), fixture.liveGraphs]).toEqual([0, 0]);
    });
  });
});
