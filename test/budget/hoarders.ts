import { afterEach, beforeEach, type MockInstance, vi } from 'vitest';
import type { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { MemoryBudget, type MemoryBudgetOptions } from '../../src/budget/index.js';
import { type MemoryManagerAdapter, type MemoryManagerDeviceInterface, MiB } from '../../src/core/index.js';
import type { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { PlainManager } from '../core/fakes.js';
import { expectSum, runtimeOn, simulated } from './budgets.js';

/** That of the test, which {@link useHoarders} makes. */
export let device: SimulatedDevice;
/** Of 64 MiB of that device. */
export let budget: MemoryBudget;
/** Takes the process's warnings. */
export let warn: MockInstance;
/** Runtimes that are closed when the test ends. */
export const made: MemoryRuntime[] = [];

/** Gives each freed block of 1 MiB and more back only when it is told to, one by one. */
export class HoardingManager extends PlainManager {
  readonly #freed: [ptr: number, bytes: number][] = [];
  #sizes = new Map<number, number>();
  /** What it was asked for: wanted and most. */
  readonly asked: [number, number][] = [];

  get cachedBytes(): number {
    return this.#freed.reduce((sum, [, bytes]) => sum + bytes, 0);
  }

  override allocBytes(bytes: number, userLock: boolean, alignment?: number) {
    const ptr = super.allocBytes(bytes, userLock, alignment);
    this.#sizes.set(ptr, bytes);
    return ptr;
  }

  override unlock(ptr: never): void {
    this.#freed.push([ptr, this.#sizes.get(ptr)!]);
  }

  override allocated(ptr: never): number {
    return this.#freed.some(([freed]) => freed === ptr) ? 0 : super.allocated(ptr);
  }

  override stats() {
    const cached = { current: this.cachedBytes, peak: 0, total: 0 };
    return new Proxy({}, { get: (_, name) => (name === 'cachedBytes' ? cached : { current: 0, peak: 0, total: 0 }) }) as never;
  }

  override releaseCached(_device: number, wantedBytes: number, mostBytes: number): void {
    this.asked.push([wantedBytes, mostBytes]);
    for (let gone = 0; gone < wantedBytes && this.#freed.length > 0; ) {
      const [ptr, bytes] = this.#freed[0]!;
      if (gone + bytes > mostBytes) return;
      this.#freed.shift();
      super.unlock(ptr as never, true);
      gone += bytes;
    }
  }

  override signalMemoryCleanup(): void {
    for (const [ptr] of this.#freed.splice(0)) super.unlock(ptr as never, true);
  }
}

export function runtimeWith(
  manager: MemoryManagerAdapter | ((count: number, table: MemoryManagerDeviceInterface) => MemoryManagerAdapter),
) {
  const runtime = runtimeOn(device, typeof manager === 'function' ? manager : () => manager);
  if (typeof manager !== 'function') runtime.slot.install(manager);
  made.push(runtime);
  return runtime;
}

// A test that keeps nothing of a hoarder would have dropped its handles.
const held: unknown[] = [];

/** A member that holds blocks of 1 MiB, some of them cached. */
export function hoarder(
  name: string,
  blocks: number,
  cached: number,
  options: { priority?: number; minimumBytes?: number } = {},
  of = budget,
) {
  const manager = new HoardingManager();
  const runtime = runtimeWith(manager);
  const handles = Array.from({ length: blocks + cached }, () => runtime.allocate(MiB));
  for (const handle of handles.splice(0, cached)) handle.dispose();
  held.push(handles);
  const membership = of.add(runtime, { name, ...options });
  return { runtime, manager, membership, handles };
}

export const limit = (bytes: number, more: MemoryBudgetOptions = {}) =>
  new MemoryBudget({ limit: bytes, memory: device, ...more });

/** Gives each test of a file a device, a budget over it and quiet warnings, and checks afterwards that the budget's books agree. */
export function useHoarders(): void {
  beforeEach(() => {
    device = simulated({ virtual: true });
    budget = limit(64 * MiB);
    warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  });

  afterEach(() => {
    held.length = 0;
    expectSum(budget);
    budget.dispose();
    for (const runtime of made.splice(0)) runtime.close();
    warn.mockRestore();
  });
}

/** Takes another device for the rest of the test. */
export function useDevice(other: SimulatedDevice): void {
  device = other;
}
