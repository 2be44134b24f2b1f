// Free everything that a piece of work allocated, except what it gives away.
import { KiB, MemoryRuntime } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';

const runtime = new MemoryRuntime(new CpuDevice());

const sum = await runtime.scoped(async () => {
  const scratch = runtime.allocate(64 * KiB).view(Float64Array); // freed at the end
  scratch.fill(0.5);
  await new Promise((resolve) => setTimeout(resolve, 1));
  const result = runtime.allocate(8);
  result.view(Float64Array)[0] = scratch.reduce((a, b) => a + b);
  return result.move(); // moved out of the scope
});

console.log(`the sum is ${sum.view(Float64Array)[0]}, ${runtime.slot.liveBlocks} block is live`);
sum.dispose();
runtime.close();
