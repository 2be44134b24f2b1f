import { existsSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import type { MemoryExplanation, TrimReport } from '../../src/explain/index.js';
import { LIMIT_MS } from '../config/limits.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

const FOLDERS = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib'];
const MiB = 2 ** 20;
/** jemalloc keeps pages until it is asked for them: by itself it gives them back after some seconds. */
const JEMALLOC = { MALLOC_CONF: 'dirty_decay_ms:-1' };
/** mimalloc gives pages back at once: else when it is next used in the same segment after a delay, and `mi_collect` does not hasten that. */
const MIMALLOC = { MIMALLOC_DECOMMIT_DELAY: '0', MIMALLOC_PURGE_DELAY: '0' };

describe.each([
  ['jemalloc', 'libjemalloc.so.2', JEMALLOC],
  ['mimalloc', 'libmimalloc.so.2', MIMALLOC],
])('explainMemory under %s', (name, file, settings) => {
  const path = FOLDERS.map((folder) => `${folder}/${file}`).find((one) => existsSync(one));
  const isMissing = path === undefined && process.env['CI'] === undefined;

  describe.skipIf(isMissing || process.platform !== 'linux')(
    isMissing ? `(skipped: no ${file} is here)` : file,
    { timeout: LIMIT_MS },
    () => {
      beforeAll(() => void compiled(), LIMIT_MS);

      test('recognises the allocator, asks it, and has it give back', () => {
        const { stdout, stderr, status } = runChild(
          `import { explainMemory, trimMemory } from '${moduleUrl('src/explain/index.js')}';
         // Small enough for the allocator's own regions.
         let kept = Array.from({ length: 6400 }, () => Buffer.alloc(16384, 1));
         const before = explainMemory();
         kept = kept.filter((_, i) => i % 64 === 0);
         globalThis.gc();
         // V8 frees them on another thread.
         while (process.memoryUsage().arrayBuffers > 8 * ${MiB}) await new Promise((resolve) => setTimeout(resolve, 10));
         const after = explainMemory();
         const report = trimMemory();
         console.log(JSON.stringify({ before, after, report, left: kept.length }));`,
          { env: { LD_PRELOAD: path, ...settings }, nodeArguments: ['--expose-gc'] },
        );
        expect(status, stderr).toBe(0);
        const { before, after, report } = JSON.parse(stdout) as Record<'before' | 'after', MemoryExplanation> & {
          report: TrimReport;
        };
        for (const { namedBytes, residentBytes } of [before, after]) expect(namedBytes / residentBytes).toBeGreaterThan(0.95);
        const of = ({ categories }: MemoryExplanation, kind: string) =>
          categories.filter((one) => one.kind === kind).reduce((sum, { residentBytes }) => sum + residentBytes, 0);
        expect(of(before, 'array-buffers')).toBeGreaterThan(95 * MiB);
        expect(of(before, 'array-buffers')).toBeLessThan(105 * MiB);
        expect(before.categories.some((one) => one.kind.startsWith('allocator-') && one.name === name)).toBe(true);
        // mimalloc does not say what is live.
        if (name === 'jemalloc') {
          expect(of(after, 'allocator-free')).toBeGreaterThan(50 * MiB);
          expect(report.beforeBytes - report.afterBytes).toBeGreaterThan(50 * MiB);
        }
        expect(report.afterBytes).toBeLessThan(before.residentBytes - 60 * MiB);
      });
    },
  );
});
