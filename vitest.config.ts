import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import packageFile from './package.json' with { type: 'json' };
import { LIMIT_MS, TEST_ENVIRONMENT } from './test/config/limits.js';
import { LongestFirst } from './test/config/longest-first.js';

// Examples import the package by its name: here that means the sources of its entry points.
const alias = Object.entries(packageFile.exports).flatMap(([name, targets]) => {
  if (typeof targets === 'string') return [];
  const path = targets.default.replace('./dist/', './').replace(/\.js$/, '.ts');
  const replacement = fileURLToPath(new URL(path, import.meta.url));
  return [{ find: new RegExp(`^${name.replace('.', 'stowage')}$`), replacement }];
});

const ALL = ['test/**/*.test.ts'];
const NEVER = ['test/soak/**', '**/node_modules/**'];
const HOSTS = ['test/hosts/**/*.test.ts'];
const OWN = ['hosts/sqlite-forbidden-code', 'hosts/types-made'].map((name) => `test/${name}.test.ts`);

export default defineConfig({
  resolve: { alias },
  test: {
    projects: [
      // Files share a process, which loads the sources once: loading them for each file took as long as a third of the tests.
      { extends: true, test: { name: 'shared process', include: ALL, exclude: [...NEVER, ...HOSTS, ...OWN], isolate: false } },
      // What foreign libraries keep and start stays with their tests.
      { extends: true, test: { name: 'hosts', include: HOSTS, exclude: [...NEVER, ...OWN], isolate: false } },
      // One replaces a module, one counts what is done once a process.
      { extends: true, test: { name: 'own process', include: OWN, exclude: NEVER, isolate: true } },
    ],
    // One more than there are processors: many tests wait for processes of their own, for a browser, or for time to pass.
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: LongestFirst },
    env: TEST_ENVIRONMENT,
    setupFiles: ['test/config/nothing-stays-open.ts'],
    // What a source becomes is kept in node_modules, by its content and by this file: for the three projects, and for the next run.
    experimental: { fsModuleCache: true },
    testTimeout: LIMIT_MS,
    hookTimeout: LIMIT_MS,
    expect: { poll: { timeout: LIMIT_MS } },
    coverage: {
      provider: 'v8',
      include: ['src/**', 'managers/**', 'adapters/**'],
      reporter: ['text-summary', 'json-summary'],
    },
  },
});
