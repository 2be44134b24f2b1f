import { describe, expect, test } from 'vitest';
import { OpenClDevice } from '../../../adapters/devices/opencl/index.js';
import { type DevicePtr, devicePtr, KiB, MiB } from '../../../src/core/units.js';
import { memoryError } from '../../core/fakes.js';
import { codeOf } from '../../fixtures/code-of.js';
import { bytesOf, openCl, threadedDevice } from '../../fixtures/opencl.js';
import { ProgramCalls } from '../../fixtures/opencl-calls.js';

const at = (ptr: DevicePtr, offset: number) => devicePtr(ptr + offset);
const counting = (bytes: number) => Uint8Array.from({ length: bytes }, (_, i) => i % 251);

describe.skipIf(openCl.missing)(openCl.title('OpenClBuffer'), () => {
  test('is written, copied, filled and read, on every device', () => {
    const device = new OpenClDevice();
    for (let id = 0; id < device.deviceCount; id++) {
      device.activate(id);
      using first = device.createBuffer(1000);
      using second = device.createBuffer(500);
      first.write(counting(1000));
      first.copyTo(second, { sourceOffset: 100, targetOffset: 50, bytes: 400 });
      second.fill(7, 0, 50);
      second.fill(8, 450);
      const read = new Uint8Array(500);
      second.read(read);
      expect(read).toEqual(Uint8Array.from({ length: 500 }, (_, i) => (i < 50 ? 7 : i >= 450 ? 8 : (i + 50) % 251)));
      expect(first.device).toBe(id);
    }
    device.dispose();
  });

  test('refuses what lies outside of it, what is another device’s, and everything once it is disposed of', () => {
    const device = new OpenClDevice();
    using buffer = device.createBuffer(100);
    device.activate(1);
    const other = device.createBuffer(100);
    const outside = (offsetBytes: number, bytes: number) =>
      memoryError('ERR_MEM_OUT_OF_RANGE', { offsetBytes, bytes, blockBytes: 100 });
    expect(() => buffer.write(new Uint8Array(2), 99)).toThrow(outside(99, 2));
    expect(() => buffer.read(new Uint8Array(101))).toThrow(outside(0, 101));
    expect(() => buffer.fill(0, -1, 1)).toThrow(outside(-1, 1));
    expect(() => buffer.fill(0, 0.5, 1)).toThrow(outside(0.5, 1));
    expect(() => buffer.fill(256)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'value' }));
    expect(() => buffer.copyTo(buffer, { sourceOffset: 101 })).toThrow(outside(101, -1));
    expect(() => buffer.copyTo(buffer, { targetOffset: 50 })).toThrow(outside(50, 100));
    expect(() => buffer.copyTo(buffer, { targetOffset: 1, bytes: 50 })).toThrow(
      memoryError('ERR_MEM_NATIVE', { functionName: 'clEnqueueCopyBuffer', statusName: 'CL_MEM_COPY_OVERLAP', status: -8 }),
    );
    expect(() => buffer.copyTo(other)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'target' }));
    other.dispose();
    other.dispose();
    expect(codeOf(() => other.read(new Uint8Array(1)))).toBe('ERR_MEM_DISPOSED');
    expect(codeOf(() => buffer.copyTo(other))).toBe('ERR_MEM_DISPOSED');
  });

  describe('createBuffer', () => {
    test('keeps to the budget, which segments and buffers share', () => {
      const device = new OpenClDevice({ capacityBytes: MiB });
      const ptr = device.nativeAlloc(600 * KiB);
      const facts = { requestedBytes: 500 * KiB, allocatedBytes: 600 * KiB, capacityBytes: MiB, device: 0 };
      expect(() => device.createBuffer(500 * KiB)).toThrow(memoryError('ERR_MEM_OUT_OF_MEMORY', facts));
      const buffer = device.createBuffer(400 * KiB);
      expect(device.nativeAlloc(50 * KiB)).toBe(0);
      buffer.dispose();
      expect(device.memoryInfo(0).freeBytes).toBe(MiB - 600 * KiB);
      device.nativeFree(ptr);
    });

    test('refuses sizes that are none', () => {
      const device = new OpenClDevice();
      expect(codeOf(() => device.createBuffer(-1))).toBe('ERR_MEM_INVALID_SIZE');
      const error = memoryError('ERR_MEM_NATIVE', { functionName: 'clCreateBuffer', statusName: 'CL_INVALID_BUFFER_SIZE' });
      expect(() => device.createBuffer(0)).toThrow(error);
      expect(codeOf(() => device.createBuffer(device.facts().maxAllocBytes + 1))).toBe('ERR_MEM_OUT_OF_MEMORY');
    });
  });

  describe('subBuffer', () => {
    test('is a part of the same memory', () => {
      const device = threadedDevice();
      using buffer = device.createBuffer(1024);
      buffer.fill(1);
      using part = buffer.subBuffer(128, 256);
      new ProgramCalls(device).add({ buffer: part.handle }, 64, { n: 0x01010101 });
      const read = new Uint8Array(1024);
      buffer.read(read);
      expect(read).toEqual(Uint8Array.from({ length: 1024 }, (_, i) => (i >= 128 && i < 384 ? 2 : 1)));
    });

    test('starts at a multiple of 128, inside, and is no part of a part', () => {
      using buffer = threadedDevice().createBuffer(1024);
      expect(() => buffer.subBuffer(64, 128)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'offset', value: '64' }));
      expect(codeOf(() => buffer.subBuffer(1024, 128))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => buffer.subBuffer(0, 0))).toBe('ERR_MEM_NATIVE');
      using part = buffer.subBuffer(0, 512);
      expect(codeOf(() => part.subBuffer(0, 128))).toBe('ERR_MEM_NATIVE');
    });

    test('ends with the buffer at the latest', () => {
      const device = threadedDevice();
      const buffer = device.createBuffer(1024);
      const parts = [buffer.subBuffer(0, 128), buffer.subBuffer(128, 128)];
      parts[0]!.dispose();
      buffer.dispose();
      expect(parts.map(({ disposed }) => disposed)).toEqual([true, true]);
      device.dispose();
    });
  });

  describe('bufferOver', () => {
    test('is the memory itself: pinned memory', () => {
      const device = threadedDevice();
      const pinned = device.pinnedAlloc(4096);
      device.view(pinned, 4096).fill(1);
      using buffer = device.bufferOver(at(pinned, 1024), 1024);
      new ProgramCalls(device).add({ buffer: buffer.handle }, 256, { n: 0x01010101 });
      {
        using mapping = buffer.map('read');
        expect(mapping.view()).toEqual(new Uint8Array(1024).fill(2));
      }
      expect(device.view(pinned, 4096)).toEqual(Uint8Array.from({ length: 4096 }, (_, i) => (i >= 1024 && i < 2048 ? 2 : 1)));
      expect(device.memoryInfo(0).freeBytes).toBe(device.getMaxMemorySize(0));
      device.pinnedFree(pinned);
      expect(buffer.disposed).toBe(true);
    });

    test('is the memory itself: a part of a segment', () => {
      const device = threadedDevice();
      const ptr = device.nativeAlloc(4096);
      device.fill(ptr, 1, 4096);
      const buffer = device.bufferOver(at(ptr, 1024), 1024);
      new ProgramCalls(device).add({ buffer: buffer.handle }, 256, { n: 0x01010101 });
      {
        using mapping = buffer.map();
        expect(device.view(at(ptr, 1024), 1024)).toEqual(new Uint8Array(1024).fill(2));
        expect(codeOf(() => buffer.map())).toBe('ERR_MEM_INVALID_ARGUMENT');
        expect(codeOf(() => device.map(ptr, 4096))).toBe('ERR_MEM_INVALID_ARGUMENT');
        mapping.view().fill(9);
      }
      expect(codeOf(() => device.view(at(ptr, 1024), 1))).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
      const wanted = Uint8Array.from({ length: 4096 }, (_, i) => (i >= 1024 && i < 2048 ? 9 : 1));
      expect(bytesOf(device, ptr, 4096)).toEqual(wanted);
      const mapping = buffer.map('read');
      device.nativeFree(ptr);
      expect([buffer.disposed, mapping.disposed]).toEqual([true, true]);
    });

    test('refuses memory of nobody, what leaves its segment, and a map of a buffer with memory of its own', () => {
      const device = new OpenClDevice();
      const ptr = device.nativeAlloc(1000);
      expect(codeOf(() => device.bufferOver(devicePtr(4096), 100))).toBe('ERR_MEM_UNKNOWN_POINTER');
      expect(codeOf(() => device.bufferOver(ptr, 1001))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => device.bufferOver(ptr, 0))).toBe('ERR_MEM_INVALID_ARGUMENT');
      using buffer = device.createBuffer(64);
      expect(codeOf(() => buffer.map())).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
      device.nativeFree(ptr);
    });
  });
});
