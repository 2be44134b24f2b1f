// A process of the benchmark of shared memory: node shared-contestant-main.js <heap> <url>
// It answers each line "<start> <ms>": at that time it begins, works for so long, and prints its operations.
import { createInterface } from 'node:readline';
import { type HeapName, openHeap, type SharedHeap } from './shared-heaps.js';

const SLOTS = 512;
const STEP = 256;
// Sizes from 16 bytes to 8 KiB, small ones as often as large ones.
const LEAST_BITS = 4;
const BITS = 9;

const [name = '', url = ''] = process.argv.slice(2);
const heap = openHeap(name as HeapName, url);
const pointers = new Float64Array(SLOTS).fill(Number.NaN);
let seed = process.pid;

for await (const line of createInterface({ input: process.stdin })) {
  const [start = 0, ms = 0] = line.split(' ').map(Number);
  while (Date.now() < start);
  const began = performance.now();
  let operations = 0;
  while (performance.now() - began < ms) {
    work(heap, STEP);
    operations += STEP;
  }
  process.stdout.write(`${operations / ((performance.now() - began) / 1000)}\n`);
}
for (const pointer of pointers) if (!Number.isNaN(pointer)) heap.free(pointer);

/** Frees what a random slot holds, or fills it if it is empty. */
function work(target: SharedHeap, operations: number): void {
  for (let i = 0; i < operations; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
    const slot = (seed >>> 8) % SLOTS;
    const held = pointers[slot]!;
    if (Number.isNaN(held)) {
      const size = 1 << (LEAST_BITS + ((seed >>> 20) % BITS));
      pointers[slot] = target.allocate(size + ((seed >>> 4) & (size - 1)));
    } else {
      target.free(held);
      pointers[slot] = Number.NaN;
    }
  }
}
