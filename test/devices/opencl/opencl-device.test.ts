import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { CpuDevice } from '../../../adapters/devices/cpu.js';
import { OpenClDevice } from '../../../adapters/devices/opencl/index.js';
import { maxMemoryBytes } from '../../../adapters/os/memory-limits.js';
import { type DevicePtr, devicePtr, KiB, MiB } from '../../../src/core/units.js';
import { memoryError } from '../../core/fakes.js';
import { codeOf } from '../../fixtures/code-of.js';
import { moduleUrl, runChild } from '../../fixtures/compiled.js';
import { bytesOf, openCl, threadedDevice, write } from '../../fixtures/opencl.js';
import { ProgramCalls } from '../../fixtures/opencl-calls.js';

const at = (ptr: DevicePtr, offset: number) => devicePtr(ptr + offset);
const PATTERN = Uint8Array.from({ length: 251 }, (_, i) => i);
const counting = (bytes: number) => new Uint8Array(Buffer.alloc(bytes, PATTERN));

/** In a function of its own: a variable of a block that was left would keep the mapping alive. */
function viewThatStays(device: OpenClDevice, ptr: DevicePtr, bytes: number): Uint8Array {
  using mapping = device.map(ptr, bytes);
  return mapping.view();
}

/** Lets V8 collect what is dropped, WeakRefs included: those hold for a turn of the event loop. */
async function collect(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  for (let turn = 0; turn < 3; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    gc();
  }
}

describe.skipIf(openCl.missing)(openCl.title('OpenClDevice'), () => {
  describe('constructor', () => {
    test.each([-1, 0.5, Number.NaN, 2 ** 53])('refuses a capacity of %s', (capacityBytes) => {
      expect(codeOf(() => new OpenClDevice({ capacityBytes }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });

    test('takes a path, and misses a library that is not there at the first use', () => {
      const device = new OpenClDevice({ libraryPath: '/nowhere/libOpenCL.so' });
      expect(() => device.deviceCount).toThrow(memoryError('ERR_MEM_DEVICE_ABSENT', { device: 'OpenCL' }));
      expect(() => device.nativeAlloc(64)).toThrow(/OpenCL is absent: \/nowhere\/libOpenCL.so/);
    });

    test('loads no native code', () => {
      const { stdout } = runChild(`
        import { OpenClDevice } from '${moduleUrl('adapters/devices/opencl/index.js')}';
        import { isKoffiLoaded } from '${moduleUrl('adapters/ffi/koffi.js')}';
        const device = new OpenClDevice();
        console.log(isKoffiLoaded());
        device.deviceCount;
        console.log(isKoffiLoaded());`);
      expect(stdout).toBe('false\ntrue\n');
    });

    test('takes the devices that are selected, and is absent when there is none', () => {
      const names = Array.from({ length: new OpenClDevice().deviceCount }, (_, id) => new OpenClDevice().facts(id).name);
      const some = new OpenClDevice({ select: ({ name }) => name === names.at(-1) });
      expect(some.deviceCount).toBe(names.filter((name) => name === names.at(-1)).length);
      expect(() => new OpenClDevice({ select: () => false }).deviceCount).toThrow(memoryError('ERR_MEM_DEVICE_ABSENT'));
    });

    test('is absent with the reason where the library knows no platform', () => {
      const source = `
        import { OpenClDevice } from '${moduleUrl('adapters/devices/opencl/index.js')}';
        try { new OpenClDevice().deviceCount } catch (error) { console.log(error.message) }`;
      const { stdout } = runChild(source, { env: { OCL_ICD_VENDORS: '/nowhere' } });
      expect(stdout).toBe('OpenCL is absent: no platform: CL_PLATFORM_NOT_FOUND_KHR\n');
    });

    test('is absent where the library is older than OpenCL 2.0', () => {
      // Any library without the functions will do.
      const error = /libm\.so\.6: .*clGetPlatformIDs/;
      expect(() => new OpenClDevice({ libraryPath: 'libm.so.6' }).deviceCount).toThrow(error);
    });
  });

  describe('facts', () => {
    test('tells what a device is', () => {
      const device = threadedDevice();
      expect(device.facts()).toMatchObject({ type: 'cpu', fineGrain: true, subBufferAlignment: 128 });
      expect(device.facts().version).toMatch(/^OpenCL \d/);
      // Memory of a CPU device is the host's, and a control group may allow less than there is.
      expect(device.getMaxMemorySize(0)).toBeLessThanOrEqual(maxMemoryBytes());
      expect(device.facts().maxAllocBytes).toBeLessThanOrEqual(device.getMaxMemorySize(0));
    });
  });

  describe('nativeAlloc', () => {
    test('keeps to the capacity of each device', () => {
      const device = new OpenClDevice({ capacityBytes: MiB });
      expect(device.memoryInfo(0)).toEqual({ freeBytes: MiB, totalBytes: MiB });
      const ptr = device.nativeAlloc(MiB - 64 * KiB);
      expect(device.nativeAlloc(64 * KiB + 1)).toBe(0);
      expect(device.memoryInfo(0).freeBytes).toBe(64 * KiB);
      device.activate(1);
      const other = device.nativeAlloc(MiB);
      expect([other > 0, device.liveBytes]).toEqual([true, 2 * MiB - 64 * KiB]);
      device.nativeFree(ptr);
      device.nativeFree(other);
      expect([device.liveBytes, device.memoryInfo(0).freeBytes, device.memoryInfo(1).freeBytes]).toEqual([0, MiB, MiB]);
      device.dispose();
    });

    test('answers 0 above what a device gives in one piece, though its budget has more', () => {
      const device = threadedDevice();
      const { maxAllocBytes, capacityBytes } = device.facts();
      expect(maxAllocBytes).toBeLessThan(capacityBytes);
      expect(device.nativeAlloc(maxAllocBytes + 1)).toBe(0);
      expect(device.memoryInfo(0).freeBytes).toBe(capacityBytes);
    });

    test('counts what a large alignment costs', () => {
      const device = new OpenClDevice({ capacityBytes: MiB });
      expect(device.nativeAlloc(64, 2 * MiB)).toBe(0);
      const ptr = device.nativeAlloc(64, 64 * KiB);
      expect(ptr % (64 * KiB)).toBe(0);
      expect(device.memoryInfo(0).freeBytes).toBe(MiB - 64 - 64 * KiB + 128);
      device.nativeFree(ptr);
      expect(device.memoryInfo(0).freeBytes).toBe(MiB);
    });
  });

  describe('nativeFree', () => {
    test('refuses a second free, and changes nothing', () => {
      const device = new OpenClDevice();
      const [first, second] = [device.nativeAlloc(100), device.nativeAlloc(200)];
      device.nativeFree(first);
      expect(() => device.nativeFree(first)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: first }));
      expect(device.liveBytes).toBe(200);
      device.nativeFree(second);
    });

    test('waits for work on the memory', () => {
      const device = threadedDevice();
      const calls = new ProgramCalls(device);
      const ptr = device.nativeAlloc(MiB);
      device.fill(ptr, 0, MiB);
      using stream = device.createStream();
      for (let i = 0; i < 20; i++) calls.add({ ptr }, MiB / 4, { n: 1, queue: device.queueOf(stream.id) });
      const event = stream.record();
      device.nativeFree(ptr);
      expect(event.isDone).toBe(true);
    });

    test('keeps memory as long as an array over it exists, and gives it back afterwards', async () => {
      const device = new OpenClDevice({ capacityBytes: MiB });
      const ptr = device.nativeAlloc(600 * KiB);
      let view: Uint8Array | undefined = viewThatStays(device, ptr, 600 * KiB);
      device.nativeFree(ptr);
      expect(device.keptBytes).toBe(600 * KiB);
      view.fill(1); // touches memory that is still there
      expect(device.nativeAlloc(500 * KiB)).toBe(0);
      const again = device.nativeAlloc(600 * KiB);
      expect([again, device.keptBytes]).toEqual([ptr, 0]);
      device.nativeFree(again);
      expect(device.keptBytes).toBe(600 * KiB);
      view = undefined;
      await collect();
      const other = device.nativeAlloc(500 * KiB);
      expect([other > 0, device.keptBytes]).toEqual([true, 0]);
      device.nativeFree(other);
    });
  });

  describe('copy', () => {
    test('goes from the host to a device, on, and back, at inner addresses', () => {
      const device = new OpenClDevice();
      const host = new CpuDevice();
      const outside = host.nativeAlloc(1000);
      host.view(outside, 1000).set(counting(1000));
      const [a, b] = [device.nativeAlloc(1000), device.nativeAlloc(1000)];
      const pinned = device.pinnedAlloc(1000);
      device.fill(a, 0, 1000);
      device.copy(at(a, 100), at(outside, 1), 800);
      device.copy(at(b, 3), at(a, 101), 700);
      device.copy(at(pinned, 50), at(b, 3), 700);
      expect(device.view(at(pinned, 50), 700)).toEqual(counting(1000).subarray(2, 702));
      device.copy(outside, pinned, 1000);
      expect(host.view(at(outside, 50), 700)).toEqual(counting(1000).subarray(2, 702));
      expect(bytesOf(device, a, 101)).toEqual(Uint8Array.from({ length: 101 }, (_, i) => (i === 100 ? 1 : 0)));
      for (const ptr of [a, b]) device.nativeFree(ptr);
      device.pinnedFree(pinned);
      host.nativeFree(outside);
    });

    test.each([1, 100, 1_000_000, 2_500_000])('moves overlapping ranges %i bytes apart either way', (distance) => {
      const device = new OpenClDevice();
      const bytes = 3_000_000;
      const ptr = device.nativeAlloc(bytes + distance);
      write(device, ptr, counting(bytes));
      device.copy(at(ptr, distance), ptr, bytes);
      expect(Buffer.compare(bytesOf(device, at(ptr, distance), bytes), counting(bytes))).toBe(0);
      device.copy(ptr, at(ptr, distance), bytes);
      expect(Buffer.compare(bytesOf(device, ptr, bytes), counting(bytes))).toBe(0);
      device.nativeFree(ptr);
    });

    test('goes from one device to another', () => {
      const device = new OpenClDevice();
      const ptrs = Array.from({ length: device.deviceCount }, (_, id) => {
        device.activate(id);
        return device.nativeAlloc(5000);
      });
      write(device, ptrs[0]!, counting(5000));
      for (const [i, ptr] of ptrs.entries()) if (i > 0) device.copy(ptr, ptrs[i - 1]!, 5000);
      expect(bytesOf(device, ptrs.at(-1)!, 5000)).toEqual(counting(5000));
      for (const ptr of ptrs) device.nativeFree(ptr);
    });

    test('refuses memory of neither, and a range that leaves its segment', () => {
      const device = new OpenClDevice();
      const ptr = device.nativeAlloc(64);
      const outside = new CpuDevice().nativeAlloc(64);
      expect(() => device.copy(outside, outside, 1)).toThrow(memoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: outside }));
      const facts = { offsetBytes: 60, bytes: 5, blockBytes: 64 };
      expect(() => device.copy(outside, at(ptr, 60), 5)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE', facts));
      expect(() => device.copy(at(ptr, -1), outside, 2)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
      device.nativeFree(ptr);
    });
  });

  describe('view', () => {
    test('shows mapped memory alone, as the rule is', () => {
      const device = new OpenClDevice();
      const ptr = device.nativeAlloc(1000);
      const error = memoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { platform: 'opencl' });
      expect(() => device.view(ptr, 1)).toThrow(error);
      {
        using mapping = device.map(at(ptr, 100), 200);
        expect(device.view(at(ptr, 100), 200)).toHaveLength(200);
        expect([mapping.ptr, mapping.bytes]).toEqual([ptr + 100, 200]);
        expect(() => device.view(at(ptr, 99), 2)).toThrow(error);
        expect(() => device.view(at(ptr, 299), 2)).toThrow(error);
      }
      expect(() => device.view(at(ptr, 100), 1)).toThrow(error);
      device.nativeFree(ptr);
    });
  });

  describe('map', () => {
    test('lets the host write what a kernel reads, and read what it wrote', () => {
      const device = threadedDevice();
      const ptr = device.nativeAlloc(4096);
      write(device, ptr, new Uint8Array(4096).fill(1));
      new ProgramCalls(device).add({ ptr: at(ptr, 1024) }, 256, { n: 0x01010101 });
      expect(bytesOf(device, ptr, 4096)).toEqual(Uint8Array.from({ length: 4096 }, (_, i) => (i >= 1024 && i < 2048 ? 2 : 1)));
      device.nativeFree(ptr);
    });

    test('refuses a byte that is mapped, no bytes, and an access that is none', () => {
      const device = new OpenClDevice();
      const ptr = device.nativeAlloc(1000);
      const mapping = device.map(ptr, 100);
      expect(() => device.map(at(ptr, 99), 10)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'ptr' }));
      device.map(at(ptr, 100), 10).dispose();
      expect(codeOf(() => device.map(ptr, 0))).toBe('ERR_MEM_INVALID_ARGUMENT');
      for (const memory of [ptr, device.pinnedAlloc(64)])
        expect(codeOf(() => device.map(at(memory, 500 * Number(memory === ptr)), 1, 'toString' as 'read'))).toBe(
          'ERR_MEM_INVALID_ARGUMENT',
        );
      expect(codeOf(() => device.map(ptr, 1001))).toBe('ERR_MEM_OUT_OF_RANGE');
      mapping.dispose();
      mapping.dispose();
      expect(codeOf(() => mapping.view())).toBe('ERR_MEM_DISPOSED');
      device.map(ptr, 1000).dispose();
      device.nativeFree(ptr);
    });

    test('ends with its memory', () => {
      const device = new OpenClDevice();
      const ptr = device.nativeAlloc(1000);
      const mapping = device.map(ptr, 100);
      device.nativeFree(ptr);
      expect(codeOf(() => mapping.view())).toBe('ERR_MEM_DISPOSED');
      mapping.dispose();
      const pinned = device.pinnedAlloc(100);
      const other = device.map(pinned, 100);
      expect(other.view()).toHaveLength(100);
      device.pinnedFree(pinned);
      expect(other.disposed).toBe(true);
    });
  });

  describe('pinnedAlloc', () => {
    test('hands memory out unpinned where the system refuses, and says so once', () => {
      const source = `
        import { OpenClDevice } from '${moduleUrl('adapters/devices/opencl/index.js')}';
        const device = new OpenClDevice();
        // Loads everything now: after the change of user nothing may be readable.
        device.nativeFree(device.nativeAlloc(64));
        device.pinnedFree(device.pinnedAlloc(64));
        if (process.getuid() === 0) { process.setgroups([]); process.setgid(65534); process.setuid(65534); }
        device.events.on('pin-failed', ({ reason }) => console.log(reason));
        const ptrs = [device.pinnedAlloc(100), device.pinnedAlloc(100000)];
        device.fill(ptrs[1], 7, 100000);
        console.log(device.view(ptrs[1], 100000)[99999], device.pinFailures);
        for (const ptr of ptrs) device.pinnedFree(ptr);`;
      const { stdout } = runChild(source, { shell: 'ulimit -l 0' });
      expect(stdout).toMatch(/^mlock failed: E(NOMEM|PERM|AGAIN).*\n7 2\n$/);
    });
  });

  describe('dispose', () => {
    test('refuses while a segment or a buffer is live, and lets the device be used again', () => {
      const device = new OpenClDevice();
      const ptr = device.nativeAlloc(64);
      expect(() => device.dispose()).toThrow(memoryError('ERR_MEM_DEVICE_BUSY', { device: 0, liveBlocks: 1 }));
      device.nativeFree(ptr);
      const buffer = device.createBuffer(64);
      expect(() => device.dispose()).toThrow(memoryError('ERR_MEM_DEVICE_BUSY', { device: 0, liveBlocks: 1 }));
      buffer.dispose();
      const stream = device.createStream();
      stream.record();
      device.dispose();
      expect([device.streams.liveStreams, device.streams.liveEvents]).toEqual([0, 0]);
      stream[Symbol.dispose]();
      device.nativeFree(device.nativeAlloc(64));
      device.dispose();
    });
  });
});
