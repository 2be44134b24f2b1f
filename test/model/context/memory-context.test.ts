import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../../adapters/devices/simulated.js';
import { defaultRuntime, KiB, MemoryError, MemoryRuntime } from '../../../src/index.js';
import type { ContextTensor } from '../../../src/model/context/context-tensor.js';
import { MemoryContext } from '../../../src/model/context/memory-context.js';
import { codeOf } from '../../fixtures/code-of.js';

const runtime = new MemoryRuntime(new CpuDevice());
afterAll(() => {
  expect(runtime.slot.liveBlocks).toBe(0);
  runtime.close();
});

/** The bytes that a call says are missing. */
function missing(action: () => unknown): number | undefined {
  try {
    action();
  } catch (error) {
    if (MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) return error.facts.missingBytes;
    throw error;
  }
  return undefined;
}

describe('MemoryContext', () => {
  test('puts objects one behind the other, each with a header, padded to 16', () => {
    using context = new MemoryContext({ memSize: KiB, runtime });
    const a = context.newTensor('f32', [3], 'a');
    context.newWorkBuffer(1);
    context.newGraph(3);
    const b = context.newTensor('i8', [1]);
    expect(context.objects).toEqual([
      { type: 'tensor', offsetBytes: 32, bytes: 16 },
      { type: 'work buffer', offsetBytes: 80, bytes: 16 },
      { type: 'graph', offsetBytes: 128, bytes: 32 },
      { type: 'tensor', offsetBytes: 192, bytes: 16 },
    ]);
    expect([context.used, b.ptr - a.ptr, a.ptr % 16]).toEqual([208, 160, 0]);
    expect([context.getTensor('a'), context.getTensor('tensor 1'), context.getTensor('b')]).toEqual([a, b, undefined]);
  });

  test('objects never share a byte, and the tensors keep what was written', () => {
    const command = fc.record({
      kind: fc.constantFrom('tensor', 'tensor', 'buffer', 'graph', 'reset'),
      n: fc.integer({ min: 0, max: 40 }),
    });
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
        using context = new MemoryContext({ memSize: 4 * KiB, runtime });
        let written: [ContextTensor, number][] = [];
        commands.forEach(({ kind, n }, at) => {
          const before = [context.used, context.objects.length, context.tensors.length];
          const needed = { tensor: n * 4, buffer: n, graph: n * 8, reset: 0 }[kind]!;
          if (kind === 'reset') {
            context.reset();
            expect(written.every(([tensor]) => codeOf(() => tensor.ptr) === 'ERR_MEM_DISPOSED')).toBe(true);
            written = [];
            expect(context.used).toBe(0);
            return;
          }
          const make = () => {
            if (kind === 'tensor') written.push([context.newTensor('u32', [n]), at]);
            else if (kind === 'buffer') context.newWorkBuffer(n)!.view(Uint8Array, 0, n).fill(255);
            else context.newGraph(n);
          };
          const lacking = context.used + 32 + Math.ceil(needed / 16) * 16 - 4 * KiB;
          if (lacking > 0) {
            expect(missing(make)).toBe(lacking);
            expect([context.used, context.objects.length, context.tensors.length]).toEqual(before);
          } else make();
          if (kind === 'tensor' && lacking <= 0) written.at(-1)![0].view(Uint32Array).fill(at);
        });
        for (const [tensor, value] of written) expect(tensor.view(Uint32Array).every((one) => one === value)).toBe(true);
        context.verify();
      }),
      { numRuns: 200 },
    );
  });

  describe('memBuffer', () => {
    test('serves one context after the other, and stays the caller’s', () => {
      using buffer = runtime.allocate(512 * KiB, { alignment: 16 });
      let tensor: ContextTensor;
      {
        using first = new MemoryContext({ memSize: 256 * KiB, memBuffer: buffer });
        tensor = first.newTensor('f32', [1024]);
        expect(tensor.ptr).toBe(buffer.ptr + 32);
      }
      expect([buffer.disposed, codeOf(() => tensor.ptr)]).toEqual([false, 'ERR_MEM_DISPOSED']);
      using second = new MemoryContext({ memSize: 256 * KiB, memBuffer: buffer });
      expect(second.newTensor('f32', [1]).ptr).toBe(buffer.ptr + 32);
    });

    test('ends tensors when it is disposed of', () => {
      const buffer = runtime.allocate(KiB, { alignment: 16 });
      using context = new MemoryContext({ memSize: KiB, memBuffer: buffer });
      const tensor = context.newTensor('f32', [1]);
      buffer.dispose();
      for (const use of [() => tensor.ptr, () => tensor.view(Float32Array), () => context.newTensor('f32', [1])]) {
        expect(codeOf(use)).toBe('ERR_MEM_DISPOSED');
      }
    });

    test('is refused when it is too small', () => {
      using buffer = runtime.allocate(KiB, { alignment: 16 });
      expect(codeOf(() => new MemoryContext({ memSize: KiB + 1, memBuffer: buffer }))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => new MemoryContext({ memSize: -1, memBuffer: buffer }))).toBe('ERR_MEM_INVALID_SIZE');
    });

    test('is refused where objects may not begin', () => {
      using buffer = runtime.allocate(KiB, { alignment: 16 });
      const odd = Object.create(buffer, { ptr: { value: buffer.ptr + 8 }, bytes: { value: 512 } });
      expect(codeOf(() => new MemoryContext({ memSize: 16, memBuffer: odd }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });
  });

  describe('noAlloc', () => {
    test('allocates nothing, and its tensors have no data', () => {
      const device = new SimulatedDevice();
      using own = new MemoryRuntime(device);
      using context = new MemoryContext({ memSize: 0, noAlloc: true, runtime: own });
      const tensor = context.newTensor('q4_K', [4096, 4096], 'weights');
      const view = tensor.slice(0, 1, 2);
      expect([device.callCount, context.used, context.newWorkBuffer(100)]).toEqual([0, 64, undefined]);
      expect([tensor.bytes, view.bytes, context.usage().bytes]).toEqual([9_437_184, 2304, 9_437_184]);
      for (const use of [() => tensor.ptr, () => tensor.toBytes(), () => view.view(Uint8Array)]) {
        expect(codeOf(use)).toBe('ERR_MEM_NO_DATA');
      }
      context.verify();
    });

    test('counts headers against the size, and keeps them in a buffer', () => {
      using buffer = runtime.allocate(64, { alignment: 16 });
      using context = new MemoryContext({ memSize: 64, memBuffer: buffer, noAlloc: true });
      context.newTensor('f32', [1000]);
      context.newTensor('f32', [1000]);
      expect(missing(() => context.newTensor('f32', [1]))).toBe(32);
      expect(buffer.view(BigUint64Array)[0]).toBe(32n);
      using limited = new MemoryContext({ memSize: 32, noAlloc: true });
      limited.newTensor('f32', [1]);
      expect(missing(() => limited.newTensor('f32', [1]))).toBe(32);
    });
  });

  test('takes memory of the default runtime when it is given none', () => {
    const before = defaultRuntime().slot.liveBlocks;
    const context = new MemoryContext({ memSize: KiB });
    expect(defaultRuntime().slot.liveBlocks).toBe(before + 1);
    context.dispose();
    context.dispose();
    expect(defaultRuntime().slot.liveBlocks).toBe(before);
    for (const use of [() => context.newTensor('f32', [1]), () => context.newGraph(1), () => context.scratchLoad()]) {
      expect(codeOf(use)).toBe('ERR_MEM_DISPOSED');
    }
  });

  test('has changed nothing when there is no room for its memory', () => {
    using small = new MemoryRuntime(new SimulatedDevice({ capacityBytes: KiB }));
    expect(codeOf(() => new MemoryContext({ memSize: 2 * KiB, runtime: small }))).toBe('ERR_MEM_OUT_OF_MEMORY');
  });

  describe('views', () => {
    test('are objects without data that show their source', () => {
      using context = new MemoryContext({ memSize: KiB, runtime });
      const tensor = context.newTensor('i32', [2, 3], 'a');
      tensor.view(Int32Array).set([1, 2, 3, 4, 5, 6]);
      const column = tensor.transpose().slice(0, 1, 2);
      expect([column.viewSource, column.toArray()]).toEqual([tensor, Int32Array.of(2, 5)]);
      expect([context.objects.length, context.objects.at(-1)!.bytes, context.usage().tensors]).toEqual([3, 0, 1]);
    });

    test('need room for their header', () => {
      using context = new MemoryContext({ memSize: 48, runtime });
      const tensor = context.newTensor('i32', [4]);
      expect(missing(() => tensor.reshape([2, 2]))).toBe(32);
      expect(context.tensors.length).toBe(1);
    });
  });

  describe('scratch', () => {
    test('is used again after a load, and ends what lay there', () => {
      using scratch = runtime.allocate(256, { alignment: 16 });
      using context = new MemoryContext({ memSize: 4 * KiB, runtime });
      context.scratchSet({ data: scratch, size: 256 });
      const a = context.newTensor('f32', [4]);
      const b = context.newTensor('u8', [3]);
      context.scratchSave();
      const c = context.newTensor('f32', [4]);
      expect([a.ptr, b.ptr, c.ptr].map((ptr) => ptr - scratch.ptr)).toEqual([0, 16, 32]);
      expect([context.used, context.scratch?.offs]).toEqual([96, 48]);
      context.scratchLoad();
      const d = context.newTensor('f32', [4]);
      expect([d.ptr, a.ended, b.ended, codeOf(() => c.ptr)]).toEqual([scratch.ptr + 32, false, false, 'ERR_MEM_DISPOSED']);
      context.scratchSet(undefined);
      context.newTensor('f32', [4]);
      expect([context.objects.at(-1)!.bytes, context.used, a.ended]).toEqual([16, 4 * 32 + 48, false]);
    });

    test('without room it tells what is missing, and nothing has changed', () => {
      using scratch = runtime.allocate(64, { alignment: 16 });
      using context = new MemoryContext({ memSize: 64, runtime });
      context.scratchSet({ data: scratch, size: 40, offs: 4 });
      expect(missing(() => context.newTensor('u8', [25]))).toBe(1);
      expect([context.used, context.scratch?.offs]).toEqual([0, 4]);
      context.newTensor('u8', [24]);
      context.scratchSet({ data: scratch, size: 64 });
      context.newTensor('u8', [24]);
      // No room for a third header: the scratch memory stays as it was.
      expect(missing(() => context.newTensor('u8', [8]))).toBe(32);
      expect(context.scratch?.offs).toBe(24);
    });

    test('a load without a save switches it off', () => {
      using scratch = runtime.allocate(64, { alignment: 16 });
      using context = new MemoryContext({ memSize: KiB, runtime });
      context.scratchSet({ data: scratch, size: 64 });
      context.scratchLoad();
      expect(context.scratch).toBeUndefined();
    });

    test.each([
      ['a size beyond its memory', { size: 65 }, 'ERR_MEM_OUT_OF_RANGE'],
      ['a place beyond its size', { size: 32, offs: 33 }, 'ERR_MEM_OUT_OF_RANGE'],
      ['a negative place', { size: 32, offs: -1 }, 'ERR_MEM_OUT_OF_RANGE'],
    ])('refuses %s', (_, scratch, code) => {
      using data = runtime.allocate(64, { alignment: 16 });
      using context = new MemoryContext({ memSize: KiB, runtime });
      expect(codeOf(() => context.scratchSet({ data, ...scratch }))).toBe(code);
      expect(context.scratch).toBeUndefined();
    });
  });

  test('tells what its tensors take, by type', () => {
    using context = new MemoryContext({ memSize: 0, noAlloc: true });
    context.newTensor('f32', [100]);
    context.newTensor('f32', [50]);
    context.newTensor('q8_0', [320]).reshape([10, 32]);
    expect(context.usage()).toEqual({
      tensors: 3,
      bytes: 940,
      byDType: [
        { dtype: 'f32', tensors: 2, bytes: 600, share: 600 / 940 },
        { dtype: 'q8_0', tensors: 1, bytes: 340, share: 340 / 940 },
      ],
    });
  });

  describe('verify', () => {
    test('finds what was written beyond the end of a tensor', () => {
      using buffer = runtime.allocate(KiB, { alignment: 16 });
      using context = new MemoryContext({ memSize: KiB, memBuffer: buffer });
      context.newTensor('u8', [16]);
      const next = context.newTensor('u8', [16]);
      context.verify();
      buffer.view(Uint8Array, 48, 3).fill(0xaa);
      let facts: unknown;
      try {
        context.verify();
      } catch (error) {
        facts = MemoryError.is(error, 'ERR_MEM_CORRUPTED') && error.facts;
      }
      expect(facts).toMatchObject({ pointer: next.ptr, side: 'before', offsetBytes: -32, damagedBytes: 3 });
    });
  });
});
