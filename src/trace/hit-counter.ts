import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';

/** Adds up the hits of all managers that serve a replay, from their own statistics. */
export class HitCounter {
  readonly #deviceCount: number;
  readonly #before = new Map<MemoryManagerAdapter, ReturnType<typeof hitsOf>>();

  constructor(deviceCount: number) {
    this.#deviceCount = deviceCount;
  }

  /** The managers, in the order in which they began to serve. */
  get managers(): Iterable<MemoryManagerAdapter> {
    return this.#before.keys();
  }

  /** Counts a manager's hits from now on. */
  watch(manager: MemoryManagerAdapter): void {
    if (!this.#before.has(manager)) this.#before.set(manager, hitsOf(manager, this.#deviceCount));
  }

  /**
   * The share of allocations that needed no native call, 0 to 1.
   * If a manager keeps no statistics, each native allocation counts as one allocation that needed it.
   */
  rate(allocations: number, nativeAllocs: number): number {
    let [hits, served] = [0, 0];
    for (const [manager, before] of this.#before) {
      const now = hitsOf(manager, this.#deviceCount);
      if (now === undefined || before === undefined) return allocations === 0 ? 0 : Math.max(0, 1 - nativeAllocs / allocations);
      hits += now.hits - before.hits;
      served += now.served - before.served;
    }
    return served === 0 ? 0 : hits / served;
  }
}

/** @returns undefined for a manager that keeps no statistics */
function hitsOf(manager: MemoryManagerAdapter, deviceCount: number): { hits: number; served: number } | undefined {
  const stats = Array.from({ length: deviceCount }, (_, device) => manager.getMemoryStats(device));
  const known = stats.filter((one) => one !== undefined);
  if (known.length < deviceCount) return undefined;
  return {
    hits: known.reduce((sum, { hits }) => sum + hits, 0),
    served: known.reduce((sum, { blocks }) => sum + blocks.total, 0),
  };
}
