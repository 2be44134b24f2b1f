import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { MemoryExplanation, MemoryKind } from '../../src/explain/index.js';
import { mainFile } from '../cli/compiled-cli.js';
import { LIMIT_MS } from '../config/limits.js';

const ENGINES = join(import.meta.dirname, 'engines');
const isInstalled = existsSync(join(ENGINES, 'node_modules'));
// In CI they have to be there.
const isSkipped = process.platform !== 'linux' || process.arch !== 'x64' || (!isInstalled && process.env['CI'] === undefined);
const title = isSkipped ? 'stowage explain (skipped: npm run install:explain installs the engines)' : 'stowage explain';

/** Programs that do real work, and kinds of memory that each of them has at least so many MiB of. */
const PROGRAMS: readonly (readonly [program: string, least: Partial<Record<MemoryKind, number>>])[] = [
  ['bare', { 'v8-heap': 8, binary: 30 }],
  ['koffi', { 'c-heap-live': 4 }],
  ['sharp', { 'array-buffers': 8, 'c-heap-free': 10 }],
  ['better-sqlite3', { 'c-heap-live': 10 }],
  ['onnxruntime', { 'array-buffers': 24, binary: 50 }],
  ['node-llama-cpp', { 'v8-heap': 20 }],
  ['duckdb', { 'library-memory': 30 }],
  ['canvas', { 'c-heap-live': 12 }],
];

describe.skipIf(isSkipped)(title, { timeout: LIMIT_MS }, () => {
  const folder = isSkipped ? '' : mkdtempSync(join(tmpdir(), 'explain-engines-'));
  beforeAll(() => void mainFile(), LIMIT_MS);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.each(PROGRAMS)('names nearly all memory of %s', (program, least) => {
    const out = join(folder, `${program}.json`);
    const run = spawnSync(process.execPath, [mainFile(), 'explain', '--out', out, '--', process.execPath, `${program}.mjs`], {
      cwd: ENGINES,
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    expect(run.status, run.stderr).toBe(0);
    const { categories, residentBytes, namedBytes } = JSON.parse(readFileSync(out, 'utf8')) as MemoryExplanation;
    expect(namedBytes / residentBytes).toBeGreaterThanOrEqual(0.95);
    for (const [kind, mebibytes] of Object.entries(least)) {
      const found = categories.filter((category) => category.kind === kind);
      const bytes = found.reduce((sum, category) => sum + category.residentBytes, 0);
      expect(bytes / 2 ** 20, kind).toBeGreaterThan(mebibytes);
    }
  });
});
