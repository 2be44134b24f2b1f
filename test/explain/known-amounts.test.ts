import { beforeAll, describe, expect, test } from 'vitest';
import type { MemoryExplanation, MemoryKind } from '../../src/explain/index.js';
import { LIMIT_MS } from '../config/limits.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

const MiB = 2 ** 20;

/** Runs a program that makes known amounts of memory, and gives what it says of itself at its end. */
function explained(program: string, env: NodeJS.ProcessEnv = {}): MemoryExplanation {
  const { stdout, stderr, status } = runChild(
    `import { explainMemory } from '${moduleUrl('src/explain/index.js')}';
     import { MemoryRuntime } from '${moduleUrl('src/index.js')}';
     import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
     import { cFunction } from '${moduleUrl('adapters/ffi/library.js')}';
     import { libc } from '${moduleUrl('adapters/os/libc.js')}';
     import { mapPages } from '${moduleUrl('adapters/os/mapping.js')}';
     import { fillBytes } from '${moduleUrl('adapters/os/bytes.js')}';
     import { closeSync, fsyncSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
     import { once } from 'node:events';
     import { Worker } from 'node:worker_threads';
     const MiB = 2 ** 20;
     const malloc = cFunction(libc(), 'malloc', 'uintptr_t', ['size_t']);
     const free = cFunction(libc(), 'free', 'void', ['uintptr_t']);
     ${program}
     console.log('\\n' + JSON.stringify(explainMemory()));
     process.exit();`,
    { env },
  );
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout.trim().split('\n').at(-1) as string) as MemoryExplanation;
}

function sumOf({ categories }: MemoryExplanation, kind: MemoryKind, name = ''): number {
  return categories
    .filter((category) => category.kind === kind && category.name.includes(name))
    .reduce((sum, { residentBytes }) => sum + residentBytes, 0);
}

/** Within 5 %. */
function expectAbout(bytes: number, expected: number): void {
  expect(Math.abs(bytes - expected) / expected, `${bytes} is about ${expected}`).toBeLessThanOrEqual(0.05);
}

describe.skipIf(process.platform !== 'linux')('explainMemory', { timeout: LIMIT_MS }, () => {
  beforeAll(() => void compiled(), LIMIT_MS);

  test('names nearly all memory of a process, and sums up to its resident set', () => {
    const explanation = explained('');
    const sum = explanation.categories.reduce((bytes, { residentBytes }) => bytes + residentBytes, 0);
    expect(explanation).toMatchObject({ version: 1, view: 'inside', residentBytes: sum });
    expect(explanation.namedBytes / explanation.residentBytes).toBeGreaterThan(0.95);
  });

  test('finds Buffers, and counts none that was never written', () => {
    const explanation = explained(
      'globalThis.kept = [Array.from({ length: 100 }, () => Buffer.alloc(MiB, 1)), Buffer.alloc(100 * MiB)];',
    );
    expectAbout(sumOf(explanation, 'array-buffers'), 100 * MiB);
  });

  test('finds small Buffers in the heap of the C library', () => {
    const explanation = explained('globalThis.kept = Array.from({ length: 6400 }, () => Buffer.alloc(16384, 1));');
    expectAbout(sumOf(explanation, 'array-buffers'), 100 * MiB);
  });

  test('tells live memory of a manager from cached', () => {
    const explanation = explained(`
      const runtime = new MemoryRuntime(new CpuDevice());
      const make = () => { const block = runtime.allocate(32 * MiB); block.view(Uint8Array).fill(1); return block; };
      globalThis.kept = make();
      make().dispose();`);
    expectAbout(sumOf(explanation, 'manager-live'), 32 * MiB);
    expectAbout(sumOf(explanation, 'manager-cached'), 32 * MiB);
    expectAbout(explanation.giveBack.find(({ step }) => step === 'managers')?.bytes ?? 0, 32 * MiB);
  });

  test('tells what a manager cannot give back from what it can', () => {
    const explanation = explained(`
      const runtime = new MemoryRuntime(new CpuDevice());
      const blocks = Array.from({ length: 64 }, () => { const block = runtime.allocate(MiB); block.view(Uint8Array).fill(1); return block; });
      blocks.forEach((block, i) => { if (i % 2) block.dispose(); });
      globalThis.kept = blocks;`);
    expectAbout(sumOf(explanation, 'manager-live'), 32 * MiB);
    expectAbout(sumOf(explanation, 'manager-fragmented') + sumOf(explanation, 'manager-cached'), 32 * MiB);
  });

  test('finds what the C library keeps free', () => {
    const explanation = explained(`
      const blocks = Array.from({ length: 200 * 64 }, () => { const ptr = malloc(16368); fillBytes(ptr, 1, 16368); return ptr; });
      blocks.forEach((ptr, i) => { if (i % 64 !== 63) free(ptr); });`);
    expectAbout(sumOf(explanation, 'c-heap-free', 'arena 0'), (200 * MiB * 63) / 64);
    expectAbout(explanation.giveBack.find(({ step }) => step === 'C library')?.bytes ?? 0, (200 * MiB * 63) / 64);
  });

  test('finds the main arena where it cannot grow, as when V8 has put its code right behind it', () => {
    const explanation = explained(`
      const [, end] = /-([0-9a-f]+) .*\\[heap\\]$/m.exec(readFileSync('/proc/self/maps', 'utf8'));
      mapPages(4096, { address: Number.parseInt(end, 16), protection: 0 });
      const blocks = Array.from({ length: 220 * 64 }, () => { const ptr = malloc(16368); fillBytes(ptr, 1, 16368); return ptr; });
      for (let i = 0; i < 130 * 64; i++) if (i % 64 !== 63) free(blocks[i]);`);
    expectAbout(sumOf(explanation, 'c-heap-free', 'arena 0'), (130 * MiB * 63) / 64);
    expectAbout(sumOf(explanation, 'c-heap-live', 'arena 0'), (90 + 130 / 64) * MiB);
  });

  test('says of free blocks between live ones that they cannot be given back', () => {
    const explanation = explained(`
      const blocks = Array.from({ length: 64 * 512 }, () => { const ptr = malloc(2032); fillBytes(ptr, 1, 2032); return ptr; });
      blocks.forEach((ptr, i) => { if (i % 2) free(ptr); });`);
    expectAbout(sumOf(explanation, 'c-heap-free', 'arena 0'), 32 * MiB);
    const { reclaimableBytes } = explanation.categories.find(
      ({ kind, name }) => kind === 'c-heap-free' && name.includes('arena 0'),
    )!;
    expect(reclaimableBytes).toBeLessThan(2 * MiB);
  });

  test('finds live blocks of the C library, small and large', () => {
    const explanation = explained(`
      for (let i = 0; i < 6400; i++) fillBytes(malloc(16368), 1, 16368);
      fillBytes(malloc(60 * MiB), 1, 60 * MiB);`);
    expectAbout(sumOf(explanation, 'c-heap-live'), 160 * MiB);
  });

  test('tells clean pages of a file from written ones, and finds shared segments', () => {
    const explanation = explained(`
      const folder = mkdtempSync('/var/tmp/explain-');
      const map = (path, bytes) => {
        const file = openSync(path, 'w+');
        ftruncateSync(file, bytes);
        const ptr = mapPages(bytes, { flags: 1, fd: file });
        rmSync(path);
        return [file, ptr];
      };
      const [file, mapped] = map(folder + '/data.bin', 60 * MiB);
      fillBytes(mapped, 1, 60 * MiB);
      fsyncSync(file);
      const [, shared] = map('/dev/shm/explain-' + process.pid, 30 * MiB);
      fillBytes(shared, 1, 30 * MiB);
      rmSync(folder, { recursive: true });
      // Last: the system writes to the file by itself what has changed.
      fillBytes(mapped, 2, 20 * MiB);`);
    expectAbout(sumOf(explanation, 'shared', '/dev/shm/explain-'), 30 * MiB);
    expectAbout(sumOf(explanation, 'file-dirty', 'data.bin') + sumOf(explanation, 'file-clean', 'data.bin'), 60 * MiB);
    expectAbout(sumOf(explanation, 'file-dirty', 'data.bin'), 20 * MiB);
  });

  test('finds memories of WebAssembly', () => {
    const explanation = explained(`
      globalThis.kept = [640, 320].map((initial) => new WebAssembly.Memory({ initial }));
      for (const { buffer } of kept) new Uint8Array(buffer).fill(1);`);
    expectAbout(sumOf(explanation, 'webassembly'), 60 * MiB);
  });

  test("tells this isolate's heap from that of a worker, and finds the worker's stack", () => {
    const explanation = explained(`
      const code = "globalThis.kept = Array.from({ length: 700000 }, (_, i) => ({ i })); " +
        "process.getBuiltinModule('node:worker_threads').parentPort.postMessage(process.memoryUsage().heapTotal); setInterval(() => {}, 1e6)";
      const worker = new Worker(code, { eval: true });
      const [heapTotal] = await once(worker, 'message');
      console.log(heapTotal);`);
    const workers = sumOf(explanation, 'v8-heap', 'workers');
    expect(workers).toBeGreaterThan(20 * MiB);
    expect(sumOf(explanation, 'v8-heap') - workers).toBeLessThan(20 * MiB);
    expect(sumOf(explanation, 'stack')).toBeGreaterThan(0);
  });

  test("finds this isolate's objects in its spaces", () => {
    const explanation = explained(
      `globalThis.kept = Array.from({ length: 500_000 }, (_, i) => ({ i, text: 'x' + i })); globalThis.gc?.();`,
    );
    const heap = sumOf(explanation, 'v8-heap', 'old_space') + sumOf(explanation, 'v8-heap', 'large_object_space');
    expect(heap).toBeGreaterThan(20 * MiB);
  });
});
