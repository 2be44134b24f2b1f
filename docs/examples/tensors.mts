// Tensors with one owner, with several, and by name.
import { MemoryRuntime } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { formatMemoryUsage, TensorManager, TensorPool } from 'stowage/model';

const runtime = new MemoryRuntime(new CpuDevice());
const pool = new TensorPool(runtime);
const manager = new TensorManager();

const matrix = pool.from('f32', [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6));
const column = matrix.slice(1, 0, 1); // a view: no copy
console.log(`the first column is ${column.toArray().join(' and ')}`);
manager.add('matrix', matrix); // moved: `matrix` is empty now

const weights = pool.allocate('q4_K', [64, 4096]).share();
manager.add('weights', weights); // counted: the manager is one of two owners
weights.dispose();
console.log(formatMemoryUsage(manager.usage()));

manager.dispose();
console.log(`${pool.liveTensors} tensors are live`);
runtime.close();
