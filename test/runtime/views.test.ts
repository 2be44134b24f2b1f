import { afterEach, describe, expect, expectTypeOf, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager, PoolMemoryManager } from '../../managers/index.js';
import { MemoryManagerDeviceInterface, MemoryRuntime, MiB } from '../../src/index.js';
import { memoryError } from '../core/fakes.js';

const open: MemoryRuntime[] = [];

function runtimeOver<D extends CpuDevice | SimulatedDevice>(device: D): { device: D; runtime: MemoryRuntime } {
  const runtime = new MemoryRuntime(device, { exitReport: false });
  open.push(runtime);
  return { device, runtime };
}
const simulated = (deviceCount = 1) => runtimeOver(new SimulatedDevice({ deviceCount, capacityBytes: 100 * MiB }));
const cpu = () => runtimeOver(new CpuDevice()).runtime;

afterEach(() => {
  for (const runtime of open.splice(0)) {
    runtime.close();
    expect(runtime.slot.nativeFrees).toBe(runtime.slot.nativeAllocs);
  }
});

describe('Allocation', () => {
  describe('view', () => {
    test('shows the block without a copy, as any typed array', () => {
      const block = cpu().allocate(1000);
      block.view(Float64Array).fill(1.5);
      expect(block.view(Float64Array)).toHaveLength(125);
      expect(block.view(Uint8Array, 8, 8)).toEqual(new Uint8Array(Float64Array.of(1.5).buffer));
      expect(block.view(Float32Array, 996)).toHaveLength(1);
      expect(block.view(BigUint64Array, 1000)).toHaveLength(0);
      block.view(Uint8Array, 999, 1)[0] = 42;
      expect(block.view(Uint8Array)[999]).toBe(42);
    });

    test.each([0.5, 1.5])('refuses a length of %d elements, which may be whole bytes', (length) => {
      const block = cpu().allocate(1000);
      expect(() => block.view(Float64Array, 0, length)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'length' }));
    });

    test.each([[null], ['f32'], [Array], [Map], [{}], [new Uint8Array(1)]])(
      'refuses %o, which is no class of arrays over memory',
      (type) => {
        const block = cpu().allocate(1000);
        expect(() => block.view(type as never)).toThrow(memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'type' }));
      },
    );

    test.each([
      [-8, undefined],
      [1008, undefined],
      [0, 126],
      [992, 2],
      [0, -1],
      [0.5, 1],
      [0, 1.3],
      [Number.NaN, undefined],
      [0, Number.POSITIVE_INFINITY],
    ])('refuses an offset of %d with a length of %d', (offset, length) => {
      const block = cpu().allocate(1000);
      expect(() => block.view(Float64Array, offset, length)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE', { blockBytes: 1000 }));
    });

    test('refuses an offset that the element is not aligned to', () => {
      const block = cpu().allocate(1000);
      const error = memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'offsetBytes', value: '4' });
      expect(() => block.view(Float64Array, 4, 1)).toThrow(error);
      expect(block.view(Float32Array, 4, 1)).toHaveLength(1);
    });

    test('gives bytes, a DataView and a Buffer, too, each the same one every time', () => {
      const block = cpu().allocate(1000);
      const [bytes, data, buffer] = [block.view(), block.view(DataView), block.view(Buffer)];
      expectTypeOf(bytes).toEqualTypeOf<Uint8Array>();
      expectTypeOf(data).toEqualTypeOf<DataView>();
      expectTypeOf(buffer).toEqualTypeOf<Buffer<ArrayBuffer>>();
      expectTypeOf(block.view(BigInt64Array)).toExtend<BigInt64Array>();
      expectTypeOf(block.view(Buffer, 8, 4)).toExtend<Buffer>();
      data.setInt16(998, 0x4142);
      expect([bytes.length, bytes[998], buffer.toString('latin1', 998)]).toEqual([1000, 0x41, 'AB']);
      expect(block.view(BigInt64Array)).toHaveLength(125);
      expect([bytes.constructor, Buffer.isBuffer(buffer), data.byteLength]).toEqual([Uint8Array, true, 1000]);
      for (const type of [Uint8Array, DataView, Buffer, BigInt64Array] as (typeof Uint8Array)[]) {
        expect(block.view(type)).toBe(block.view(type));
        expect(block.view(type, 998 - (998 % 8))).toMatchObject({ byteOffset: bytes.byteOffset + 992, byteLength: 8 });
      }
      expect(block.view()).toBe(block.view(Uint8Array));
      expect(block.view(undefined, 990)).toHaveLength(10);
      expect(block.view(DataView, 1, 3).byteLength).toBe(3);
      expect(() => block.view(Buffer, 1, 1000)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
      expect([block.view(Buffer, 1000), block.view(DataView, 1000)].map(({ byteLength }) => byteLength)).toEqual([0, 0]);
    });

    test('throws when the host cannot see the memory', () => {
      const block = simulated().runtime.allocate(100);
      expect(() => block.view(Uint8Array)).toThrow(memoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { platform: 'simulated' }));
    });

    test('stays safe to touch after the block is freed', () => {
      const runtime = cpu();
      const block = runtime.allocate(30 * MiB);
      const view = block.view(Uint8Array);
      block.dispose();
      runtime.close();
      view[0] = 1;
      view[30 * MiB - 1] = 1;
      expect(view).toHaveLength(30 * MiB);
    });
  });

  describe('toBuffer', () => {
    test.each([CachingMemoryManager, PoolMemoryManager])(
      'holds the bytes of the block alone, so that it can be cloned (%o)',
      (Manager) => {
        const runtime = cpu();
        runtime.slot.install(new Manager(1, new MemoryManagerDeviceInterface()));
        const block = runtime.allocate(100);
        const other = runtime.allocate(64);
        block.fill(7);
        other.fill(0x55);
        expect(block.view(Uint8Array).buffer.byteLength).toBeGreaterThan(100);
        expect(new Uint8Array(structuredClone(block.toBuffer()))).toEqual(new Uint8Array(100).fill(7));
        expect(new Uint8Array(block.toBuffer(90))).toEqual(new Uint8Array(10).fill(7));
        expect(block.toBuffer(4, 8).byteLength).toBe(8);
        expect(() => block.toBuffer(90, 11)).toThrow(memoryError('ERR_MEM_OUT_OF_RANGE'));
        block.dispose();
        other.dispose();
      },
    );
  });
});
