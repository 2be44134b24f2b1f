import { beforeAll, describe, expect, test } from 'vitest';
import { type TrimReport, trimMemory } from '../../src/explain/index.js';
import { LIMIT_MS } from '../config/limits.js';
import { codeOf } from '../fixtures/code-of.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

const MiB = 2 ** 20;

/** Runs a program and gives what it prints last, as JSON. */
function resultOf<T>(program: string, env: NodeJS.ProcessEnv = {}): T {
  const { stdout, stderr, status } = runChild(
    `import { trimMemory } from '${moduleUrl('src/explain/index.js')}';
     import { MemoryBudget, MemoryRuntime } from '${moduleUrl('src/index.js')}';
     import { CpuDevice } from '${moduleUrl('adapters/devices/cpu.js')}';
     import { cFunction } from '${moduleUrl('adapters/ffi/library.js')}';
     import { libc } from '${moduleUrl('adapters/os/libc.js')}';
     import { fillBytes } from '${moduleUrl('adapters/os/bytes.js')}';
     const MiB = 2 ** 20;
     const malloc = cFunction(libc(), 'malloc', 'uintptr_t', ['size_t']);
     const free = cFunction(libc(), 'free', 'void', ['uintptr_t']);
     /** Mallocs and touches, then frees all but each n-th. */
     const keepFree = (bytes, blockBytes, each) => {
       const size = blockBytes - 16;
       const blocks = Array.from({ length: bytes / blockBytes }, () => { const ptr = malloc(size); fillBytes(ptr, 1, size); return ptr; });
       blocks.forEach((ptr, i) => { if (i % each !== each - 1) free(ptr); });
     };
     ${program}`,
    { env },
  );
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout.trim().split('\n').at(-1) as string) as T;
}

const bytesOf = ({ steps }: TrimReport, step: string) => steps.find((one) => one.step === step)?.bytes ?? Number.NaN;

describe.skipIf(process.platform !== 'linux')('trimMemory', { timeout: LIMIT_MS }, () => {
  beforeAll(() => void compiled(), LIMIT_MS);

  test('gets back at least 90 % of 256 MiB that the C library keeps free', () => {
    const report = resultOf<TrimReport>(`keepFree(256 * MiB, 65536, 1024); console.log(JSON.stringify(trimMemory()));`);
    expect(bytesOf(report, 'C library')).toBeGreaterThan(0.9 * 256 * MiB);
    expect(report.beforeBytes - report.afterBytes).toBeGreaterThan(0.9 * 256 * MiB);
  });

  test('gets back little where live blocks lie between the free ones', () => {
    const report = resultOf<TrimReport>('keepFree(128 * MiB, 2048, 2); console.log(JSON.stringify(trimMemory()));');
    expect(bytesOf(report, 'C library')).toBeLessThan(4 * MiB);
  });

  test('has managers give back what they cache, and leaves live blocks alone', () => {
    const report = resultOf<TrimReport & { intact: boolean }>(`
      const runtime = new MemoryRuntime(new CpuDevice());
      const kept = runtime.allocate(32 * MiB);
      const view = kept.view(Uint8Array).fill(7);
      const dropped = runtime.allocate(64 * MiB);
      dropped.view(Uint8Array).fill(1);
      dropped.dispose();
      const report = trimMemory();
      console.log(JSON.stringify({ ...report, intact: view.every((byte) => byte === 7) }));
      kept.dispose();`);
    expect(bytesOf(report, 'managers')).toBeGreaterThan(0.95 * 64 * MiB);
    expect(report.intact).toBe(true);
  });

  test('has V8 free Buffers that are not used any more', () => {
    const report = resultOf<TrimReport>(`
      (() => { globalThis.kept = Array.from({ length: 50 }, () => Buffer.alloc(MiB, 1)); })();
      await new Promise(setImmediate);
      globalThis.kept = undefined;
      console.log(JSON.stringify(trimMemory()));`);
    expect(report.beforeBytes - report.afterBytes).toBeGreaterThan(40 * MiB);
  });

  test('has V8 collect once, and says of the next time that it did a moment ago', () => {
    const steps = resultOf<TrimReport['steps']>('trimMemory(); console.log(JSON.stringify(trimMemory().steps));');
    expect(steps.find(({ step }) => step === 'V8')).toEqual({
      step: 'V8',
      bytes: 0,
      skipped: 'a collection was made a moment ago',
    });
  });

  test('takes the steps alone that are asked for', () => {
    const { steps } = trimMemory({ v8: false, managers: false, cLibrary: false });
    expect(steps.map(({ step, skipped }) => [step, skipped])).toEqual([
      ['V8', 'not asked for'],
      ['managers', 'not asked for'],
      ['C library', 'not asked for'],
    ]);
  });

  test('refuses an unknown option', () => {
    expect(codeOf(() => trimMemory({ malloc: true } as never))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });

  test('is a step of a budget that watches the resident set', () => {
    const result = resultOf<{ got: boolean; reclaims: { step: string; freedBytes: number }[] }>(`
      const budget = new MemoryBudget({ limit: 700 * MiB, watchV8: false });
      const runtime = new MemoryRuntime(new CpuDevice());
      budget.add(runtime);
      keepFree(600 * MiB, 65536, 1024);
      budget.watch('resident set', () => process.memoryUsage.rss());
      budget.refresh();
      const block = runtime.allocate(400 * MiB);
      console.log(JSON.stringify({ got: block.bytes > 0, reclaims: budget.report().reclaims }));
      block.dispose();`);
    expect(result.got).toBe(true);
    expect(result.reclaims.find(({ step }) => step === 'C library')?.freedBytes).toBeGreaterThan(500 * MiB);
  });
});
