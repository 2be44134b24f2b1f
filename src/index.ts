/**
 * What every program needs: runtimes, allocations and scopes, the contracts between hosts, slots, managers and devices, statistics,
 * errors, logs.
 *
 * @module
 */

import './defaults.js';
import { defaultHost } from './core/memory-host.js';
import type { MemoryRuntime } from './runtime/memory-runtime.js';

export { MemoryBudget, type MemoryBudgetOptions } from './budget/memory-budget.js';
export * from './core/index.js';
export * from './runtime/index.js';

/** The runtime over CPU memory that the whole process shares: made at its first use. */
export function defaultRuntime(): MemoryRuntime {
  return defaultHost() as MemoryRuntime;
}
