import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { GiB } from '../../src/core/units.js';
import { MemoryRegistry } from '../../src/shared/memory-registry.js';
import { SharedAllocation } from '../../src/shared/shared-allocation.js';
import { median } from './statistics.js';

/** A way to hand bytes to a worker. */
export interface HandoverRow {
  readonly way: string;
  /** From the call until the worker has read the first and the last byte and its answer is here. */
  readonly ms: number;
}

const BACKEND_ID = 0;
const ALLOCATOR_ID = { major: 1, minor: 0 };

/** Measures how long it takes to hand `bytes` to a worker, as a token and as a structured clone. */
export async function measureHandover(bytes: number, rounds: number): Promise<HandoverRow[]> {
  const registry = new MemoryRegistry();
  const url = `bench-${process.pid}-handover`;
  registry.createBackend('posix-shm', BACKEND_ID, bytes + Math.ceil(bytes / 4) + GiB / 64, url);
  const allocator = registry.createAllocator('thread-local', BACKEND_ID, ALLOCATOR_ID);
  const worker = new Worker(join(import.meta.dirname, 'shared-handover-worker.js'), { workerData: url });
  try {
    await once(worker, 'message');
    const shared = SharedAllocation.allocate(allocator, bytes);
    shared.view(Uint8Array).fill(1);
    const plain = new Uint8Array(bytes).fill(1);
    const byToken: number[] = [];
    const byClone: number[] = [];
    for (let round = 0; round < rounds; round++) {
      byToken.push(await timeOf(worker, () => shared.token()));
      byClone.push(await timeOf(worker, () => plain));
    }
    shared.dispose();
    return [
      { way: 'token', ms: median(byToken) },
      { way: 'structured clone', ms: median(byClone) },
    ];
  } finally {
    await worker.terminate();
    registry.destroyBackend(BACKEND_ID);
  }
}

async function timeOf(worker: Worker, make: () => unknown): Promise<number> {
  const start = performance.now();
  worker.postMessage(make());
  const [sum] = await once(worker, 'message');
  const ms = performance.now() - start;
  if (sum !== 2) throw new Error(`the worker read ${sum}, not 2`);
  return ms;
}
