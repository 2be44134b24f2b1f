import { afterEach, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../../adapters/devices/simulated.js';
import { MemoryRuntime } from '../../../src/index.js';
import { BackendBufferType } from '../../../src/model/buffers/backend-buffer.js';
import type { ContextGraph } from '../../../src/model/context/context-graph.js';
import { MemoryContext } from '../../../src/model/context/memory-context.js';
import { GraphAllocator } from '../../../src/model/graph/graph-allocator.js';
import { PlainManager } from '../../core/fakes.js';
import { codeOf } from '../../fixtures/code-of.js';

const runtimes: MemoryRuntime[] = [];
afterEach(() => {
  for (const runtime of runtimes.splice(0)) {
    expect(runtime.slot.liveBlocks).toBe(0);
    runtime.close();
  }
});

function typeOver(device = new CpuDevice() as CpuDevice | SimulatedDevice): BackendBufferType {
  const runtime = new MemoryRuntime(device);
  runtimes.push(runtime);
  return new BackendBufferType(runtime, { alignment: 16 });
}

/** y = relu(x + 1) + x, with x kept. */
function smallGraph(length: number) {
  const context = new MemoryContext({ memSize: 0, noAlloc: true });
  const [x, plus, relu, y] = ['x', 'plus', 'relu', 'y'].map((name) => context.newTensor('f32', [length], name)) as [
    ReturnType<typeof context.newTensor>,
    ReturnType<typeof context.newTensor>,
    ReturnType<typeof context.newTensor>,
    ReturnType<typeof context.newTensor>,
  ];
  const graph = context.newGraph(4);
  graph.add(x, { isInput: true });
  graph.add(plus, { inputs: [x] });
  graph.add(relu, { inputs: [plus], inPlace: true });
  graph.add(y, { inputs: [relu, x], inPlace: true, isOutput: true });
  return { context, graph, x, plus, relu, y };
}

describe('GraphAllocator', () => {
  test('a computation in its memory gives the right result', () => {
    const { graph, x, plus, relu, y } = smallGraph(4);
    using allocator = new GraphAllocator(typeOver());
    const plan = allocator.reserve(graph);
    expect([plan.bytes, plan.lowerBoundBytes, plan.inPlaceNodes, allocator.bufferBytes]).toEqual([32, 32, 2, 0]);
    using buffer = allocator.allocGraph(graph);
    expect([allocator.bufferBytes, plus.ptr === relu.ptr, relu.ptr === y.ptr, x.ptr === y.ptr]).toEqual([32, true, true, false]);
    buffer.setTensor(x, Float32Array.of(-3, -1, 0, 2));
    const values = (tensor: typeof x) => tensor.view(Float32Array);
    values(plus).set(values(x).map((value) => value + 1));
    values(relu).set(values(plus).map((value) => Math.max(0, value)));
    values(y).set(values(relu).map((value, i) => value + values(x)[i]!));
    expect(y.toArray()).toEqual(Float32Array.of(-3, -1, 1, 5));
  });

  test('reserve allocates nothing, and its size is the one that is allocated', () => {
    const device = new SimulatedDevice();
    using allocator = new GraphAllocator(typeOver(device), { timeBudgetMs: 5 });
    const { graph, context } = smallGraph(1000);
    const { bytes } = allocator.reserve(graph);
    expect(device.callCount).toBe(0);
    expect(allocator.allocGraph(graph).bytes).toBe(bytes);
    expect(context.used).toBe(4 * 32 + 32 + 32);
  });

  test('uses its buffer again, and lets it grow', () => {
    const type = typeOver();
    using allocator = new GraphAllocator(type);
    const large = smallGraph(100);
    const buffer = allocator.allocGraph(large.graph);
    expect(allocator.allocGraph(smallGraph(50).graph)).toBe(buffer);
    const larger = smallGraph(200);
    const grown = allocator.allocGraph(larger.graph);
    expect([grown === buffer, buffer.disposed, runtimes[0]!.slot.liveBlocks]).toEqual([false, true, 1]);
    expect(codeOf(() => large.x.ptr)).toBe('ERR_MEM_DISPOSED');
    // Tensors whose buffer is gone get a place in a new one.
    allocator.allocGraph(large.graph);
    expect(large.x.ptr).toBeGreaterThan(0);
  });

  test('has changed nothing when there is no room to grow', () => {
    // The default manager asks for at least 2 MiB at once.
    using allocator = new GraphAllocator(typeOver(new SimulatedDevice({ capacityBytes: 4 * 2 ** 20 })));
    const small = smallGraph(100);
    const buffer = allocator.allocGraph(small.graph);
    const { ptr } = small.y;
    const large = smallGraph(2 ** 20);
    expect(codeOf(() => allocator.allocGraph(large.graph))).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect([buffer.disposed, small.y.ptr, large.y.part]).toEqual([false, ptr, undefined]);
  });

  test('leaves nothing behind, whichever native call fails', () => {
    for (let nth = 0, failed = true; failed; nth++) {
      const device = new SimulatedDevice();
      device.failWhen(({ index, name }) => index >= nth && name === 'nativeAlloc');
      using runtime = new MemoryRuntime(device, { createDefaultManager: (_, table) => new PlainManager(table) });
      const allocator = new GraphAllocator(new BackendBufferType(runtime));
      const graphs = [100, 200, 400].map((length) => smallGraph(length));
      failed = false;
      for (const { graph, y } of graphs) {
        const before = [allocator.bufferBytes, runtime.slot.liveBlocks];
        if (codeOf(() => allocator.allocGraph(graph)) === 'none') continue;
        failed = true;
        expect([allocator.bufferBytes, runtime.slot.liveBlocks, y.part]).toEqual([...before, undefined]);
      }
      allocator.dispose();
      expect(runtime.slot.liveBlocks).toBe(0);
    }
  });

  test('leaves what has data elsewhere where it is', () => {
    const type = typeOver();
    const weights = new MemoryContext({ memSize: 0, noAlloc: true });
    const [w, unused] = [weights.newTensor('f32', [4], 'w'), weights.newTensor('f32', [4])];
    using weightsBuffer = type.allocContextTensors(weights);
    const context = new MemoryContext({ memSize: 0, noAlloc: true });
    const graph = context.newGraph(4);
    const result = context.newTensor('f32', [4]);
    graph.add(w);
    graph.add(w.slice(0, 2, 4));
    graph.add(unused);
    graph.add(result, { inputs: [w, unused], inPlace: true, isOutput: true });
    using allocator = new GraphAllocator(type);
    expect([allocator.reserve(graph).bytes, allocator.reserve(graph).inPlaceNodes]).toEqual([16, 0]);
    allocator.allocGraph(graph);
    expect([weightsBuffer.holds(w), weightsBuffer.holds(result)]).toEqual([true, false]);
  });

  test('views lie in what they are views of', () => {
    const context = new MemoryContext({ memSize: 0, noAlloc: true });
    const graph = context.newGraph(4);
    const a = context.newTensor('f32', [8]);
    const half = a.slice(0, 4, 8).reshape([2, 2]);
    const b = context.newTensor('f32', [8]);
    const c = context.newTensor('f32', [4]);
    graph.add(a, { isInput: true });
    graph.add(half);
    graph.add(b);
    graph.add(c, { inputs: [half, b], inPlace: true, isOutput: true });
    using allocator = new GraphAllocator(typeOver());
    using buffer = allocator.allocGraph(graph);
    // c takes the place of its first input, the view.
    expect([buffer.bytes, half.ptr - a.ptr, c.ptr - a.ptr]).toEqual([64, 16, 16]);
  });
});

describe('ContextGraph', () => {
  const addTo = (add: (graph: ContextGraph, context: MemoryContext) => unknown) => {
    const context = new MemoryContext({ memSize: 0, noAlloc: true });
    const graph = context.newGraph(1);
    return codeOf(() => add(graph, context));
  };

  test.each<[string, (graph: ContextGraph, context: MemoryContext) => unknown, string]>([
    [
      'an input that was not added',
      (graph, context) => graph.add(context.newTensor('f32', [1]), { inputs: [context.newTensor('f32', [1])] }),
      'ERR_MEM_INVALID_ARGUMENT',
    ],
    [
      'a view whose source was not added',
      (graph, context) => graph.add(context.newTensor('f32', [1]).reshape([1, 1])),
      'ERR_MEM_INVALID_ARGUMENT',
    ],
    [
      'more nodes than it has room for',
      (graph, context) => [0, 1].map(() => graph.add(context.newTensor('f32', [1]))),
      'ERR_MEM_OUT_OF_MEMORY',
    ],
    [
      'a tensor twice',
      (graph, context) => {
        const tensor = context.newTensor('f32', [1]);
        graph.add(tensor);
        graph.add(tensor);
      },
      'ERR_MEM_INVALID_ARGUMENT',
    ],
    [
      'anything after a reset',
      (graph, context) => {
        context.reset();
        graph.add(context.newTensor('f32', [1]));
      },
      'ERR_MEM_DISPOSED',
    ],
  ])('refuses %s', (_, add, code) => {
    expect(addTo(add)).toBe(code);
  });

  test('refuses an input that is a view of a node and was not added, placed or not', () => {
    const context = new MemoryContext({ memSize: 0, noAlloc: true });
    const graph = context.newGraph(3);
    const [a, b] = [context.newTensor('f32', [4]), context.newTensor('f32', [4])];
    const view = a.slice(0, 2, 4);
    graph.add(a);
    expect(codeOf(() => graph.add(b, { inputs: [view] }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    using allocator = new GraphAllocator(typeOver());
    allocator.allocGraph(graph);
    expect(codeOf(() => graph.add(b, { inputs: [view] }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    graph.add(view);
    expect(graph.add(b, { inputs: [view] })).toBe(2);
    expect(allocator.reserve(graph).bytes).toBe(32);
  });

  test('has changed nothing when a node is refused', () => {
    const context = new MemoryContext({ memSize: 0, noAlloc: true });
    const graph = context.newGraph(2);
    const [a, b] = [context.newTensor('f32', [1]), context.newTensor('f32', [1])];
    expect(codeOf(() => graph.add(a, { inputs: [b] }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect([graph.tensors, graph.nodes, graph.toPlace]).toEqual([[], [], []]);
    graph.add(b);
    expect(graph.add(a, { inputs: [b] })).toBe(1);
  });

  test('keeps the places of its nodes in the context’s memory', () => {
    const runtime = new MemoryRuntime(new CpuDevice());
    runtimes.push(runtime);
    using context = new MemoryContext({ memSize: 1024, runtime });
    const a = context.newTensor('f32', [4]);
    const graph = context.newGraph(2);
    graph.add(a);
    const { offsetBytes } = context.objects[1]!;
    expect(runtime.device.view((a.ptr - a.objectOffset + offsetBytes) as typeof a.ptr, 8)).toEqual(
      new Uint8Array(BigUint64Array.of(BigInt(a.objectOffset)).buffer),
    );
  });
});
