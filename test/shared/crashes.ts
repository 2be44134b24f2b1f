import { SharedRegion } from '../../src/shared/shared-region.js';

/** What a thread that is dead throws at every further step. */
export class ThreadDied extends Error {}

/** One for all: thousands of threads die, and the stack is the most of an error's cost. */
const DEATH = new ThreadDied();

const ATOMIC_STORES = ['store', 'exchange', 'compareExchange', 'add'] as const;
const targets = new WeakMap<object, Int32Array | BigInt64Array>();

/**
 * A region whose thread dies before a chosen store: that store and all later ones do not happen, whatever the code does to
 * tidy up. Every store of the words counts, plain or atomic, so nothing in the allocators has to know of it.
 */
export class MortalRegion extends SharedRegion {
  /** Stores until now. */
  stores = 0;
  /** Dies before the store of this number. */
  lastStore = Number.POSITIVE_INFINITY;

  constructor(region: SharedRegion) {
    super({ base: region.base, bytes: region.bytes, bytesAt: (offset, bytes) => region.view(offset, bytes) });
    Object.defineProperty(this, 'int32', { value: this.mortal(this.int32) });
  }

  get isDead(): boolean {
    return this.stores > this.lastStore;
  }

  /** Counts a store, or dies. */
  step(): void {
    this.stores++;
    if (this.isDead) throw DEATH;
  }

  /** The same words, which count. */
  mortal<T extends Int32Array | BigInt64Array>(words: T): T {
    const proxy = new Proxy(words, {
      get: (target, key) => {
        if (this.isDead) throw DEATH;
        if (key === 'fill') {
          return (value: number, start: number, end: number) => {
            for (let i = start; i < end; i++) (proxy as Int32Array)[i] = value;
          };
        }
        const value = Reflect.get(target, key);
        return typeof value === 'function' ? value.bind(target) : value;
      },
      set: (target, key, value) => {
        this.step();
        return Reflect.set(target, key, value);
      },
    });
    targets.set(proxy, words);
    regions.set(proxy, this);
    return proxy;
  }
}

const regions = new WeakMap<object, MortalRegion>();

/** Runs `work` with Atomics that know the words of a {@link MortalRegion}. */
export function withMortalAtomics<T>(work: () => T): T {
  const saved = { ...Object.fromEntries([...ATOMIC_STORES, 'load' as const].map((name) => [name, Atomics[name]])) };
  for (const [name, original] of Object.entries(saved)) {
    const wrapped = (words: object, ...rest: unknown[]) => {
      const region = regions.get(words);
      if (region !== undefined) {
        if (name !== 'load') region.step();
        else if (region.isDead) throw DEATH;
      }
      return (original as (...values: unknown[]) => unknown)(targets.get(words) ?? words, ...rest);
    };
    Object.assign(Atomics, { [name]: wrapped });
  }
  try {
    return work();
  } finally {
    Object.assign(Atomics, saved);
  }
}
