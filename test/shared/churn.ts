import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { moduleUrl } from '../fixtures/compiled.js';

/** What a process of {@link churnSource} does. */
export interface Churn {
  readonly url: string;
  readonly operations: number;
  /** Threads of the process: its own, and workers. */
  readonly threads: number;
  /** Blocks that a thread holds at a time. */
  readonly slots: number;
  readonly maxBytes: number;
  readonly seed: number;
  /** A block of words: places through which threads pass blocks on for others to check and free, and a hand for each thread. */
  readonly mailbox: number;
}

/** What a process says at its end. */
export interface ChurnResult {
  readonly allocations: number;
  readonly frees: number;
  readonly refusals: number;
  readonly damaged: number;
  readonly ms: number;
}

/**
 * A program that allocates and frees at random in a shared region, fills each block with its owner's pattern and checks it
 * whole before the free. Through a mailbox, threads pass blocks on
 * for others to check and free.
 */
export function churnSource(churn: Churn): string {
  return `
import { Worker, isMainThread, workerData } from 'node:worker_threads';
import { once } from 'node:events';
import { MemoryRegistry } from '${moduleUrl('src/shared/memory-registry.js')}';
import { DEFAULT_MEM_CONTEXT as CTX } from '${moduleUrl('src/shared/allocators/shared-allocator.js')}';
const churn = ${JSON.stringify(churn)};
const registry = new MemoryRegistry();
const backend = registry.attachBackend(churn.url);
const allocator = registry.getAllocator({ major: 1, minor: 1 });
const { uint8, int32 } = backend.region;
const thread = isMainThread ? 0 : workerData;
let state = (churn.seed * 7919 + thread * 104729 + 1) | 0;
const random = (n) => {
  state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
  return (state >>> 0) % n;
};
const result = { allocations: 0, frees: 0, refusals: 0, damaged: 0, ms: 0 };
const offsets = new Array(churn.slots).fill(-1);
// A block begins with its size and mark, so that whoever gets it can check it.
const fill = (offset, bytes, mark) => {
  int32[offset / 4] = bytes;
  int32[offset / 4 + 1] = mark;
  uint8.fill(mark, offset + 8, offset + bytes);
};
const check = (offset) => {
  const bytes = int32[offset / 4], mark = int32[offset / 4 + 1];
  if (!(bytes >= 8 && bytes <= churn.maxBytes && mark >= 0 && mark < 256)) return void result.damaged++;
  for (let i = offset + 8; i < offset + bytes; i++) if (uint8[i] !== mark) return void result.damaged++;
};
const free = (offset) => { check(offset); allocator.freeOffset(CTX, offset); result.frees++; };
const hand = churn.mailbox / 4 + ${MAILBOX_WORDS} + churn.seed * ${MAX_THREADS} + thread;
const start = performance.now();
for (let n = 0; n < churn.operations; n++) {
  const slot = random(churn.slots);
  if (offsets[slot] === -1) {
    const bytes = 8 + Math.floor(2 ** (random(1000) / 1000 * Math.log2(churn.maxBytes - 8)));
    try {
      const offset = allocator.allocateOffset(CTX, bytes);
      fill(offset, bytes, random(256));
      offsets[slot] = offset;
      result.allocations++;
    } catch (error) {
      if (error.code !== 'ERR_MEM_OUT_OF_MEMORY') throw error;
      result.refusals++;
      const held = offsets.findIndex((offset) => offset !== -1);
      if (held !== -1) { free(offsets[held]); offsets[held] = -1; }
    }
    continue;
  }
  let offset = offsets[slot];
  offsets[slot] = -1;
  // What is put into the mailbox takes out what was there. Should this process be killed, its hand tells what it had taken.
  if (random(3) === 0) {
    const place = churn.mailbox / 4 + random(${MAILBOX_WORDS});
    const found = Atomics.load(int32, place);
    Atomics.store(int32, hand, found);
    if (Atomics.compareExchange(int32, place, found, offset) === found) offset = found;
  }
  if (offset > 0) free(offset);
  Atomics.store(int32, hand, 0);
}
for (const offset of offsets) if (offset !== -1) free(offset);
result.ms = performance.now() - start;
const results = [result];
if (isMainThread) {
  const others = Array.from({ length: churn.threads - 1 }, (_, i) => new Worker(process.argv[1], { workerData: i + 1 }));
  // Both are awaited from the start: a worker's message and its end may come in one turn, and another's before this one's.
  const endings = others.map((other) => Promise.all([once(other, 'message'), once(other, 'exit')]));
  for (const [[message]] of await Promise.all(endings)) results.push(message);
  allocator.detach();
  console.log(JSON.stringify(results));
} else {
  allocator.detach();
  (await import('node:worker_threads')).parentPort.postMessage(result);
}
`;
}

/** Places in a mailbox. */
export const MAILBOX_WORDS = 64;
/** Threads of a process at most. */
export const MAX_THREADS = 8;

/** Starts the program in a process of its own. */
export function startChurn(file: string): ChildProcess {
  return spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Waits for its end. */
export async function churnResults(child: ChildProcess): Promise<ChurnResult[]> {
  let text = '';
  child.stdout?.on('data', (chunk) => {
    text += String(chunk);
  });
  const [status, signal] = await once(child, 'close');
  if (status !== 0) throw new Error(`the process ended with ${status ?? signal}`);
  return JSON.parse(text) as ChurnResult[];
}
