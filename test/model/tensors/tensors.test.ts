import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../../adapters/devices/simulated.js';
import { CachingMemoryManager, PoolMemoryManager, TlsfMemoryManager } from '../../../managers/index.js';
import { MemoryManagerDeviceInterface, MemoryManagerInstaller, MemoryRuntime, MiB } from '../../../src/index.js';
import { formatMemoryUsage } from '../../../src/model/tensors/memory-usage.js';
import { SharedTensor, type Tensor } from '../../../src/model/tensors/tensor.js';
import { TensorManager } from '../../../src/model/tensors/tensor-manager.js';
import { TensorPool } from '../../../src/model/tensors/tensor-pool.js';
import { codeOf } from '../../fixtures/code-of.js';

const runtimes: MemoryRuntime[] = [];
function cpu(): MemoryRuntime {
  const runtime = new MemoryRuntime(new CpuDevice());
  runtimes.push(runtime);
  return runtime;
}
afterEach(() => {
  for (const runtime of runtimes.splice(0)) runtime.close();
});

const sum = (tensor: Tensor | SharedTensor) => tensor.view(Float32Array).reduce((a, b) => a + b, 0);

describe('TensorPool', () => {
  test('two tensors go into a manager and come out', () => {
    const pool = new TensorPool(cpu());
    const manager = new TensorManager();
    const first = pool.from('f32', [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6));
    const second = pool.from('f32', [4], Float32Array.of(1, 2, 3, 4));
    manager.add('first', first);
    manager.add('second', second);
    expect([first.disposed, manager.count, manager.totalBytes]).toEqual([true, 2, 40]);
    expect([sum(manager.get('first')), sum(manager.get('second'))]).toEqual([21, 10]);
    manager.dispose();
    expect([manager.count, pool.liveTensors]).toEqual([0, 0]);
  });

  test.each([CachingMemoryManager, PoolMemoryManager, TlsfMemoryManager])('works over %o', (Manager) => {
    const runtime = cpu();
    new MemoryManagerInstaller(new Manager(1, new MemoryManagerDeviceInterface()), runtime).setAsMemoryManager();
    const pool = new TensorPool(runtime);
    using tensor = pool.from('i64', [2], BigInt64Array.of(1n, -2n));
    expect(tensor.view(BigInt64Array)).toEqual(BigInt64Array.of(1n, -2n));
    expect(runtime.stats()?.requestedBytes.current).toBe(16);
  });

  describe('allocate', () => {
    test('counts what lives, by type, however it ends', () => {
      const runtime = cpu();
      const pool = new TensorPool(runtime);
      const kept = pool.allocate('f16', [3]);
      const shared = pool.allocate('q8_0', [64]).share();
      const other = shared.share();
      runtime.scoped(() => {
        pool.allocate('f32', [8]);
        expect(pool.liveTensors).toBe(3);
      });
      shared.dispose();
      const { tensors, bytes, byDType } = pool.usage();
      expect([tensors, bytes]).toEqual([2, 74]);
      expect(byDType.map(({ dtype, bytes: own }) => [dtype, own])).toEqual([
        ['q8_0', 68],
        ['f16', 6],
      ]);
      other.dispose();
      kept.move().dispose();
      expect(pool.liveTensors).toBe(0);
      pool.allocate('f32', [1]);
      runtime.close();
      expect(pool.liveTensors).toBe(0);
    });

    test('a dropped tensor is counted no more once the collector has found it', async () => {
      if (globalThis.gc === undefined) (await import('node:v8')).setFlagsFromString('--expose-gc');
      const gc = globalThis.gc ?? (await import('node:vm')).runInNewContext('gc');
      const runtime = cpu();
      const pool = new TensorPool(runtime);
      (() => pool.allocate('f32', [1]))();
      for (let turn = 0; turn < 50 && pool.liveTensors > 0; turn++) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      expect(pool.liveTensors).toBe(0);
    });

    test('has changed nothing when there is no room', () => {
      const runtime = new MemoryRuntime(new SimulatedDevice({ capacityBytes: 4 * MiB }));
      runtimes.push(runtime);
      const pool = new TensorPool(runtime);
      expect(codeOf(() => pool.allocate('f32', [2 ** 22]))).toBe('ERR_MEM_OUT_OF_MEMORY');
      expect(codeOf(() => pool.from('f32', [2], Float32Array.of(1)))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect([pool.liveTensors, runtime.slot.liveBlocks]).toEqual([0, 0]);
    });

    test('takes the device, the alignment and zeros that it is told', () => {
      const device = new SimulatedDevice({ deviceCount: 2 });
      const runtime = new MemoryRuntime(device);
      runtimes.push(runtime);
      const pool = new TensorPool(runtime, { device: 1, alignment: 4096 });
      using tensor = pool.allocate('f32', [3], { zero: true });
      expect([device.liveBytesOf(0), device.liveBytesOf(1) > 0, tensor.ptr % 4096, device.counts.fill]).toEqual([0, true, 0, 1]);
      expect(codeOf(() => tensor.view(Float32Array))).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
    });

    test('pins when told to', () => {
      const runtime = cpu();
      using tensor = new TensorPool(runtime, { pinned: true }).allocate('u8', [1], { zero: true });
      expect([runtime.slot.liveBlocks, runtime.pinnedSlot.liveBlocks, tensor.toBytes()]).toEqual([0, 1, Uint8Array.of(0)]);
    });
  });
});

describe('Tensor', () => {
  test('moves and shares its memory, and is empty then', () => {
    const runtime = cpu();
    const pool = new TensorPool(runtime);
    const tensor = pool.from('f32', [2], Float32Array.of(1, 2));
    const view = tensor.slice(0, 1, 2);
    const moved = tensor.move();
    for (const use of [
      () => tensor.ptr,
      () => tensor.move(),
      () => tensor.share(),
      () => tensor.toBytes(),
      () => view.toBytes(),
    ]) {
      expect(codeOf(use)).toBe('ERR_MEM_DISPOSED');
    }
    expect([tensor.shape, tensor.bytes]).toEqual([[2], 8]);
    const shared = moved.share();
    using second = shared.share();
    expect([shared.owners, sum(second)]).toEqual([2, 3]);
    shared.dispose();
    shared.dispose();
    expect([second.owners, runtime.slot.liveBlocks]).toEqual([1, 1]);
    second.dispose();
    expect(runtime.slot.liveBlocks).toBe(0);
  });

  test('views show the same memory in another order', () => {
    using tensor = new TensorPool(cpu()).from('i32', [2, 3], Int32Array.of(1, 2, 3, 4, 5, 6));
    expect(tensor.transpose().toArray()).toEqual(Int32Array.of(1, 4, 2, 5, 3, 6));
    expect(tensor.transpose().slice(0, 1).toArray()).toEqual(Int32Array.of(2, 5, 3, 6));
    expect(tensor.reshape([3, 2]).slice(0, 2).view(Int32Array)).toEqual(Int32Array.of(5, 6));
    tensor
      .transpose()
      .slice(0, 0, 2)
      .write(Int32Array.of(10, 40, 20, 50));
    expect(tensor.view(Int32Array)).toEqual(Int32Array.of(10, 20, 3, 40, 50, 6));
    expect(codeOf(() => tensor.transpose().view(Int32Array))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect(codeOf(() => tensor.view(Float32Array))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect(tensor.view(Uint8Array).length).toBe(24);
  });

  test('what was written comes back, whatever the view', () => {
    const pool = new TensorPool(cpu());
    const shapes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 2, maxLength: 3 });
    fc.assert(
      fc.property(shapes, fc.nat(), fc.nat(), (shape, a, b) => {
        using source = pool.allocate('u16', shape);
        source.write(Uint16Array.from({ length: source.elements }, (_, i) => i));
        const view = source.transpose(a % shape.length, b % shape.length);
        using copy = pool.allocate('u16', view.shape);
        copy.copyFrom(view);
        expect(copy.toArray()).toEqual(view.toArray());
        using back = pool.allocate('u16', shape, { zero: true });
        back.transpose(a % shape.length, b % shape.length).copyFrom(copy);
        expect(back.toArray()).toEqual(source.toArray());
      }),
      { numRuns: 100 },
    );
  });

  test('gives numbers of types with 16 bits', () => {
    const pool = new TensorPool(cpu());
    using half = pool.from('f16', [2], Uint16Array.of(0x3c00, 0xc000));
    using brain = pool.from('bf16', [1], Uint16Array.of(0x3fc0));
    using bytes = pool.from('i8', [1], Int8Array.of(-3));
    expect([half, brain, bytes].map((tensor) => Array.from(tensor.toFloat32()))).toEqual([[1, -2], [1.5], [-3]]);
    for (const type of ['i64', 'u64', 'q4_0', 'f8_e4m3', 'c64'] as const) {
      using other = pool.allocate(type, [32], { zero: true });
      expect(codeOf(() => other.toFloat32())).toBe('ERR_MEM_INVALID_ARGUMENT');
    }
  });

  test('copies between devices that are apart', () => {
    using one = new TensorPool(cpu()).from('f32', [2], Float32Array.of(1, 2));
    using two = new TensorPool(cpu()).allocate('f32', [2]);
    two.copyFrom(one);
    expect(two.toArray()).toEqual(Float32Array.of(1, 2));
  });

  test('refuses data and sources of another size, type and shape', () => {
    const pool = new TensorPool(cpu());
    using tensor = pool.allocate('f32', [2, 2]);
    using other = pool.allocate('f32', [4]);
    using integers = pool.allocate('i32', [2, 2]);
    for (const use of [() => tensor.write(new Uint8Array(15)), () => tensor.copyFrom(other), () => tensor.copyFrom(integers)]) {
      expect(codeOf(use)).toBe('ERR_MEM_INVALID_ARGUMENT');
    }
  });
});

describe('TensorManager', () => {
  test('takes a share of a shared tensor', () => {
    const runtime = cpu();
    const pool = new TensorPool(runtime);
    const shared = pool.allocate('f32', [1]).share();
    using manager = new TensorManager();
    expect(manager.add('a', shared)).toBeInstanceOf(SharedTensor);
    expect(shared.owners).toBe(2);
    shared.dispose();
    expect(pool.liveTensors).toBe(1);
    manager.free('a');
    expect(pool.liveTensors).toBe(0);
  });

  test('gives a tensor out again', () => {
    const pool = new TensorPool(cpu());
    const manager = new TensorManager();
    manager.add('a', pool.allocate('f32', [1]));
    const taken = manager.take('a');
    manager.dispose();
    expect([taken.disposed, manager.has('a'), manager.names]).toEqual([false, false, []]);
    taken.dispose();
  });

  test('refuses names twice and unknown ones, and has changed nothing then', () => {
    const pool = new TensorPool(cpu());
    using manager = new TensorManager();
    manager.add('a', pool.allocate('f32', [1]));
    using second = pool.allocate('f32', [1]);
    expect(codeOf(() => manager.add('a', second))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect(second.disposed).toBe(false);
    for (const use of [() => manager.get('b'), () => manager.free('b'), () => manager.take('b')]) {
      expect(codeOf(use)).toBe('ERR_MEM_INVALID_ARGUMENT');
    }
    expect([...manager].map(([name]) => name)).toEqual(['a']);
  });

  test('writes its usage for people', () => {
    const pool = new TensorPool(cpu());
    using manager = new TensorManager();
    manager.add('a', pool.allocate('f32', [1024]));
    manager.add('b', pool.allocate('q8_0', [4096]));
    expect(formatMemoryUsage(manager.usage())).toBe(
      '2 tensors, 8.25 KiB\n  q8_0: 1 tensor, 4.25 KiB (51.5 %)\n  f32: 1 tensor, 4.00 KiB (48.5 %)',
    );
    expect(formatMemoryUsage(new TensorManager().usage())).toBe('0 tensors, 0 B');
  });
});
