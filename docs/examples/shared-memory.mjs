// Hand memory to a worker without a copy. The same works between processes: a token is a
// plain object.
import { once } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { MiB } from 'stowage';
import { memoryRegistry, SharedAllocation } from 'stowage/shared';

const URL_OF_REGION = `example-${process.pid}`;

if (isMainThread) {
  const registry = memoryRegistry();
  registry.createBackend('posix-shm', 0, 64 * MiB, URL_OF_REGION);
  const allocator = registry.createAllocator('thread-local', 0, { major: 1, minor: 0 });

  const block = SharedAllocation.allocate(allocator, 8 * MiB);
  block.view(Float64Array).fill(0.5);

  const worker = new Worker(new URL(import.meta.url));
  worker.postMessage(block.token());
  const [[sum]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
  console.log(`the worker says ${sum}, and left ${block.view(Float64Array)[0]}`);
  block.dispose();
  registry.destroyBackend(0);
} else {
  const [token] = await once(parentPort, 'message');
  memoryRegistry().attachBackend(URL_OF_REGION);
  const block = SharedAllocation.attach(token);
  const numbers = block.view(Float64Array);
  const sum = numbers.reduce((a, b) => a + b);
  numbers[0] = 42;
  block.dispose();
  memoryRegistry().destroyBackend(0);
  parentPort.postMessage(sum);
}
