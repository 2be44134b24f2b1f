import { onTestFinished } from 'vitest';
import { SimulatedDevice, type SimulatedDeviceOptions } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager, DefaultMemoryManager } from '../../managers/index.js';
import { MemoryBudget, type MemoryBudgetOptions } from '../../src/budget/index.js';
import {
  type BudgetRefusal,
  MemoryError,
  type MemoryManagerAdapter,
  MemoryManagerDeviceInterface,
} from '../../src/core/index.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { atLeast, is } from '../fixtures/same.js';

type Maker = (deviceCount: number, table: MemoryManagerDeviceInterface) => MemoryManagerAdapter;

/** Each free gives its memory back to the device at once. */
export { PlainManager } from '../core/fakes.js';

/** A runtime over a simulated device, whose memory is a kind of its own: `simulated`. */
export function runtimeOn(device: SimulatedDevice, make: Maker = (count, table) => new CachingMemoryManager(count, table)) {
  return new MemoryRuntime(device, {
    exitReport: false,
    // Handles of simulated memory are held: to collect garbage takes longer than the tests.
    collectDropped: false,
    createDefaultManager: make,
    createFallbackManager: (count, table) => new DefaultMemoryManager(count, table),
  });
}

export function simulated(options: SimulatedDeviceOptions = {}): SimulatedDevice {
  return new SimulatedDevice(options);
}

export const table = () => new MemoryManagerDeviceInterface();

/** What a budget says when it refuses. @throws when the action is not refused by a budget */
export function refusalOf(action: () => unknown): BudgetRefusal {
  return factsOf(errorOf(action));
}

/** What an asynchronous request is refused with. */
export async function refusalAsync(promise: Promise<unknown>): Promise<BudgetRefusal> {
  return factsOf(
    await promise.then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
}

function factsOf(error: unknown): BudgetRefusal {
  if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY') || error.facts.budget === undefined) {
    throw new Error(`not refused by a budget: ${String(error)}`, { cause: error });
  }
  return error.facts.budget;
}

export function errorOf(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** Checks that a budget counts what its members hold. */
export function expectSum(budget: MemoryBudget): void {
  const { members, usedBytes } = budget.report();
  const sum = members.reduce((bytes, { heldBytes }) => bytes + heldBytes, 0);
  is(usedBytes, sum);
  for (const { heldBytes, name } of members) atLeast(heldBytes, 0, name);
}

/** What a member holds; undefined when there is none of that name. */
export function heldBy(budget: MemoryBudget, name: string): number | undefined {
  return budget.report().members.find((member) => member.name === name)?.heldBytes;
}

/** Makes a budget that ends with the test, at the latest. */
export function budgetOfTest(options: MemoryBudgetOptions): MemoryBudget {
  const budget = new MemoryBudget(options);
  onTestFinished(() => budget.dispose());
  return budget;
}
