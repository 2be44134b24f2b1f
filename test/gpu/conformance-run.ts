import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { startTests, type Task, type VitestRunner } from '@vitest/runner';
import { suiteTarget } from './suite-target.js';

/** What the conformance suite came to. */
export interface ConformanceResult {
  readonly passed: number;
  /** Each failed test's full name, and why. */
  readonly failures: readonly string[];
}

const TIMEOUT_MS = 60_000;

/** Runs a file of tests in this process, by vitest's runner without vitest. @param file - beside this one */
export async function runTests(file: string, make: typeof suiteTarget.make): Promise<ConformanceResult> {
  suiteTarget.make = make;
  const runner: VitestRunner = {
    config: {
      root: import.meta.dirname,
      setupFiles: [],
      name: undefined,
      passWithNoTests: false,
      testNamePattern: undefined,
      allowOnly: false,
      sequence: { seed: 0, hooks: 'stack', setupFiles: 'list' },
      chaiConfig: undefined,
      maxConcurrency: 1,
      testTimeout: TIMEOUT_MS,
      hookTimeout: TIMEOUT_MS,
      retry: 0,
      includeTaskLocation: false,
      tags: [],
      tagsFilter: undefined,
      strictTags: true,
    },
    importFile: (path) => import(pathToFileURL(path).href),
  };
  const files = await startTests([join(import.meta.dirname, file)], runner);
  const result = { passed: 0, failures: [] as string[] };
  for (const file of files) collect(file, '', result);
  if (result.passed === 0 && result.failures.length === 0) result.failures.push('the suite held no test');
  return result;
}

function collect(task: Task, parent: string, result: { passed: number; failures: string[] }): void {
  const name = task.type === 'suite' && parent === '' ? ' ' : `${parent.trim() === '' ? '' : `${parent} > `}${task.name}`;
  const errors = task.result?.errors ?? [];
  if (task.type === 'test' && task.result?.state === 'pass') result.passed++;
  else if (task.type === 'test' || errors.length > 0) {
    result.failures.push(
      `${name}: ${errors.map(({ message }) => message).join('; ') || `it is ${task.result?.state ?? 'not run'}`}`,
    );
  }
  if (task.type === 'suite') for (const child of task.tasks) collect(child, name, result);
}
