import { describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { PoolMemoryManager, PyTorchMemoryManager } from '../../managers/index.js';
import type { Device } from '../../src/core/device.js';
import type { MemoryManagerDeviceInterface, VirtualMemory } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, KiB, MiB, NULL_PTR } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { memoryError, SeededRandom } from '../core/fakes.js';

/** A device that the suite tries. Its memory is all free when `make` gives it. */
export interface DeviceUnderTest {
  readonly make: () => Device;
  /** Whether there are bytes behind the addresses, so that content can be checked. */
  readonly hasBytes: boolean;
  /** Whether the host can see them. @defaultValue hasBytes; where not, content is copied to pinned memory to be checked */
  readonly hasViews?: boolean;
  /**
   * What else it has. With 'capacity' its live bytes never exceed `getMaxMemorySize`, whatever the machine has.
   * @defaultValue nothing
   */
  readonly has?: readonly ('managed memory' | 'registration' | 'memory info' | 'capacity')[];
  /** What every segment's address is a multiple of. */
  readonly leastAlignment: number;
}

/** More than any device has. */
const PEBIBYTE = 2 ** 50;
const SIZES = [1, 63, 64, 4095, 4096, 100_001, 3 * MiB];
const BAD_SIZES = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53];
const BAD_ALIGNMENTS = [-1, 3, 0.5, Number.NaN, 2 ** 53];

interface Segment {
  readonly ptr: DevicePtr;
  readonly bytes: number;
}

/**
 * Every contract stated on Device, for one kind: `describeDevice('CudaDevice', { make: () => new CudaDevice(), … })`. Long, since
 * it is one contract, read top to bottom.
 */
export function describeDevice(name: string, subject: DeviceUnderTest): void {
  const { make, hasBytes, leastAlignment, hasViews = hasBytes, has = [] } = subject;

  /** The content of memory, whether the host can see it or not. */
  function bytesAt(device: Device, ptr: DevicePtr, bytes: number): Uint8Array {
    if (hasViews) return device.view(ptr, bytes);
    const pinned = device.pinnedAlloc(bytes);
    device.copy(pinned, ptr, bytes);
    const content = device.view(pinned, bytes).slice();
    device.pinnedFree(pinned);
    return content;
  }

  describe(name, () => {
    describe('activate', () => {
      test('makes each device the active one', () => {
        const device = make();
        expect(device.deviceCount).toBeGreaterThanOrEqual(1);
        for (let id = 0; id < device.deviceCount; id++) {
          device.activate(id);
          expect(device.activeDeviceId).toBe(id);
          expect(device.getMaxMemorySize(id)).toBeGreaterThan(0);
          expect(Number.isSafeInteger(device.getMaxMemorySize(id))).toBe(true);
        }
      });

      test('does not change which device memory is of', () => {
        const device = make();
        const ids = Array.from({ length: device.deviceCount }, (_, id) => id);
        const ptrs = ids.map((id) => {
          device.activate(id);
          return device.nativeAlloc(4096);
        });
        device.activate(0);
        expect(ptrs.map((ptr) => device.deviceIdOf((ptr + 4095) as DevicePtr))).toEqual(ids);
        expect(device.deviceIdOf(NULL_PTR)).toBe(0);
        for (const ptr of ptrs) device.nativeFree(ptr);
      });

      test('refuses ids of no device and leaves the active one', () => {
        const device = make();
        const { deviceCount, activeDeviceId } = device;
        for (const id of [-1, deviceCount, 0.5, Number.NaN]) {
          const error = memoryError('ERR_MEM_INVALID_DEVICE', { device: id, deviceCount });
          expect(() => device.activate(id)).toThrow(error);
          expect(() => device.getMaxMemorySize(id)).toThrow(error);
        }
        expect(device.activeDeviceId).toBe(activeDeviceId);
      });
    });

    describe.each([
      ['nativeAlloc', 'nativeFree'],
      ['pinnedAlloc', 'pinnedFree'],
    ] as const)('%s', (alloc, free) => {
      test('gives segments that share no byte, and takes them back in any order', () => {
        const device = make();
        const random = new SeededRandom(4711);
        const live: Segment[] = [];
        for (let i = 0; i < 120; i++) {
          if (live.length > 20 || (live.length > 0 && random.below(3) === 0)) {
            device[free](live.splice(random.below(live.length), 1)[0]!.ptr);
            continue;
          }
          device.activate(random.below(device.deviceCount));
          const bytes = random.pick(SIZES);
          const ptr = device[alloc](bytes);
          if (!Number.isSafeInteger(ptr) || ptr <= 0 || ptr % leastAlignment !== 0) expect.fail(`a segment at ${ptr}`);
          for (const other of live) {
            const isApart = ptr + bytes <= other.ptr || other.ptr + other.bytes <= ptr;
            if (!isApart) expect.fail(`${bytes} bytes at ${ptr} share some with ${other.bytes} at ${other.ptr}`);
          }
          live.push({ ptr, bytes });
        }
        for (const { ptr } of live) device[free](ptr);
      });

      test.each([1, 2, 16, 64, 512, 4096, 64 * KiB, 2 * MiB, 4 * MiB])('honours an alignment of %i bytes', (alignment) => {
        const device = make();
        const ptrs = SIZES.map((bytes) => device[alloc](bytes, alignment));
        expect(ptrs.map((ptr) => ptr % alignment)).toEqual(SIZES.map(() => 0));
        for (const ptr of ptrs) device[free](ptr);
      });

      test.each([PEBIBYTE, 2 ** 53 - 1])('answers 0, or throws out of memory, for %i bytes', (bytes) => {
        const device = make();
        let ptr = NULL_PTR;
        try {
          ptr = device[alloc](bytes);
        } catch (error) {
          expect(MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')).toBe(true);
        }
        expect(ptr).toBe(NULL_PTR);
        device[free](device[alloc](100));
      });

      test('refuses sizes and alignments that are none', () => {
        const device = make();
        for (const bytes of BAD_SIZES) {
          expect(() => device[alloc](bytes), `${bytes}`).toThrow(memoryError('ERR_MEM_INVALID_SIZE', { bytes }));
        }
        for (const alignmentBytes of BAD_ALIGNMENTS) {
          const error = memoryError('ERR_MEM_INVALID_ALIGNMENT', { alignmentBytes });
          expect(() => device[alloc](64, alignmentBytes), `${alignmentBytes}`).toThrow(error);
        }
      });
    });

    describe('nativeFree', () => {
      test('finds the segment whichever device is active', () => {
        const device = make();
        const ptrs: DevicePtr[] = [];
        for (let id = 0; id < device.deviceCount; id++) {
          device.activate(id);
          ptrs.push(device.nativeAlloc(4096));
        }
        for (const [id, ptr] of ptrs.entries()) {
          device.activate((id + 1) % device.deviceCount);
          device.nativeFree(ptr);
          expect(() => device.nativeFree(ptr)).toThrow(MemoryError);
        }
      });

      test('throws for what is no segment of its kind, and leaves the segment near it', () => {
        const device = make();
        const ptr = device.nativeAlloc(4096);
        const pinned = device.pinnedAlloc(4096);
        for (const pointer of [ptr + 1, ptr + 64, 12_345, pinned] as DevicePtr[]) {
          expect(() => device.nativeFree(pointer)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer }));
        }
        expect(() => device.pinnedFree(ptr)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr }));
        device.fill(ptr, 1, 4096);
        device.nativeFree(ptr);
        device.pinnedFree(pinned);
      });
    });

    describe('copy', () => {
      test('copies between segments, pinned ones too, and within one though the ranges overlap', () => {
        const device = make();
        const [a, b, pinned] = [device.nativeAlloc(1000), device.nativeAlloc(1000), device.pinnedAlloc(1000)];
        device.fill(a, 7, 1000);
        device.fill(b, 9, 1000);
        device.copy((b + 10) as DevicePtr, a, 100);
        device.copy(pinned, b, 1000);
        device.copy((b + 5) as DevicePtr, b, 900);
        device.copy(b, (b + 5) as DevicePtr, 900);
        device.synchronize();
        if (hasBytes) {
          const wanted = Uint8Array.from({ length: 1000 }, (_, i) => (i >= 10 && i < 110 ? 7 : 9));
          expect(bytesAt(device, b, 1000)).toEqual(wanted);
          expect(device.view(pinned, 1000)).toEqual(wanted);
        }
        device.nativeFree(a);
        device.nativeFree(b);
        device.pinnedFree(pinned);
      });

      test('refuses ranges that leave their segment, and sizes that are none', () => {
        const device = make();
        const [a, b] = [device.nativeAlloc(64), device.nativeAlloc(64)];
        for (const bytes of BAD_SIZES)
          expect(() => device.copy(a, b, bytes)).toThrow(memoryError('ERR_MEM_INVALID_SIZE', { bytes }));
        expect(() => device.copy(a, b, 65)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
        expect(() => device.copy(a, NULL_PTR, 1)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: 0 }));
        device.copy(a, b, 0);
        device.copy(a, b, 64);
        device.nativeFree(a);
        device.nativeFree(b);
      });
    });

    describe('write, read', () => {
      test('copies from JavaScript and back, from a part of an array to a part of a segment', () => {
        const device = make();
        const [ptr, pinned] = [device.nativeAlloc(1000), device.pinnedAlloc(1000)];
        const source = Uint8Array.from({ length: 300 }, (_, i) => i);
        for (const place of [ptr, pinned]) {
          device.fill(place, 9, 1000);
          device.write((place + 10) as DevicePtr, source.subarray(50, 250));
          device.write(place, source.subarray(0, 0));
          const target = new Uint8Array(1000).fill(1);
          device.read((place + 5) as DevicePtr, target.subarray(100, 400));
          const wanted = (_: unknown, i: number) => (i < 100 || i >= 400 ? 1 : i < 105 || i >= 305 ? 9 : i - 105 + 50);
          if (hasBytes) expect(target).toEqual(Uint8Array.from({ length: 1000 }, wanted));
        }
        device.nativeFree(ptr);
        device.pinnedFree(pinned);
      });

      test('copies to and from views of its own memory', () => {
        const device = make();
        const [ptr, pinned] = [device.nativeAlloc(64), device.pinnedAlloc(64)];
        device.fill(ptr, 5, 64);
        if (hasBytes) {
          device.read(ptr, device.view(pinned, 64));
          expect(device.view(pinned, 64)).toEqual(new Uint8Array(64).fill(5));
          device.view(pinned, 64).fill(6);
          device.write(ptr, device.view(pinned, 64));
          expect(bytesAt(device, ptr, 64)).toEqual(new Uint8Array(64).fill(6));
        }
        device.nativeFree(ptr);
        device.pinnedFree(pinned);
      });

      test('refuses ranges that leave the segment, and memory that was freed', () => {
        const device = make();
        const ptr = device.nativeAlloc(64);
        for (const call of ['write', 'read'] as const) {
          expect(() => device[call](ptr, new Uint8Array(65))).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
          expect(() => device[call](NULL_PTR, new Uint8Array(1))).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
        }
        device.nativeFree(ptr);
        expect(() => device.read(ptr, new Uint8Array(1))).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
      });
    });

    describe('fill', () => {
      test('sets each byte of the range and no other', () => {
        const device = make();
        const ptr = device.nativeAlloc(1000);
        device.fill(ptr, 1, 1000);
        device.fill((ptr + 100) as DevicePtr, 255, 300);
        device.fill(ptr, 3, 0);
        device.synchronize();
        if (hasBytes) {
          const wanted = Uint8Array.from({ length: 1000 }, (_, i) => (i >= 100 && i < 400 ? 255 : 1));
          expect(bytesAt(device, ptr, 1000)).toEqual(wanted);
        }
        device.nativeFree(ptr);
      });

      test('refuses values that are no bytes, ranges that leave the segment, and memory that was freed', () => {
        const device = make();
        const ptr = device.nativeAlloc(64);
        for (const value of [-1, 256, 0.5, Number.NaN]) {
          expect(() => device.fill(ptr, value, 1)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { value: String(value) }));
        }
        expect(() => device.fill(ptr, 0, 65)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
        expect(() => device.fill(ptr, 0, -1)).toThrow(memoryError('ERR_MEM_INVALID_SIZE', { bytes: -1 }));
        device.nativeFree(ptr);
        expect(() => device.fill(ptr, 0, 1)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
      });
    });

    describe('view', () => {
      if (hasViews)
        test('shows the bytes themselves, without a copy', () => {
          const device = make();
          const ptr = device.nativeAlloc(4096);
          const view = device.view((ptr + 8) as DevicePtr, 100);
          expect(view).toHaveLength(100);
          device.fill(ptr, 42, 4096);
          expect(view.every((byte) => byte === 42)).toBe(true);
          view[99] = 1;
          expect(device.view(ptr, 4096)[107]).toBe(1);
          expect(() => device.view(ptr, 4097)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
          device.nativeFree(ptr);
          // Safe to touch, whatever it shows now.
          view.fill(3);
          expect(() => device.view(ptr, 1)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
        });

      if (!hasViews)
        test('throws when the host cannot see the memory', () => {
          const device = make();
          const ptr = device.nativeAlloc(64);
          const error = memoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { platform: device.name });
          expect(() => device.view(ptr, 1)).toThrow(error);
          device.nativeFree(ptr);
        });

      if (hasBytes)
        test('shows pinned memory, and stays safe to touch when that is freed', () => {
          const device = make();
          const ptr = device.pinnedAlloc(5000);
          const view = device.view(ptr, 5000);
          device.fill(ptr, 42, 5000);
          expect(view.every((byte) => byte === 42)).toBe(true);
          device.pinnedFree(ptr);
          view.fill(3);
          expect(() => device.view(ptr, 1)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
        });
    });

    describe('bufferAt', () => {
      test('tells where bytes lie in a buffer, as a view of them does', () => {
        const device = make();
        const ptr = hasBytes && !hasViews ? device.pinnedAlloc(4096) : device.nativeAlloc(4096);
        const part = (ptr + 16) as DevicePtr;
        if (hasBytes) {
          const view = device.view(part, 100);
          const { buffer, byteOffset } = device.bufferAt(part, 100);
          new Uint8Array(buffer, byteOffset, 100).fill(7);
          expect(view.every((byte) => byte === 7)).toBe(true);
          expect(() => device.bufferAt(ptr, 4097)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
          expect(device.bufferAt(ptr, 0).buffer.byteLength).toBe(0);
        } else {
          expect(() => device.bufferAt(part, 1)).toThrow(memoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { platform: device.name }));
        }
        if (hasBytes && !hasViews) device.pinnedFree(ptr);
        else device.nativeFree(ptr);
        if (hasBytes) expect(() => device.bufferAt(ptr, 1)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
      });
    });

    const granule = make().virtual?.granularityBytes ?? 0;
    describeIf(granule > 0, 'virtual', () => {
      test('reserves, commits, decommits and releases by its granularity', () => {
        const device = make();
        const virtual = device.virtual!;
        const range = virtual.reserve(8 * granule);
        const part = (range + 2 * granule) as DevicePtr;
        expect(range % granule).toBe(0);
        expect(() => device.fill(part, 1, 1)).toThrow(MemoryError);
        expect(virtual.commit(part, 2 * granule)).toBe(true);
        device.fill(part, 5, 2 * granule);
        virtual.decommit(part, granule);
        expect(() => device.fill(part, 1, 1)).toThrow(MemoryError);
        device.fill((part + granule) as DevicePtr, 1, granule);
        expect(virtual.commit(part, granule)).toBe(true);
        virtual.release(range, 8 * granule);
        expect(() => virtual.commit(part, granule)).toThrow(MemoryError);
      });

      test('refuses parts that are not granular, committed twice, or not committed', () => {
        const virtual = make().virtual!;
        const range = virtual.reserve(4 * granule);
        expect(() => virtual.reserve(granule + 1)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
        expect(() => virtual.commit((range + 1) as DevicePtr, granule)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
        expect(() => virtual.commit(range, 5 * granule)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
        virtual.commit(range, granule);
        expect(() => virtual.commit(range, 2 * granule)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
        expect(() => virtual.decommit(range, 2 * granule)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
        virtual.decommit(range, granule);
        virtual.release(range, 4 * granule);
      });
    });

    describeIf(granule > 0 && has.includes('capacity'), 'virtual', () => {
      /** Commits all of a range, in steps that halve when they are refused. @returns the bytes that were admitted */
      function commitAll(virtual: VirtualMemory, range: DevicePtr, bytes: number): number {
        let done = 0;
        for (let step = bytes; step >= granule; ) {
          if (done + step <= bytes && virtual.commit((range + done) as DevicePtr, step)) done += step;
          else step = Math.floor(step / 2 / granule) * granule;
        }
        return done;
      }

      test('counts pages against the capacity, beside segments, and gets them back by decommit and release', () => {
        const device = make();
        const virtual = device.virtual!;
        const capacity = device.getMaxMemorySize(0);
        const bytes = (Math.ceil(capacity / granule) + 1) * granule;
        const range = virtual.reserve(bytes);
        expect(virtual.commit(range, bytes)).toBe(false);
        expect(device.liveBytes).toBe(0);
        const committed = commitAll(virtual, range, bytes);
        expect(committed).toBe(Math.floor(capacity / granule) * granule);
        expect(device.liveBytes).toBe(committed);
        const next = (range + committed) as DevicePtr;
        expect([virtual.commit(next, granule), device.nativeAlloc(granule)]).toEqual([false, NULL_PTR]);
        expect(() => device.fill(next, 1, 1)).toThrow(MemoryError);
        expect(device.liveBytes).toBe(committed);
        virtual.decommit(range, granule);
        const segment = device.nativeAlloc(granule);
        expect(segment).toBeGreaterThan(0);
        expect(virtual.commit(range, granule)).toBe(false);
        device.nativeFree(segment);
        expect(virtual.commit(range, granule)).toBe(true);
        virtual.release(range, bytes);
        expect(device.liveBytes).toBe(0);
        device.nativeFree(device.nativeAlloc(granule));
      });

      test.each([
        ['PoolMemoryManager', (count: number, table: MemoryManagerDeviceInterface) => new PoolMemoryManager(count, table)],
        [
          'PyTorchMemoryManager with expandable segments',
          (count: number, table: MemoryManagerDeviceInterface) =>
            new PyTorchMemoryManager(count, table, { conf: 'expandable_segments:True' }),
        ],
      ])('lets %s refuse what is above the capacity', (_name, manager) => {
        const device = make();
        const capacityBytes = device.getMaxMemorySize(0);
        const runtime = new MemoryRuntime(device, { createDefaultManager: manager });
        const half = runtime.allocate(Math.floor(capacityBytes / 2));
        for (const bytes of [capacityBytes, 2 * capacityBytes, Math.ceil(capacityBytes / 2) + 32 * MiB]) {
          const error = memoryError('ERR_MEM_OUT_OF_MEMORY', { requestedBytes: bytes, capacityBytes });
          expect(() => runtime.allocate(bytes)).toThrow(error);
        }
        half.dispose();
        runtime.allocate(Math.floor(capacityBytes / 2)).dispose();
        runtime.close();
        expect(device.liveBytes).toBe(0);
      });
    });

    describeIf(make().streams !== undefined, 'streams', () => {
      test('records events that come to pass, in order and across streams', () => {
        const device = make();
        const [one, two] = [device.createStream(), device.createStream()];
        const streams = device.streams!;
        const first = streams.record(one.id);
        streams.wait(two.id, first);
        const second = streams.record(two.id);
        streams.synchronize(second);
        expect([streams.query(first), streams.query(second)]).toEqual([true, true]);
        const third = streams.record(0);
        device.synchronize();
        expect(streams.query(third)).toBe(true);
        for (const event of [first, second, third]) streams.destroy(event);
        expect(new Set([first, second, third]).size).toBe(3);
        expect(() => streams.query(first)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'event' }));
        for (const stream of [one, two]) stream[Symbol.dispose]();
      });

      test('names the default stream of each device, whichever is active', () => {
        const device = make();
        const streams = device.streams!;
        const names = Array.from({ length: device.deviceCount }, (_, id) => streams.defaultStream(id));
        expect(new Set([0, ...names]).size).toBe(device.deviceCount + 1);
        for (let id = 0; id < device.deviceCount; id++) {
          device.activate(id);
          for (const [other, name] of names.entries()) {
            expect(streams.defaultStream(other)).toBe(name);
            const event = streams.record(name);
            streams.wait(name, event);
            streams.synchronize(event);
            expect(streams.query(event)).toBe(true);
            streams.destroy(event);
          }
        }
      });

      test('gives streams and events that can be disposed, and work no more after that', () => {
        const device = make();
        const stream = device.createStream();
        const event = stream.record();
        stream.synchronize();
        event.synchronize();
        expect(event.isDone).toBe(true);
        stream.wait(event);
        for (const disposed of [event, stream, event, stream]) disposed[Symbol.dispose]();
        expect(() => event.isDone).toThrow(memoryError('ERR_MEM_DISPOSED', { what: 'event' }));
        expect(() => stream.record()).toThrow(memoryError('ERR_MEM_DISPOSED', { what: 'stream' }));
        expect(() => stream.wait(event)).toThrow(memoryError('ERR_MEM_DISPOSED'));
      });

      test('refuses events of another device', () => {
        const [here, there] = [make().createStream(), make().createStream()];
        const event = there.record();
        expect(() => here.wait(event)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'event' }));
      });

      test('copies and fills in the order of a stream, and tells when it is done', async () => {
        const device = make();
        const stream = device.createStream();
        const [a, b, pinned] = [device.nativeAlloc(1000), device.nativeAlloc(1000), device.pinnedAlloc(1000)];
        const work = [
          device.fillAsync(a, 7, 1000, stream.id),
          device.copyAsync(b, a, 1000, stream.id),
          device.fillAsync((b + 10) as DevicePtr, 9, 100, stream.id),
          device.copyAsync(pinned, b, 1000, stream.id),
          device.copyAsync(a, b, 0, stream.id),
          device.fillAsync(a, 1, 0, stream.id),
        ];
        stream.synchronize();
        await Promise.all(work);
        if (hasBytes) {
          const wanted = Uint8Array.from({ length: 1000 }, (_, i) => (i >= 10 && i < 110 ? 9 : 7));
          expect(device.view(pinned, 1000)).toEqual(wanted);
        }
        stream[Symbol.dispose]();
        device.nativeFree(a);
        device.nativeFree(b);
        device.pinnedFree(pinned);
      });

      test('rejects what copy and fill refuse, and ranges that overlap', async () => {
        const device = make();
        const [a, b] = [device.nativeAlloc(64), device.nativeAlloc(64)];
        for (const bytes of BAD_SIZES) {
          await expect(device.copyAsync(a, b, bytes)).rejects.toThrow(memoryError('ERR_MEM_INVALID_SIZE', { bytes }));
          await expect(device.fillAsync(a, 0, bytes)).rejects.toThrow(memoryError('ERR_MEM_INVALID_SIZE', { bytes }));
        }
        await expect(device.copyAsync(a, b, 65)).rejects.toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
        await expect(device.copyAsync(a, NULL_PTR, 1)).rejects.toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: 0 }));
        await expect(device.copyAsync((a + 1) as DevicePtr, a, 8)).rejects.toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
        await expect(device.fillAsync(a, 256, 1)).rejects.toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { value: '256' }));
        await expect(device.fillAsync(a, 0, 65)).rejects.toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
        await expect(device.copyAsync(a, b, 64, -1)).rejects.toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'stream' }));
        device.nativeFree(a);
        device.nativeFree(b);
      });
    });

    describeIf(has.includes('memory info'), 'memoryInfo', () => {
      test('tells what is there and what is left', () => {
        const device = make();
        for (let id = 0; id < device.deviceCount; id++) {
          const { freeBytes, totalBytes } = device.memoryInfo(id);
          expect(totalBytes).toBe(device.getMaxMemorySize(id));
          expect(freeBytes).toBeGreaterThan(0);
          expect(freeBytes).toBeLessThanOrEqual(totalBytes);
        }
        expect(() => device.memoryInfo(device.deviceCount)).toThrow(memoryError('ERR_MEM_INVALID_DEVICE'));
      });
    });

    describeIf(has.includes('managed memory'), 'managedAlloc', () => {
      test('gives memory that both sides reach, and takes it back once', () => {
        const device = make();
        const [managed, ptr] = [device.managedAlloc(1000, 4096), device.nativeAlloc(1000)];
        expect(managed % 4096).toBe(0);
        device.fill(ptr, 5, 1000);
        device.copy(managed, ptr, 1000);
        device.synchronize();
        const view = device.view(managed, 1000);
        expect(view.every((byte) => byte === 5)).toBe(true);
        expect(() => device.nativeFree(managed)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
        expect(() => device.managedFree(ptr)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
        device.managedFree(managed);
        expect(() => device.managedFree(managed)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
        // Safe to touch, whatever it shows now.
        view.fill(3);
        device.nativeFree(ptr);
      });

      test('refuses sizes and alignments that are none', () => {
        const device = make();
        expect(device.managedAlloc(0)).toBe(NULL_PTR);
        for (const bytes of BAD_SIZES) expect(() => device.managedAlloc(bytes)).toThrow(memoryError('ERR_MEM_INVALID_SIZE'));
        expect(() => device.managedAlloc(64, 3)).toThrow(memoryError('ERR_MEM_INVALID_ALIGNMENT'));
      });
    });

    describeIf(has.includes('registration'), 'registerHost', () => {
      test('lets the device reach memory of the caller, until that is unregistered', () => {
        const device = make();
        const cpu = new CpuDevice();
        const [own, ptr] = [cpu.nativeAlloc(64 * KiB), device.nativeAlloc(64 * KiB)];
        device.registerHost(own, 64 * KiB);
        device.fill(ptr, 6, 64 * KiB);
        device.copy(own, ptr, 64 * KiB);
        expect(cpu.view(own, 64 * KiB).every((byte) => byte === 6)).toBe(true);
        expect(() => device.registerHost(own, 4096)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
        expect(() => device.copy(ptr, (own + 1) as DevicePtr, 64 * KiB)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
        device.unregisterHost(own);
        expect(() => device.unregisterHost(own)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: own }));
        device.nativeFree(ptr);
        cpu.nativeFree(own);
      });

      test("refuses memory that is the device's own, and ranges that are none", () => {
        const device = make();
        const [ptr, pinned] = [device.nativeAlloc(4096), device.pinnedAlloc(4096)];
        for (const own of [ptr, pinned, NULL_PTR]) {
          expect(() => device.registerHost(own, 4096)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
        }
        expect(() => device.registerHost(ptr, -1)).toThrow(memoryError('ERR_MEM_INVALID_SIZE'));
        expect(() => device.unregisterHost(pinned)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER'));
        device.nativeFree(ptr);
        device.pinnedFree(pinned);
      });
    });
  });
}

/** What a device does not have is no skipped test: it is none. */
function describeIf(applies: boolean, name: string, tests: () => void): void {
  if (applies) describe(name, tests);
}
