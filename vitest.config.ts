import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Examples import the package by its name: here that means the sources.
const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^stowage$/, replacement: source('src/index.ts') },
      { find: /^stowage\/managers$/, replacement: source('managers/index.ts') },
      { find: /^stowage\/adapters\/cuda$/, replacement: source('adapters/devices/cuda.ts') },
      { find: /^stowage\/adapters\/hip$/, replacement: source('adapters/devices/hip.ts') },
      { find: /^stowage\/shared$/, replacement: source('src/shared/index.ts') },
      { find: /^stowage\/model$/, replacement: source('src/model/index.ts') },
      { find: /^stowage\/trace$/, replacement: source('src/trace/index.ts') },
      { find: /^stowage\/adapters\/cpu$/, replacement: source('adapters/devices/cpu.ts') },
      { find: /^stowage\/report$/, replacement: source('src/report/index.ts') },
      { find: /^stowage\/otel$/, replacement: source('src/otel/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/soak/**', '**/node_modules/**'],
    // As many as there are processors: many tests wait for processes of their own.
    maxWorkers: availableParallelism(),
    testTimeout: 60_000,
    hookTimeout: 120_000,
    coverage: {
      provider: 'v8',
      include: ['src/**', 'managers/**', 'adapters/**'],
      reporter: ['text-summary', 'json-summary'],
    },
  },
});
