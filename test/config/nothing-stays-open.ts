import { afterAll, expect } from 'vitest';
import type {} from '../../src/core/budgets.js';
import { processState } from '../../src/core/process-state.js';
import type {} from '../../src/trace/recording/flight-recorder.js';

// Files share a process: what one leaves open works on, and writes files, during the tests of others.
afterAll(() => {
  const { budgets, flightRecorders } = processState();
  const open = [...budgets, ...(flightRecorders ?? [])].map((one) => one.constructor.name);
  budgets.clear();
  flightRecorders?.clear();
  expect(open).toEqual([]);
});
