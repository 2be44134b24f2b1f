import { afterEach, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { type Allocation, type Device, KiB, MemoryRuntime } from '../../src/index.js';
import { memoryError } from '../core/fakes.js';
import { HiddenDevice } from './hidden-device.js';

const open: MemoryRuntime[] = [];

function runtimeOver(device: Device): MemoryRuntime {
  const runtime = new MemoryRuntime(device, { exitReport: false });
  open.push(runtime);
  return runtime;
}

afterEach(() => {
  for (const runtime of open.splice(0)) runtime.close();
});

/** A block of the numbers from 0 on, as bytes. */
function counting(runtime: MemoryRuntime, bytes: number): Allocation {
  const block = runtime.allocate(bytes);
  block.copyFrom(Uint8Array.from({ length: bytes }, (_, i) => i));
  return block;
}

const contentOf = (block: Allocation) => [...new Uint8Array(block.toBuffer())];

describe.each([
  ['that the host sees', () => new CpuDevice()],
  ['that the host cannot see', () => new HiddenDevice()],
])('Allocation, of memory %s', (_, makeDevice) => {
  describe('copyFrom', () => {
    test.each<[string, ArrayBufferView | ArrayBufferLike]>([
      ['a Uint8Array', Uint8Array.of(1, 2, 3, 4)],
      ['a part of an array', Uint8Array.of(9, 1, 2, 3, 4, 9).subarray(1, 5)],
      ['a Uint16Array', new Uint16Array(Uint8Array.of(1, 2, 3, 4).buffer)],
      ['a DataView', new DataView(Uint8Array.of(9, 1, 2, 3, 4).buffer, 1)],
      ['a Buffer', Buffer.from([1, 2, 3, 4])],
      ['an ArrayBuffer', Uint8Array.of(1, 2, 3, 4).buffer],
      ['a SharedArrayBuffer', new Uint8Array(new SharedArrayBuffer(4)).map((_, i) => i + 1).buffer],
    ])('takes %s, and an offset counts bytes', (_, source) => {
      const block = runtimeOver(makeDevice()).allocate(6, { zero: true });
      block.copyFrom(source, { offsetBytes: 1 });
      expect(contentOf(block)).toEqual([0, 1, 2, 3, 4, 0]);
      block.copyFrom(source, { sourceOffsetBytes: 3 });
      expect(contentOf(block)).toEqual([4, 1, 2, 3, 4, 0]);
      block.copyFrom(source, { offsetBytes: 4, bytes: 2 });
      expect(contentOf(block)).toEqual([4, 1, 2, 3, 1, 2]);
    });

    test('copies as much as both hold, or as told, from another block', () => {
      const runtime = runtimeOver(makeDevice());
      const [source, target] = [counting(runtime, 100), runtime.allocate(50, { zero: true })];
      target.copyFrom(source, { bytes: 2 });
      expect(contentOf(target).slice(0, 4)).toEqual([0, 1, 0, 0]);
      target.copyFrom(source, { sourceOffsetBytes: 90 });
      expect(contentOf(target).slice(8, 12)).toEqual([98, 99, 0, 0]);
      target.copyFrom(source);
      expect(contentOf(target)).toEqual(Array.from({ length: 50 }, (_, i) => i));
      source.copyFrom(target, { offsetBytes: 40, sourceOffsetBytes: 10, bytes: 5 });
      expect(contentOf(source).slice(38, 47)).toEqual([38, 39, 10, 11, 12, 13, 14, 45, 46]);
    });

    test.each([
      [0, 3],
      [3, 0],
    ])('moves an overlapping range of one block from %i to %i', (sourceOffsetBytes, offsetBytes) => {
      const block = counting(runtimeOver(makeDevice()), 12);
      const wanted = contentOf(block);
      wanted.copyWithin(offsetBytes, sourceOffsetBytes, sourceOffsetBytes + 8);
      block.copyFrom(block, { offsetBytes, sourceOffsetBytes, bytes: 8 });
      expect(contentOf(block)).toEqual(wanted);
    });

    test('copies from a block of another device, which the host may see or not', () => {
      const block = runtimeOver(makeDevice()).allocate(5000);
      for (const other of [new CpuDevice(), new HiddenDevice()].map((device) => counting(runtimeOver(device), 5000))) {
        block.fill(0);
        block.copyFrom(other, { sourceOffsetBytes: 1 });
        expect(contentOf(block).slice(-2)).toEqual([4999 & 255, 0]);
        other.fill(7);
        block.copyTo(other, { bytes: 1 });
        expect(contentOf(other).slice(0, 2)).toEqual([1, 7]);
      }
    });

    test.each([
      [{ bytes: 51 }, 50],
      [{ bytes: -1 }, 50],
      [{ bytes: 0.5 }, 50],
      [{ offsetBytes: 51 }, 50],
      [{ offsetBytes: -1 }, 50],
      [{ offsetBytes: Number.NaN }, 50],
      [{ sourceOffsetBytes: 101 }, 100],
      [{ sourceOffsetBytes: 90, bytes: 11 }, 100],
      [{ sourceOffsetBytes: -1, bytes: 5 }, 100],
    ])('refuses %o, and copies nothing', (options, blockBytes) => {
      const runtime = runtimeOver(makeDevice());
      const block = runtime.allocate(50, { zero: true });
      for (const source of [counting(runtime, 100), new Uint8Array(100).fill(1)]) {
        expect(() => block.copyFrom(source, options)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE', { blockBytes }));
      }
      expect(contentOf(block)).toEqual(new Array(50).fill(0));
    });

    test('copies nothing for 0 bytes, from nothing and to nothing', () => {
      const runtime = runtimeOver(makeDevice());
      const [block, empty] = [runtime.allocate(8, { zero: true }), runtime.allocate(0)];
      block.copyFrom(empty);
      block.copyFrom(new Uint8Array(0), { offsetBytes: 8 });
      empty.copyFrom(Uint8Array.of(1));
      block.copyFrom(Uint8Array.of(1), { bytes: 0 });
      expect(contentOf(block)).toEqual(new Array(8).fill(0));
      expect(() => empty.copyFrom(Uint8Array.of(1), { bytes: 1 })).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
    });
  });

  describe('copyTo', () => {
    test('copies to what JavaScript holds', () => {
      const block = counting(runtimeOver(makeDevice()), 10);
      const [numbers, view, buffer] = [new Uint16Array(4), new DataView(new ArrayBuffer(8), 2), Buffer.alloc(6, 9)];
      block.copyTo(numbers, { offsetBytes: 4, targetOffsetBytes: 2, bytes: 4 });
      expect([...new Uint8Array(numbers.buffer)]).toEqual([0, 0, 4, 5, 6, 7, 0, 0]);
      block.copyTo(view, { offsetBytes: 7 });
      expect([...new Uint8Array(view.buffer)]).toEqual([0, 0, 7, 8, 9, 0, 0, 0]);
      block.copyTo(buffer, { targetOffsetBytes: 4 });
      expect([...buffer]).toEqual([9, 9, 9, 9, 0, 1]);
      block.copyTo(buffer.buffer, { targetOffsetBytes: buffer.byteOffset });
      expect([...buffer]).toEqual([0, 1, 2, 3, 4, 5]);
    });

    test('is copyFrom of the other block', () => {
      const runtime = runtimeOver(makeDevice());
      const [block, target] = [counting(runtime, 10), runtime.allocate(6, { zero: true })];
      block.copyTo(target, { offsetBytes: 8, targetOffsetBytes: 3 });
      expect(contentOf(target)).toEqual([0, 0, 0, 8, 9, 0]);
      expect(() => block.copyTo(target, { bytes: 7 })).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE', { blockBytes: 6 }));
      expect(() => block.copyTo(target, { targetOffsetBytes: 7 })).toThrow(
        memoryError('ERR_MEM_OUT_OF_RANGE', { blockBytes: 6 }),
      );
    });
  });
});

describe('Allocation', () => {
  describe('copyFrom, copyTo', () => {
    test('refuse what holds no bytes, and options that nobody reads', () => {
      const block = runtimeOver(new CpuDevice()).allocate(8);
      for (const nothing of [undefined, null, 8, 'text', [1, 2], {}] as unknown as Uint8Array[]) {
        expect(() => block.copyFrom(nothing)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'source' }));
        expect(() => block.copyTo(nothing)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'target' }));
      }
      const misspelt = { offset: 1 } as object;
      expect(() => block.copyFrom(block, misspelt)).toThrow('did you mean "offsetBytes"?');
      expect(() => block.copyTo(block, misspelt)).toThrow('did you mean "offsetBytes"?');
      expect(() => block.copyFrom(block, 4 as unknown as object)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT'));
    });

    test('check the ranges that a simulated device has no data for', () => {
      const device = new SimulatedDevice();
      const block = runtimeOver(device).allocate(1 * KiB);
      block.copyFrom(new Uint8Array(100));
      block.copyTo(new Uint8Array(100));
      expect(device.counts.copy).toBe(2);
      expect(() => block.copyTo(new Uint8Array(100), { offsetBytes: 1000, bytes: 25 })).toThrow(
        memoryError('ERR_MEM_OUT_OF_RANGE'),
      );
    });
  });
});
