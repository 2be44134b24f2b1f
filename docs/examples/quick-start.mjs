import { defaultRuntime, MiB } from 'stowage';

const runtime = defaultRuntime();
const block = runtime.allocate(1 * MiB, { zero: true });
const numbers = block.view(Float32Array);
numbers[0] = 42;
console.log(`${numbers.length} floats at ${block.ptr}, the first is ${numbers[0]}`);
block.dispose();
console.log(runtime.stats());
