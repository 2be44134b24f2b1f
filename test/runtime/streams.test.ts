import { afterEach, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { type Allocation, type DeviceStream, MemoryError, MemoryRuntime, MiB } from '../../src/index.js';
import { memoryError } from '../core/fakes.js';

const open: MemoryRuntime[] = [];

function setUp() {
  const device = new SimulatedDevice({ capacityBytes: 64 * MiB, streams: true });
  const runtime = new MemoryRuntime(device, { exitReport: false });
  open.push(runtime);
  const stream = device.createStream();
  const other = device.createStream();
  return { device, runtime, stream, other };
}

afterEach(() => {
  for (const runtime of open.splice(0)) runtime.close();
});

/** What takes a stream. */
const usesOf = (stream: DeviceStream, runtime: MemoryRuntime, block: Allocation) => [
  () => runtime.withStream(stream, () => 1),
  () => runtime.allocate(100, { stream }),
  () => block.recordStream(stream),
];

describe('MemoryRuntime', () => {
  describe('withStream', () => {
    test('allocates for the stream: a block that was freed comes back to it at once, to another after its work', () => {
      const { device, runtime, stream, other } = setUp();
      const ptr = runtime.withStream(stream, () => {
        using block = runtime.allocate(1 * MiB);
        device.streams!.submit(stream.id, () => {});
        return block.ptr;
      });
      const elsewhere = runtime.withStream(other, () => runtime.allocate(1 * MiB));
      expect(elsewhere.ptr).not.toBe(ptr);
      const again = runtime.withStream(stream, () => runtime.allocate(1 * MiB));
      expect(again.ptr).toBe(ptr);
    });

    test.each<[string, (runtime: MemoryRuntime, stream: DeviceStream) => Allocation]>([
      ['an object', (runtime, stream) => runtime.withStream(stream, () => runtime.allocate(1 * MiB))],
      ['an id', (runtime, stream) => runtime.withStream(stream.id, () => runtime.allocate(1 * MiB))],
      ['the option', (runtime, stream) => runtime.allocate(1 * MiB, { stream })],
      ['the option, as an id', (runtime, stream) => runtime.allocate(1 * MiB, { stream: stream.id })],
    ])('takes the stream as %s', (_, allocate) => {
      const { device, runtime, stream, other } = setUp();
      const block = allocate(runtime, stream);
      const { ptr } = block;
      device.streams!.submit(stream.id, () => {});
      block.dispose();
      expect(runtime.allocate(1 * MiB, { stream: other }).ptr).not.toBe(ptr);
      expect(allocate(runtime, stream).ptr).toBe(ptr);
    });

    test.each([
      ['a pointer', 5n],
      ['a name', '1'],
      ['an object without an id', {}],
      ['nothing', null],
    ])('refuses %s for a stream, as allocate and recordStream do, and does not take the default one', (_, given) => {
      const { runtime } = setUp();
      const stream = given as unknown as DeviceStream;
      const block = runtime.allocate(100);
      for (const call of usesOf(stream, runtime, block))
        expect(call).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'stream' }));
      expect(runtime.slot.liveBlocks).toBe(1);
    });

    test('refuses a stream that was closed, as allocate and recordStream do', () => {
      const { runtime, stream } = setUp();
      const block = runtime.allocate(100);
      stream.dispose();
      for (const call of usesOf(stream, runtime, block))
        expect(call).toThrow(memoryError('ERR_MEM_DISPOSED', { what: 'stream' }));
      expect(runtime.slot.liveBlocks).toBe(1);
    });

    test('ends with fn, also when that throws, and nests', () => {
      const { runtime, stream, other } = setUp();
      const first = runtime.withStream(stream, () => {
        runtime.withStream(other, () => runtime.allocate(100));
        return runtime.allocate(1 * MiB);
      });
      const { ptr } = first;
      first.dispose();
      expect(() =>
        runtime.withStream(stream, () => {
          throw new Error('left');
        }),
      ).toThrow('left');
      expect(runtime.withStream(stream, () => runtime.allocate(1 * MiB)).ptr).toBe(ptr);
    });

    test('gives what a closed stream has freed to every stream: closing waits for its work', () => {
      const { device, runtime, stream, other } = setUp();
      const block = runtime.withStream(stream, () => runtime.allocate(12 * MiB));
      const { ptr } = block;
      block.dispose();
      const record = device.streams!.record.bind(device.streams);
      device.streams!.record = (id) => {
        if (id === stream.id)
          throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'stream', value: `${id}`, expected: 'an open one' });
        return record.call(device.streams, id);
      };
      expect(runtime.withStream(other, () => runtime.allocate(12 * MiB)).ptr).toBe(ptr);
    });

    test('follows the awaits of an asynchronous fn, and the second try of allocateAsync', async () => {
      const { device, runtime, stream } = setUp();
      const told: number[] = [];
      const tell = (at: number) => void told.push(at);
      const observer = { free() {}, nativeAlloc() {}, nativeFree() {}, swap() {}, cleanup() {} };
      runtime.slot.observe({
        ...observer,
        alloc: (_manager, _ptr, _bytes, _device, at) => tell(at),
        outOfMemory: (_manager, _bytes, _device, at) => tell(at),
      });
      const work = runtime.withStream(stream, async () => {
        await null;
        runtime.allocate(100);
      });
      runtime.allocate(100);
      await work;
      expect(told.splice(0)).toEqual([0, stream.id]);
      const hog = runtime.allocate(device.getMaxMemorySize(0) - 4 * MiB);
      const late = runtime.withStream(stream, () => runtime.allocateAsync(6 * MiB));
      setImmediate(() => hog.dispose());
      await late;
      expect(told).toEqual([0, stream.id, stream.id]);
    });

    test('refuses what is no stream, or none of the device, and changes nothing', () => {
      const { device, runtime, stream } = setUp();
      runtime.allocate(100).dispose();
      const before = runtime.stats();
      expect(() => runtime.allocate(100, { stream: -1 })).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
      const record = device.streams!.record.bind(device.streams);
      device.streams!.record = (id) => {
        if (id !== stream.id) return record(id);
        throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'stream', value: String(id), expected: 'one of this device' });
      };
      expect(() => runtime.withStream(stream, () => runtime.allocate(100))).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
      expect(runtime.stats()).toEqual(before);
    });

    test('leaves pinned memory alone, which has no streams', () => {
      const { runtime, stream } = setUp();
      expect(runtime.withStream(stream, () => runtime.allocate(100, { pinned: true })).bytes).toBe(100);
    });
  });
});

describe('BlockHandle', () => {
  describe('recordStream', () => {
    test('keeps a freed block until that stream is done, too', () => {
      const { device, runtime, stream } = setUp();
      const block = runtime.allocate(1 * MiB);
      const { ptr } = block;
      block.recordStream(stream);
      device.streams!.submit(stream.id, () => {});
      block.dispose();
      expect(runtime.allocate(1 * MiB).ptr).not.toBe(ptr);
      device.synchronize();
      runtime.slot.signalMemoryCleanup();
      expect(runtime.stats()?.activeBytes.current).toBe(1 * MiB);
    });

    test('refuses a handle that was disposed', () => {
      const { runtime, stream } = setUp();
      const block = runtime.allocate(100);
      block.dispose();
      expect(() => block.recordStream(stream.id)).toThrow(memoryError('ERR_MEM_DISPOSED'));
    });
  });
});
