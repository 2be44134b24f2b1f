import { describe, expect, test } from 'vitest';
import { loadOpenCl, OpenClDevice } from '../../../adapters/devices/opencl/index.js';
import { type DevicePtr, devicePtr, MiB } from '../../../src/core/units.js';
import { memoryError } from '../../core/fakes.js';
import { bytesOf, openCl, threadedDevice, write } from '../../fixtures/opencl.js';
import { ProgramCalls } from '../../fixtures/opencl-calls.js';

const at = (ptr: DevicePtr, offset: number) => devicePtr(ptr + offset);
const settled = async (promise: Promise<unknown>): Promise<boolean> => {
  let done = false;
  void promise.then(() => {
    done = true;
  });
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setTimeout(resolve, 2));
  return done;
};

describe.skipIf(openCl.missing)(openCl.title('OpenClStreams'), () => {
  test('keeps the order of a stream, and that of an event, while work is held up', () => {
    const device = threadedDevice();
    const calls = new ProgramCalls(device);
    const ptr = device.nativeAlloc(4096);
    device.fill(ptr, 0, 4096);
    using one = device.createStream();
    using two = device.createStream();
    const open = calls.hold(device.queueOf(one.id));
    calls.add({ ptr }, 1024, { n: 1, queue: device.queueOf(one.id) });
    using added = one.record();
    two.wait(added);
    calls.add({ ptr }, 1024, { n: 2, queue: device.queueOf(two.id) });
    using last = two.record();
    expect([added.isDone, last.isDone]).toEqual([false, false]);
    expect(bytesOf(device, ptr, 4)).toEqual(new Uint8Array(4));
    open();
    last.synchronize();
    expect([added.isDone, last.isDone]).toEqual([true, true]);
    expect(bytesOf(device, ptr, 4)).toEqual(Uint8Array.of(3, 0, 0, 0));
    device.nativeFree(ptr);
  });

  test('lets streams run side by side', () => {
    const device = threadedDevice();
    using one = device.createStream();
    using two = device.createStream();
    const open = new ProgramCalls(device).hold(device.queueOf(one.id));
    using held = one.record();
    two.synchronize();
    expect(held.isDone).toBe(false);
    open();
    one.synchronize();
    expect(held.isDone).toBe(true);
  });

  test('refuses a stream that was closed, an event that was destroyed, and those of another device', () => {
    const device = new OpenClDevice();
    const stream = device.createStream();
    const { streams } = device;
    const event = streams.record(stream.id);
    device.activate(1);
    expect(() => streams.wait(0, event)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'event' }));
    using other = device.createStream();
    expect(() => other.wait(stream.record())).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'event' }));
    using stranger = new OpenClDevice().createStream();
    expect(() => other.wait(stranger.record())).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'event' }));
    streams.destroy(event);
    for (const use of [() => streams.query(event), () => streams.synchronize(event), () => streams.destroy(event)]) {
      expect(use).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'event', value: `${event}` }));
    }
    stream[Symbol.dispose]();
    for (const id of [stream.id, 99, -1, 0.5]) {
      expect(() => streams.record(id)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'stream', value: `${id}` }));
      expect(() => device.queueOf(id)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'stream' }));
    }
  });

  test('tells of work that failed', async () => {
    // PoCL ends the process when work fails, so the answer alone is changed.
    const functions = loadOpenCl();
    const device = threadedDevice({
      functions: {
        ...functions,
        clGetEventInfo: (event, what, room, value, bytes) => {
          const status = functions.clGetEventInfo(event, what, room, value, bytes);
          value[0] = -5;
          return status;
        },
      },
    });
    const error = memoryError('ERR_MEM_NATIVE', { functionName: 'work on a queue', statusName: 'CL_OUT_OF_RESOURCES' });
    const ptr = device.nativeAlloc(64);
    await expect(device.fillAsync(ptr, 1, 64)).rejects.toThrow(error);
    const event = device.streams.record(0);
    expect(() => device.streams.query(event)).toThrow(error);
    device.streams.destroy(event);
    device.nativeFree(ptr);
    device.dispose();
  });

  describe('copyAsync', () => {
    test('resolves when the copy is done, and not before', async () => {
      const device = threadedDevice();
      const [a, b] = [device.nativeAlloc(MiB), device.nativeAlloc(MiB)];
      device.fill(a, 1, MiB);
      device.fill(b, 2, MiB);
      using stream = device.createStream();
      const open = new ProgramCalls(device).hold(device.queueOf(stream.id));
      const copied = device.copyAsync(b, a, MiB - 1, stream.id);
      expect(await settled(copied)).toBe(false);
      expect(bytesOf(device, b, 1)).toEqual(Uint8Array.of(2));
      open();
      await copied;
      expect(Buffer.compare(bytesOf(device, b, MiB), new Uint8Array(MiB).fill(1).fill(2, MiB - 1))).toBe(0);
      device.nativeFree(a);
      device.nativeFree(b);
    });

    test('goes in all four directions, in the order of its stream', async () => {
      const device = threadedDevice();
      const ptrs = [device.nativeAlloc(1000), device.nativeAlloc(1000)] as const;
      const pinned = [device.pinnedAlloc(1000), device.pinnedAlloc(1000)] as const;
      using stream = device.createStream();
      device.view(pinned[0], 1000).forEach((_, i, bytes) => {
        bytes[i] = i % 251;
      });
      await Promise.all([
        device.copyAsync(ptrs[0], pinned[0], 1000, stream.id),
        device.copyAsync(at(ptrs[1], 10), ptrs[0], 900, stream.id),
        device.copyAsync(at(pinned[1], 10), at(ptrs[1], 10), 900, stream.id),
        device.copyAsync(pinned[1], pinned[0], 10, stream.id),
      ]);
      expect(device.view(pinned[1], 910)).toEqual(Uint8Array.from({ length: 910 }, (_, i) => (i < 10 ? i : (i - 10) % 251)));
      for (const ptr of ptrs) device.nativeFree(ptr);
      for (const ptr of pinned) device.pinnedFree(ptr);
    });

    test('rejects where copy throws, for ranges that overlap, and for a stream of another device', async () => {
      const device = new OpenClDevice();
      const ptr = device.nativeAlloc(64);
      using stream = device.createStream();
      device.activate(1);
      const other = device.nativeAlloc(64);
      using otherStream = device.createStream();
      const rejects = (promise: Promise<void>, code: Parameters<typeof memoryError>[0], facts?: object) =>
        expect(promise).rejects.toThrow(memoryError(code, facts as never));
      await rejects(device.copyAsync(ptr, other, 1), 'ERR_MEM_INVALID_ARGUMENT', { name: 'source' });
      await rejects(device.copyAsync(at(ptr, 1), ptr, 8), 'ERR_MEM_INVALID_ARGUMENT', { name: 'target' });
      await rejects(device.copyAsync(at(ptr, 32), ptr, 8, otherStream.id), 'ERR_MEM_INVALID_ARGUMENT', { name: 'stream' });
      await rejects(device.fillAsync(other, 1, 8, stream.id), 'ERR_MEM_INVALID_ARGUMENT', { name: 'stream' });
      await rejects(device.fillAsync(other, 256, 8), 'ERR_MEM_INVALID_ARGUMENT', { name: 'value' });
      await rejects(device.fillAsync(device.pinnedAlloc(64), 1, 8), 'ERR_MEM_UNSUPPORTED_PLATFORM');
      await rejects(device.copyAsync(ptr, at(ptr, 60), 5), 'ERR_MEM_OUT_OF_RANGE');
      await rejects(device.copyAsync(ptr, ptr, -1), 'ERR_MEM_INVALID_SIZE');
      await device.copyAsync(ptr, other, 0);
      device.nativeFree(ptr);
      device.nativeFree(other);
    });

    test('is waited for when its memory is freed', async () => {
      const device = threadedDevice();
      const [ptr, pinned] = [device.nativeAlloc(8 * MiB), device.pinnedAlloc(8 * MiB)];
      write(device, ptr, new Uint8Array(8 * MiB).fill(5));
      using stream = device.createStream();
      const copied = device.copyAsync(pinned, ptr, 8 * MiB, stream.id);
      device.nativeFree(ptr);
      expect(device.view(at(pinned, 8 * MiB - 1), 1)).toEqual(Uint8Array.of(5));
      await copied;
      device.pinnedFree(pinned);
    });
  });
});
