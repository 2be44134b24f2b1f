// Plan the memory of a computation, then place its tensors in one buffer.
import { MemoryRuntime } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { BackendBufferType, GraphAllocator, MemoryContext } from 'stowage/model';

const runtime = new MemoryRuntime(new CpuDevice());
// describes tensors, allocates nothing
const context = new MemoryContext({ memSize: 0, noAlloc: true });

// Eight layers of x = relu(x + bias): each result is needed by the next layer only.
const graph = context.newGraph(17);
let x = context.newTensor('f32', [256, 1024], 'input');
graph.add(x, { isInput: true });
for (let layer = 0; layer < 8; layer++) {
  const sum = context.newTensor('f32', [256, 1024], `sum ${layer}`);
  graph.add(sum, { inputs: [x] });
  x = context.newTensor('f32', [256, 1024], `relu ${layer}`);
  graph.add(x, { inputs: [sum], inPlace: true, isOutput: layer === 7 });
}

const allocator = new GraphAllocator(new BackendBufferType(runtime));
const plan = allocator.reserve(graph);
console.log(
  `${context.usage().tensors} tensors of ${context.usage().bytes} bytes fit into ${plan.bytes}`,
);

const buffer = allocator.allocGraph(graph);
buffer.setTensor(graph.tensors[0], new Float32Array(256 * 1024).fill(1));
console.log(
  `the input lies at ${graph.tensors[0].ptr - buffer.getBase()}, ${plan.inPlaceNodes} nodes overwrite theirs`,
);
allocator.dispose();
runtime.close();
