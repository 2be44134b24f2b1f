import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../../adapters/devices/simulated.js';
import { type Device, KiB, MemoryRuntime } from '../../../src/index.js';
import type { BackendBuffer } from '../../../src/model/buffers/backend-buffer.js';
import { BackendBufferType } from '../../../src/model/buffers/backend-buffer.js';
import type { ContextTensor } from '../../../src/model/context/context-tensor.js';
import { MemoryContext } from '../../../src/model/context/memory-context.js';
import { TensorPool } from '../../../src/model/tensors/tensor-pool.js';
import { codeOf } from '../../fixtures/code-of.js';
import { GpuFixture } from '../../fixtures/gpu-fixture.js';

const cuda = new GpuFixture('cuda');
const hip = new GpuFixture('hip');
const open: { close(): unknown }[] = [];
afterEach(() => {
  for (const one of open.splice(0).reverse()) one.close();
});

function typeOver(device: Device, options: { device?: number; alignment?: number } = {}): BackendBufferType {
  const runtime = new MemoryRuntime(device);
  open.push(runtime);
  return new BackendBufferType(runtime, options);
}

/** A buffer with one tensor of 8 floats at 128. */
function bufferWithTensor(type: BackendBufferType): { buffer: BackendBuffer; tensor: ContextTensor } {
  const buffer = type.allocBuffer(KiB);
  const tensor = new MemoryContext({ memSize: 0, noAlloc: true }).newTensor('f32', [2, 4], 'a');
  buffer.initTensor(tensor, 128);
  return { buffer, tensor };
}

const numbers = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8);

describe.each<[string, () => Device]>([
  ['CpuDevice', () => new CpuDevice()],
  ['CudaDevice', () => cuda.fresh()],
  ['HipDevice', () => hip.fresh()],
])('BackendBuffer over %s', (_, makeDevice) => {
  test('reads what was written, in part and as a whole', () => {
    const { buffer, tensor } = bufferWithTensor(typeOver(makeDevice()));
    buffer.clear();
    expect(tensor.ptr).toBe(buffer.getBase() + 128);
    buffer.setTensor(tensor, numbers);
    buffer.setTensor(tensor, Float32Array.of(40, 50, 60), 12, 8);
    const all = new Float32Array(8);
    buffer.getTensor(tensor, all);
    expect(all).toEqual(Float32Array.of(1, 2, 3, 40, 50, 6, 7, 8));
    const part = new Float32Array(4);
    buffer.getTensor(tensor, part.subarray(1), 16, 8);
    expect(part).toEqual(Float32Array.of(0, 50, 6, 0));
    expect(tensor.slice(0, 1, 2).transpose().toArray()).toEqual(Float32Array.of(50, 6, 7, 8));
  });

  test('clears all of its bytes', () => {
    const { buffer, tensor } = bufferWithTensor(typeOver(makeDevice()));
    buffer.clear(255);
    expect(tensor.toBytes()).toEqual(new Uint8Array(32).fill(255));
    buffer.clear();
    expect(tensor.toBytes()).toEqual(new Uint8Array(32));
  });

  test('copies within itself, and from and to memory of the host', () => {
    const { buffer, tensor } = bufferWithTensor(typeOver(makeDevice()));
    const other = new MemoryContext({ memSize: 0, noAlloc: true }).newTensor('f32', [2, 4]);
    buffer.initTensor(other, 256);
    buffer.setTensor(tensor, numbers);
    expect([buffer.cpyTensor(tensor, other), other.toArray()]).toEqual([true, numbers]);
    const host = bufferWithTensor(typeOver(new CpuDevice()));
    expect([host.buffer.cpyTensor(other, host.tensor), host.tensor.toArray()]).toEqual([true, numbers]);
    host.buffer.clear();
    expect([buffer.cpyTensor(host.tensor, tensor), tensor.toArray()]).toEqual([true, new Float32Array(8)]);
    // A view of the device's tensor, and a tensor of a pool.
    const runtime = new MemoryRuntime(new CpuDevice());
    open.push(runtime);
    using pooled = new TensorPool(runtime).from('f32', [4], Float32Array.of(9, 8, 7, 6));
    expect(buffer.cpyTensor(pooled, other.slice(0, 1, 2).reshape([4]))).toBe(true);
    expect(other.toArray()).toEqual(Float32Array.of(1, 2, 3, 4, 9, 8, 7, 6));
  });

  test('reaches no byte outside the tensor, and none behind the data', () => {
    const { buffer, tensor } = bufferWithTensor(typeOver(makeDevice()));
    buffer.clear(7);
    const data = new Uint8Array(64);
    for (const [offset, size, code] of [
      [0, 33, 'ERR_MEM_OUT_OF_RANGE'],
      [32, 1, 'ERR_MEM_OUT_OF_RANGE'],
      [-1, 1, 'ERR_MEM_OUT_OF_RANGE'],
      [0, -1, 'ERR_MEM_OUT_OF_RANGE'],
      [0.5, 1, 'ERR_MEM_OUT_OF_RANGE'],
      [0, Number.NaN, 'ERR_MEM_OUT_OF_RANGE'],
      [2 ** 52, 2 ** 52, 'ERR_MEM_OUT_OF_RANGE'],
    ] as const) {
      expect(codeOf(() => buffer.setTensor(tensor, data, offset, size))).toBe(code);
      expect(codeOf(() => buffer.getTensor(tensor, data, offset, size))).toBe(code);
    }
    expect(codeOf(() => buffer.setTensor(tensor, data.subarray(0, 3), 0, 4))).toBe('ERR_MEM_OUT_OF_RANGE');
    expect(codeOf(() => buffer.getTensor(tensor, data.subarray(0, 3), 0, 4))).toBe('ERR_MEM_OUT_OF_RANGE');
    expect([tensor.toBytes(), data]).toEqual([new Uint8Array(32).fill(7), new Uint8Array(64)]);
  });

  test('ends its tensors when it is freed', () => {
    const { buffer, tensor } = bufferWithTensor(typeOver(makeDevice()));
    buffer.dispose();
    buffer.dispose();
    expect(buffer.disposed).toBe(true);
    const uses = [() => buffer.getBase(), () => buffer.clear(), () => tensor.ptr, () => buffer.setTensor(tensor, numbers)];
    for (const use of uses) expect(codeOf(use)).toBe('ERR_MEM_DISPOSED');
  });
});

describe('BackendBuffer', () => {
  test('copies between two makers’ cards by way of the host', () => {
    const from = bufferWithTensor(typeOver(cuda.fresh()));
    const to = bufferWithTensor(typeOver(hip.fresh()));
    from.buffer.setTensor(from.tensor, numbers);
    to.buffer.clear();
    expect([to.buffer.cpyTensor(from.tensor, to.tensor), to.tensor.toArray()]).toEqual([false, new Float32Array(8)]);
    to.tensor.copyFrom(from.tensor);
    expect(to.tensor.toArray()).toEqual(numbers);
  });

  test('copies more than one piece by way of the host', () => {
    const bytes = 9 * KiB * KiB + 5;
    const context = new MemoryContext({ memSize: 0, noAlloc: true });
    const [source, target] = [context.newTensor('u8', [bytes]), context.newTensor('u8', [bytes])];
    const from = typeOver(cuda.fresh()).allocBuffer(bytes);
    from.initTensor(source, 0);
    typeOver(hip.fresh()).allocBuffer(bytes).initTensor(target, 0);
    const data = Buffer.alloc(bytes, 'stowage');
    from.setTensor(source, data);
    target.copyFrom(source);
    expect(Buffer.compare(target.toBytes(), data)).toBe(0);
  });

  test('tells whether the host sees it', () => {
    expect([new CpuDevice(), cuda.fresh()].map((device) => typeOver(device).allocBuffer(64).isHost)).toEqual([true, false]);
  });

  test('on a device without memory copies and clears are counted', () => {
    const device = new SimulatedDevice();
    const { buffer, tensor } = bufferWithTensor(typeOver(device));
    const other = new MemoryContext({ memSize: 0, noAlloc: true }).newTensor('f32', [2, 4]);
    buffer.initTensor(other, 512);
    buffer.clear();
    expect(buffer.cpyTensor(tensor, other)).toBe(true);
    expect([device.counts.fill, device.counts.copy]).toEqual([1, 1]);
    buffer.setTensor(tensor, numbers);
    buffer.getTensor(tensor, new Uint8Array(4));
    expect(device.counts.copy).toBe(3);
  });

  describe('initTensor', () => {
    const [simulated, cpu] = [new MemoryRuntime(new SimulatedDevice()), new MemoryRuntime(new CpuDevice())];
    const { buffer, tensor } = bufferWithTensor(new BackendBufferType(simulated));
    const context = new MemoryContext({ memSize: KiB, runtime: cpu });
    const inContext = context.newTensor('f32', [1]);
    const reset = new MemoryContext({ memSize: 0, noAlloc: true });
    const ended = reset.newTensor('f32', [1]);
    reset.reset();
    afterAll(() => {
      cpu.close();
      simulated.close();
    });

    test.each<[string, () => unknown, string]>([
      ['an offset that is not aligned', () => buffer.initTensor(tensor, 64), 'ERR_MEM_INVALID_ARGUMENT'],
      ['an offset beyond the end', () => buffer.initTensor(tensor, 1024), 'ERR_MEM_OUT_OF_RANGE'],
      ['a negative offset', () => buffer.initTensor(tensor, -128), 'ERR_MEM_OUT_OF_RANGE'],
      ['a view', () => buffer.initTensor(tensor.slice(0, 0, 1), 0), 'ERR_MEM_INVALID_ARGUMENT'],
      ['a tensor with data in its context', () => buffer.initTensor(inContext, 0), 'ERR_MEM_INVALID_ARGUMENT'],
      ['a tensor that has ended', () => buffer.initTensor(ended, 0), 'ERR_MEM_DISPOSED'],
    ])('refuses %s', (_, init, code) => {
      expect(codeOf(init)).toBe(code);
      expect(tensor.ptr).toBe(buffer.getBase() + 128);
    });
  });

  test('has nothing to do with tensors elsewhere, and copies none of another type or shape', () => {
    const type = typeOver(new CpuDevice());
    const { buffer, tensor } = bufferWithTensor(type);
    const other = bufferWithTensor(type);
    const integers = new MemoryContext({ memSize: 0, noAlloc: true }).newTensor('i32', [2, 4]);
    buffer.initTensor(integers, 256);
    expect([buffer.holds(tensor), buffer.holds(other.tensor)]).toEqual([true, false]);
    for (const use of [
      () => buffer.setTensor(other.tensor, numbers),
      () => buffer.getTensor(other.tensor, numbers),
      () => buffer.cpyTensor(tensor, other.tensor),
      () => buffer.cpyTensor(integers, tensor),
      () => buffer.cpyTensor(other.tensor.reshape([8]), tensor),
      () => buffer.cpyTensor(other.tensor.reshape([4, 2]).transpose(), tensor),
    ]) {
      expect(codeOf(use)).toBe('ERR_MEM_INVALID_ARGUMENT');
    }
  });
});

describe('BackendBufferType', () => {
  test('makes buffers on its device, by its manager', () => {
    const device = new SimulatedDevice({ deviceCount: 2, capacityBytes: [4 * KiB, 64 * KiB * KiB] });
    const type = typeOver(device, { device: 1, alignment: 4096 });
    using buffer = type.allocBuffer(100);
    expect([type.name, type.getMaxSize(), buffer.getBase() % 4096]).toEqual(['simulated1', 64 * KiB * KiB, 0]);
    expect([device.liveBytesOf(0), device.liveBytesOf(1) > 0, device.activeDeviceId]).toEqual([0, true, 0]);
    expect(codeOf(() => typeOver(device, { alignment: 48 }))).toBe('ERR_MEM_INVALID_ALIGNMENT');
    expect(codeOf(() => typeOver(device, { device: 2 }).allocBuffer(1))).toBe('ERR_MEM_INVALID_DEVICE');
  });

  test('places all tensors of a context that have no data', () => {
    const type = typeOver(new CpuDevice());
    const context = new MemoryContext({ memSize: 0, noAlloc: true });
    const tensors = [context.newTensor('f32', [5]), context.newTensor('u8', [300]), context.newTensor('f32', [0])];
    const view = tensors[0]!.slice(0, 1, 3);
    using buffer = type.allocContextTensors(context);
    tensors[0]!.write(Float32Array.of(1, 2, 3, 4, 5));
    expect(view.toArray()).toEqual(Float32Array.of(2, 3));
    expect([buffer.bytes, ...tensors.map((tensor) => tensor.ptr - buffer.getBase())]).toEqual([512, 0, 128, 512]);
    using empty = type.allocContextTensors(context);
    expect(empty.bytes).toBe(0);
  });

  test('places none when there is no room', () => {
    const context = new MemoryContext({ memSize: 0, noAlloc: true });
    const tensor = context.newTensor('f32', [2 ** 20]);
    expect(codeOf(() => typeOver(new SimulatedDevice({ capacityBytes: KiB })).allocContextTensors(context))).toBe(
      'ERR_MEM_OUT_OF_MEMORY',
    );
    expect(tensor.part).toBeUndefined();
  });
});
