import fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { CpuDevice } from '../../../adapters/devices/cpu.js';
import { CudaDevice } from '../../../adapters/devices/cuda.js';
import type { GpuDevice } from '../../../adapters/devices/gpu/gpu-device.js';
import { HipDevice } from '../../../adapters/devices/hip.js';
import { type DevicePtr, KiB, MiB, NULL_PTR } from '../../../src/core/units.js';
import { memoryError } from '../../core/fakes.js';
import { codeOf } from '../../fixtures/code-of.js';
import { GpuFixture } from '../../fixtures/gpu-fixture.js';

const ILLEGAL_ADDRESS = 700;
const fixture = new GpuFixture('cuda');
const cpu = new CpuDevice();
let device: GpuDevice = fixture.fresh();

beforeEach(() => {
  device = fixture.fresh();
});

afterAll(() => {
  vi.restoreAllMocks();
});

/** Device memory with this content. */
function filled(value: number, bytes: number): DevicePtr {
  const ptr = device.nativeAlloc(bytes);
  device.fill(ptr, value, bytes);
  return ptr;
}

function at(ptr: DevicePtr, offset: number): DevicePtr {
  return (ptr + offset) as DevicePtr;
}

describe('CudaDevice', () => {
  describe('deviceCount', () => {
    test.each([
      [35, 'cudaErrorInsufficientDriver (35): driver version is insufficient for runtime version'],
      [100, 'cudaErrorNoDevice (100): no device is detected'],
    ])('is absent with the reason for status %i, in every use, until that changes', (status, reason) => {
      fixture.beAbsent(status);
      const absent = memoryError('ERR_MEM_DEVICE_ABSENT', { device: 'cuda', reason });
      const uses: (() => unknown)[] = [
        () => device.deviceCount,
        () => device.virtual,
        () => device.streams,
        () => device.activate(0),
        () => device.getMaxMemorySize(0),
        () => device.nativeAlloc(64),
        () => device.pinnedAlloc(64),
        () => device.managedAlloc(64),
        () => device.createStream(),
        () => device.synchronize(),
      ];
      for (const use of uses) expect(use).toThrow(absent);
      fixture.beAbsent(0);
      expect(device.deviceCount).toBe(2);
    });

    test('names every library that was looked for', () => {
      const missing = new CudaDevice({ library: '/nowhere/libcudart.so' });
      expect(() => missing.deviceCount).toThrow(/^cuda is absent: \/nowhere\/libcudart\.so: /);
      expect(() => new CudaDevice({ library: '' })).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'library' }));
    });

    test('is absent where the library is another one', () => {
      expect(() => new HipDevice({ library: fixture.library }).deviceCount).toThrow(/^hip is absent: .*hipGetErrorName/);
    });
  });

  describe('activate', () => {
    test('sends allocations to the device, and other calls leave the thread on it', () => {
      const onZero = filled(1, 4096);
      device.activate(1);
      expect(fixture.currentDevice).toBe(1);
      const onOne = filled(2, 8192);
      expect([fixture.used(0), fixture.used(1)]).toEqual([4096, 8192]);
      device.fill(onZero, 3, 4096);
      expect(fixture.currentDevice).toBe(1);
      device.copy(onZero, onOne, 4096);
      expect(fixture.peek(onZero, 1)).toEqual(Uint8Array.of(2));
      device.nativeFree(onZero);
      expect(fixture.currentDevice).toBe(1);
      expect(device.memoryInfo(0)).toEqual({ freeBytes: 256 * MiB, totalBytes: 256 * MiB });
      expect(device.memoryInfo(1).freeBytes).toBe(256 * MiB - 8192);
      expect(fixture.currentDevice).toBe(1);
    });

    test('leaves the active device when the runtime refuses', () => {
      device.nativeFree(device.nativeAlloc(64));
      fixture.fail('SetDevice', 46);
      expect(codeOf(() => device.activate(1))).toBe('ERR_MEM_NATIVE');
      expect(device.activeDeviceId).toBe(0);
    });

    test('knows names and versions', () => {
      expect(device.deviceName(1)).toBe('a fixture on the CPU');
      expect(codeOf(() => device.deviceName(2))).toBe('ERR_MEM_INVALID_DEVICE');
      expect(device.versions()).toEqual({ runtime: 13000, driver: 13000 });
    });
  });

  describe('nativeAlloc', () => {
    test('answers 0 above the capacity, and leaves no error behind', () => {
      expect(device.nativeAlloc(256 * MiB + 1)).toBe(NULL_PTR);
      expect(fixture.lastError).toBe(0);
      expect(device.liveBytes).toBe(0);
    });

    test('throws any other status with its name and text, and leaves no error behind', () => {
      device.nativeFree(device.nativeAlloc(64));
      fixture.fail('Malloc', ILLEGAL_ADDRESS);
      expect(() => device.nativeAlloc(64)).toThrow(
        expect.objectContaining({
          code: 'ERR_MEM_NATIVE',
          message: 'cudaMalloc failed: cudaErrorIllegalAddress (700): an illegal memory access was encountered',
        }),
      );
      expect(fixture.lastError).toBe(0);
    });

    test('asks for no more than the alignment needs', () => {
      const plain = device.nativeAlloc(1000);
      expect(fixture.used(0)).toBe(1024);
      const aligned = device.nativeAlloc(1000, 4096);
      expect(aligned % 4096).toBe(0);
      expect(fixture.used(0)).toBe(1024 + 5120);
      for (const ptr of [plain, aligned]) device.nativeFree(ptr);
      expect(fixture.used(0)).toBe(0);
    });
  });

  describe('nativeFree', () => {
    test('frees once; a failure leaves the segment', () => {
      const ptr = filled(1, 4096);
      fixture.fail('Free', ILLEGAL_ADDRESS);
      expect(codeOf(() => device.nativeFree(ptr))).toBe('ERR_MEM_NATIVE');
      expect(device.liveBytes).toBe(4096);
      device.nativeFree(ptr);
      const { calls } = fixture;
      expect(codeOf(() => device.nativeFree(ptr))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(fixture.calls).toBe(calls);
    });

    test('waits for work that uses the memory', async () => {
      const [a, b] = [filled(1, 4096), filled(2, 4096)];
      const copied = device.copyAsync(b, a, 4096, device.createStream().id);
      device.nativeFree(a);
      expect(fixture.peek(b, 1)).toEqual(Uint8Array.of(1));
      await copied;
    });
  });

  describe('copy', () => {
    test('tells the direction from the pointers, and is done when it returns', () => {
      const [pinned, own] = [device.pinnedAlloc(4096), cpu.nativeAlloc(4096)];
      const [a, b] = [filled(1, 4096), filled(2, 4096)];
      device.fill(pinned, 3, 4096);
      device.copy(a, pinned, 4096);
      expect(fixture.peek(a, 4096).every((byte) => byte === 3)).toBe(true);
      device.copy(b, a, 4096);
      expect(fixture.peek(b, 4096).every((byte) => byte === 3)).toBe(true);
      device.copy(own, b, 4096);
      expect(cpu.view(own, 4096).every((byte) => byte === 3)).toBe(true);
      cpu.fill(own, 4, 4096);
      device.copy(pinned, own, 4096);
      expect(device.view(pinned, 4096).every((byte) => byte === 4)).toBe(true);
      device.copy(b, own, 4096);
      expect(fixture.peek(b, 4096).every((byte) => byte === 4)).toBe(true);
      expect(fixture.pending).toBe(0);
      cpu.nativeFree(own);
    });

    test('refuses two places that it does not know, and ranges that touch a segment in part', () => {
      const own = cpu.nativeAlloc(4096);
      const ptr = filled(1, 4096);
      const { calls } = fixture;
      expect(codeOf(() => device.copy(own, at(own, 2048), 8))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => device.copy(own, at(ptr, 4090), 8))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => device.copy(own, at(ptr, -4), 8))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => device.copy(own, -1 as DevicePtr, 8))).toBe('ERR_MEM_INVALID_POINTER');
      expect(fixture.calls).toBe(calls);
      cpu.nativeFree(own);
    });

    // More than the scratch memory of 4 MiB holds, and with none left.
    test.each([256 * MiB, 10 * MiB])('moves ranges that overlap, on a card of %i bytes', (capacityBytes) => {
      device = fixture.fresh({ capacityBytes });
      const bytes = 9 * MiB;
      const pinned = device.pinnedAlloc(bytes);
      const ptr = device.nativeAlloc(bytes);
      const view = device.view(pinned, bytes);
      for (const [target, source] of [
        [MiB, 0],
        [0, MiB],
        [MiB + 1, MiB],
        [MiB, MiB],
      ] as const) {
        const step = capacityBytes > 10 * MiB || Math.abs(target - source) !== 1 ? 7 * MiB : 300;
        for (let i = 0; i < view.length; i += 997) view[i] = i % 251;
        const wanted = view.slice().copyWithin(target, source, source + step);
        device.copy(ptr, pinned, bytes);
        device.copy(at(ptr, target), at(ptr, source), step);
        expect(Buffer.compare(fixture.peek(ptr, bytes), wanted)).toBe(0);
      }
      device.nativeFree(ptr);
      expect(fixture.used(0)).toBe(0);
    });
  });

  describe('fill', () => {
    test('is done when it returns', () => {
      const ptr = device.nativeAlloc(4096);
      device.fill(ptr, 9, 4096);
      expect(fixture.peek(ptr, 4096).every((byte) => byte === 9)).toBe(true);
    });

    test('refuses memory of the caller', () => {
      const own = cpu.nativeAlloc(4096);
      expect(codeOf(() => device.fill(own, 0, 64))).toBe('ERR_MEM_UNKNOWN_POINTER');
      cpu.nativeFree(own);
    });
  });

  describe('copyAsync', () => {
    test('is not done when it returns, and resolves when it is', async () => {
      const [a, b] = [filled(1, 4096), filled(2, 4096)];
      let isDone = false;
      const copied = device.copyAsync(b, a, 4096, device.createStream().id).then(() => {
        isDone = true;
      });
      expect(fixture.peek(b, 1)).toEqual(Uint8Array.of(2));
      await Promise.resolve();
      expect(isDone).toBe(false);
      await copied;
      expect(fixture.peek(b, 4096).every((byte) => byte === 1)).toBe(true);
      expect(fixture.liveEvents).toBe(0);
      expect(fixture.lastError).toBe(0);
    });

    test('resolves after long work too, and a short one before it', async () => {
      device = fixture.fresh({ delay: 100 });
      const [a, b] = [filled(1, 4096), filled(2, 4096)];
      const [long, short] = [device.createStream(), device.createStream()];
      const order: string[] = [];
      const works = Array.from({ length: 8 }, () => device.fillAsync(a, 3, 64, long.id));
      const all = Promise.all(works).then(() => order.push('long'));
      const one = device.fillAsync(b, 4, 64, short.id).then(() => order.push('short'));
      await Promise.all([all, one]);
      expect(order).toEqual(['short', 'long']);
    });

    test('goes by the default stream of the memory, whichever device is active', async () => {
      const [a, b] = [filled(1, 4096), filled(2, 4096)];
      device.activate(1);
      await device.copyAsync(b, a, 4096);
      expect(fixture.peek(b, 1)).toEqual(Uint8Array.of(1));
      expect(fixture.currentDevice).toBe(1);
    });

    test('refuses a stream of another device, of another CudaDevice, and one that is closed, and enqueues nothing', async () => {
      const [a, b] = [filled(1, 4096), filled(2, 4096)];
      const foreign = fixture.device().createStream();
      const closed = device.createStream();
      closed[Symbol.dispose]();
      device.activate(1);
      const other = device.createStream();
      const before = [fixture.liveEvents, fixture.pending];
      for (const stream of [other.id, foreign.id, closed.id, 1_000_000, 0.5, Number.NaN]) {
        const error = memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'stream' });
        await expect(device.copyAsync(b, a, 64, stream), `${stream}`).rejects.toThrow(error);
        await expect(device.fillAsync(b, 0, 64, stream), `${stream}`).rejects.toThrow(error);
      }
      expect(() => device.streams.record(foreign.id)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
      expect([fixture.liveEvents, fixture.pending]).toEqual(before);
      // Between two devices either one's stream will do.
      await device.copyAsync(device.nativeAlloc(64), a, 64, other.id);
    });

    test('stages memory that is not pinned, and writes it before it returns', async () => {
      const [own, ptr] = [cpu.nativeAlloc(4096), filled(1, 4096)];
      const stream = device.createStream();
      cpu.fill(own, 5, 4096);
      const up = device.copyAsync(ptr, own, 4096, stream.id);
      cpu.fill(own, 6, 4096);
      const down = device.copyAsync(own, ptr, 4096, stream.id);
      expect(cpu.view(own, 1)).toEqual(Uint8Array.of(5));
      await Promise.all([up, down]);
      cpu.nativeFree(own);
    });

    test('reads registered memory when it is its turn', async () => {
      const [own, ptr] = [cpu.nativeAlloc(4096), filled(1, 4096)];
      device.registerHost(own, 4096);
      cpu.fill(own, 5, 4096);
      const copied = device.copyAsync(ptr, own, 4096, device.createStream().id);
      cpu.fill(own, 6, 4096);
      await copied;
      expect(fixture.peek(ptr, 1)).toEqual(Uint8Array.of(6));
      device.unregisterHost(own);
      cpu.nativeFree(own);
    });

    test('rejects with what went wrong on the device, and leaves no event', async () => {
      const ptr = filled(1, 4096);
      const filledLater = device.fillAsync(ptr, 2, 64, device.createStream().id);
      fixture.fail('EventQuery', ILLEGAL_ADDRESS);
      await expect(filledLater).rejects.toThrow(memoryError('ERR_MEM_NATIVE', { functionName: 'cudaEventQuery', status: 700 }));
      expect(fixture.liveEvents).toBe(0);
    });
  });

  describe('streams', () => {
    test('let work of one stream wait for another', async () => {
      device = fixture.fresh({ delay: 1 });
      const [a, b, c] = [filled(1, 64), filled(2, 64), filled(3, 64)];
      const [one, two] = [device.createStream(), device.createStream()];
      const work = [device.fillAsync(c, 9, 64, one.id), device.copyAsync(a, b, 64, one.id)];
      const event = one.record();
      two.wait(event);
      event[Symbol.dispose]();
      work.push(device.copyAsync(c, a, 64, two.id));
      two.synchronize();
      expect(fixture.peek(c, 1)).toEqual(Uint8Array.of(2));
      await Promise.all(work);
      expect(fixture.liveEvents).toBe(0);
    });

    test('are on the device that was active, and recorded there', () => {
      device.activate(1);
      const stream = device.createStream();
      device.activate(0);
      const event = stream.record();
      event.synchronize();
      expect(event.isDone).toBe(true);
      expect(fixture.currentDevice).toBe(0);
      event[Symbol.dispose]();
      stream[Symbol.dispose]();
      expect([fixture.liveStreams, fixture.liveEvents]).toEqual([0, 0]);
    });

    test('are adopted from a library under its handle, waited for, and left to it', async () => {
      const theirs = device.createStream();
      const ours = device.adoptStream(device.streamHandle(theirs.id));
      expect(ours.id).not.toBe(theirs.id);
      const ptr = filled(1, 64);
      const work = device.fillAsync(ptr, 2, 64, ours.id);
      expect(fixture.pending).toBeGreaterThan(0);
      ours[Symbol.dispose]();
      expect(fixture.pending).toBe(0);
      await work;
      expect(fixture.liveStreams).toBe(1);
      expect(codeOf(() => device.streamHandle(ours.id))).toBe('ERR_MEM_INVALID_ARGUMENT');
      theirs.synchronize();
      expect(codeOf(() => device.adoptStream(-1))).toBe('ERR_MEM_INVALID_POINTER');
    });
  });

  describe('pinnedAlloc', () => {
    test('registers whole pages, and unregisters them after all work', async () => {
      const [pinned, ptr] = [device.pinnedAlloc(100), filled(7, 100)];
      expect(fixture.liveRanges).toBe(2);
      const copied = device.copyAsync(pinned, ptr, 100, device.createStream().id);
      device.pinnedFree(pinned);
      expect(fixture.pending).toBe(0);
      expect(fixture.liveRanges).toBe(1);
      await copied;
    });

    test('hands out memory as it is where the card refuses, and says so once', () => {
      const events: unknown[] = [];
      device.events.on('pin-failed', (event) => events.push(event));
      device.synchronize();
      fixture.fail('HostRegister', 2, 2);
      const ptrs = [device.pinnedAlloc(100), device.pinnedAlloc(5000)] as const;
      const reason = 'cudaHostRegister failed: cudaErrorMemoryAllocation (2): out of memory';
      expect(events).toEqual([{ ptr: ptrs[0], bytes: 100, reason }]);
      expect(device.pinFailures).toBe(2);
      device.copy(ptrs[1], filled(1, 5000), 5000);
      expect(device.view(ptrs[1], 1)).toEqual(Uint8Array.of(1));
      for (const ptr of ptrs) device.pinnedFree(ptr);
    });
  });

  describe('managedFree', () => {
    test.each([false, true])('waits for work of every device on it, viewed: %s', async (isViewed) => {
      const managed = device.managedAlloc(4096);
      if (isViewed) device.view(managed, 4096);
      device.activate(1);
      const work = device.fillAsync(managed, 7, 4096, device.createStream().id);
      device.activate(0);
      device.managedFree(managed);
      expect(fixture.pending).toBe(0);
      await work;
    });

    test('gives memory back unless it was viewed: that is used again', () => {
      device.managedFree(device.managedAlloc(4096));
      expect(fixture.used(0)).toBe(0);
      const viewed = device.managedAlloc(4096);
      const view = device.view(viewed, 4096);
      device.managedFree(viewed);
      expect(device.keptBytes).toBe(4096);
      expect(device.liveBytes).toBe(0);
      view.fill(1);
      expect(codeOf(() => device.view(viewed, 1))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(device.managedAlloc(4096)).toBe(viewed);
      expect(device.keptBytes).toBe(0);
      device.managedFree(viewed);
      expect(device.keptBytes).toBe(4096);
    });

    test('leaves no error behind when there is no room', () => {
      expect(device.managedAlloc(256 * MiB + 1)).toBe(NULL_PTR);
      expect(device.managedAlloc(2 ** 53 - 1)).toBe(NULL_PTR);
      expect(fixture.lastError).toBe(0);
    });
  });

  describe('importMemory', () => {
    test('opens what another exported, at an inner place too, and closes it once', () => {
      const ptr = filled(3, 64 * KiB);
      device.fill(at(ptr, 100), 4, 100);
      const importer = fixture.device();
      const memory = structuredClone(device.exportMemory(at(ptr, 100)));
      const inner = importer.importMemory(memory);
      expect(fixture.peek(inner, 100).every((byte) => byte === 4)).toBe(true);
      importer.fill(inner, 5, 64 * KiB - 100);
      expect(fixture.peek(at(ptr, 64 * KiB - 1), 1)).toEqual(Uint8Array.of(5));
      expect(codeOf(() => importer.fill(inner, 5, 64 * KiB))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => importer.nativeFree(inner))).toBe('ERR_MEM_UNKNOWN_POINTER');
      importer.closeMemory(inner);
      expect(codeOf(() => importer.closeMemory(inner))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => importer.fill(inner, 5, 1))).toBe('ERR_MEM_UNKNOWN_POINTER');
      device.nativeFree(ptr);
      expect(fixture.liveRanges).toBe(0);
    });

    test('is closed after all work that uses it', async () => {
      const importer = fixture.device();
      const imported = importer.importMemory(device.exportMemory(filled(3, 4096)));
      const ptr = importer.nativeAlloc(4096);
      const copied = importer.copyAsync(ptr, imported, 4096, importer.createStream().id);
      importer.closeMemory(imported);
      await copied;
      expect(fixture.peek(ptr, 1)).toEqual(Uint8Array.of(3));
    });

    test('exports aligned segments by where they begin', () => {
      const ptr = device.nativeAlloc(4096, 64 * KiB);
      device.fill(ptr, 6, 4096);
      const importer = fixture.device();
      const imported = importer.importMemory(device.exportMemory(ptr));
      expect(fixture.peek(imported, 4096).every((byte) => byte === 6)).toBe(true);
    });

    test('refuses handles that are none and sizes that are not so, and leaves nothing open', () => {
      const memory = device.exportMemory(filled(3, 4096));
      const ranges = fixture.liveRanges;
      const bad = [
        ['ERR_MEM_INVALID_ARGUMENT', { ...memory, handle: new Uint8Array(63) }],
        ['ERR_MEM_INVALID_ARGUMENT', { ...memory, handle: 'cuda' as unknown as Uint8Array }],
        ['ERR_MEM_INVALID_SIZE', { ...memory, segmentBytes: -1 }],
        ['ERR_MEM_INVALID_SIZE', { ...memory, offsetBytes: 0.5 }],
        ['ERR_MEM_OUT_OF_RANGE', { ...memory, offsetBytes: 4096 }],
        ['ERR_MEM_OUT_OF_RANGE', { ...memory, segmentBytes: 8192 }],
        ['ERR_MEM_NATIVE', { ...memory, handle: new Uint8Array(64) }],
      ] as const;
      const importer = fixture.device();
      for (const [code, lie] of bad) expect(codeOf(() => importer.importMemory(lie))).toBe(code);
      expect(codeOf(() => device.exportMemory(device.pinnedAlloc(64)))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(fixture.liveRanges).toBe(ranges + 1);
    });
  });

  test('does what a model does, in any program of copies and fills', async () => {
    const BYTES = 512;
    const end = fc.record({ place: fc.nat(4), offset: fc.nat(BYTES) });
    const step = fc.record({
      work: fc.constantFrom('copy', 'fill', 'copyAsync', 'fillAsync'),
      to: end,
      from: end,
      bytes: fc.nat(BYTES),
      value: fc.nat(255),
      stream: fc.nat(1),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.nat(3), async (steps, delay) => {
        device = fixture.fresh({ delay: delay + 1 });
        const places = [device.nativeAlloc(BYTES), device.nativeAlloc(BYTES, 4096), device.managedAlloc(BYTES)];
        device.activate(1);
        places.push(device.nativeAlloc(BYTES), device.pinnedAlloc(BYTES));
        const model = places.map((ptr) => {
          device.fill(ptr, 0, BYTES);
          return new Uint8Array(BYTES);
        });
        for (const { work, to, from, bytes, value } of steps) {
          const [target, source] = [at(places[to.place]!, to.offset), at(places[from.place]!, from.offset)];
          const fits = to.offset + bytes <= BYTES && (work.startsWith('fill') || from.offset + bytes <= BYTES);
          // Streams have no pinned memory to fill, and no copies within a range.
          const isRefused = work === 'fillAsync' ? to.place === 4 : work === 'copyAsync' && to.place === from.place;
          const act = async () => {
            if (work === 'copy') device.copy(target, source, bytes);
            else if (work === 'fill') device.fill(target, value, bytes);
            else if (work === 'copyAsync') await device.copyAsync(target, source, bytes);
            else await device.fillAsync(target, value, bytes);
          };
          // Where pinned memory ends, memory of the caller may begin.
          const leavesPinned = [to, ...(work.startsWith('copy') ? [from] : [])].some(
            (at) => at.place === 4 && at.offset === BYTES,
          );
          if (bytes === 0 || leavesPinned || (isRefused && fits)) continue;
          if (fits) {
            await act();
            if (work.startsWith('fill')) model[to.place]!.fill(value, to.offset, to.offset + bytes);
            else model[to.place]!.set(model[from.place]!.slice(from.offset, from.offset + bytes), to.offset);
          } else {
            await expect(act()).rejects.toThrow();
          }
        }
        const contents = places.map((ptr, i) => (i === 4 ? device.view(ptr, BYTES).slice() : fixture.peek(ptr, BYTES)));
        // As text, since `toEqual` compares bytes one by one.
        const text = (all: readonly Uint8Array[]) => all.map((bytes) => Buffer.from(bytes).toString('hex'));
        expect(text(contents)).toEqual(text(model));
      }),
      { numRuns: 200 },
    );
  });
});

describe('HipDevice', () => {
  test("speaks HIP's names", () => {
    const hip = new GpuFixture('hip');
    const own = hip.fresh();
    expect(own.deviceName(0)).toBe('a fixture on the CPU');
    hip.fail('Malloc', ILLEGAL_ADDRESS);
    expect(() => own.nativeAlloc(64)).toThrow(/^hipMalloc failed: hipErrorIllegalAddress \(700\)/);
    hip.beAbsent(100);
    expect(() => new HipDevice({ library: hip.library }).deviceCount).toThrow(/^hip is absent: hipErrorNoDevice \(100\)/);
  });
});
