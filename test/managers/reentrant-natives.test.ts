import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type SimulatedCallName, SimulatedDevice } from '../../adapters/devices/simulated.js';
import { CachingMemoryManager, PoolMemoryManager, TlsfMemoryManager } from '../../managers/index.js';
import type { BlockMemoryManager } from '../../managers/policy/block-memory-manager.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { type DevicePtr, KiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';

type Step = { readonly allocate: number } | { readonly free: number } | { readonly cleanUp: true };

const table = () => new MemoryManagerDeviceInterface();
const MANAGERS: readonly [string, number, () => BlockMemoryManager][] = [
  ['caching', 0, () => new CachingMemoryManager(1, table())],
  ['tlsf', 0, () => new TlsfMemoryManager(1, table())],
  ['pool of pages', 4 * KiB, () => new PoolMemoryManager(1, table(), { granularityBytes: 12 * KiB, slack: 0.01 })],
  ['pool of segments', 0, () => new PoolMemoryManager(1, table())],
];
const CALLS: ReadonlySet<SimulatedCallName> = new Set(['nativeAlloc', 'nativeFree', 'reserve', 'release', 'commit', 'decommit']);
const MOST_DEEP = 2;

const size = fc.oneof(fc.integer({ min: 1, max: 4000 }), fc.integer({ min: 1, max: 200_000 }));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ allocate: size }) },
  { weight: 4, arbitrary: fc.record({ free: fc.nat() }) },
  { weight: 1, arbitrary: fc.constant({ cleanUp: true } as const) },
);

/** A manager whose device does a part of the program itself, from inside its native calls. */
class ReentrantBench {
  readonly #device: SimulatedDevice;
  readonly #runtime: MemoryRuntime;
  readonly #manager: BlockMemoryManager;
  readonly #inner: readonly Step[][];
  readonly #live = new Map<DevicePtr, number>();
  #depth = 0;
  #calls = 0;

  constructor(manager: BlockMemoryManager, granularityBytes: number, capacityBytes: number, inner: readonly Step[][]) {
    this.#device = new SimulatedDevice({ capacityBytes, virtual: granularityBytes > 0 ? { granularityBytes } : false });
    this.#runtime = new MemoryRuntime(this.#device, { exitReport: false });
    this.#manager = manager;
    this.#inner = inner;
    new MemoryManagerInstaller(manager, this.#runtime).setAsMemoryManager();
    this.#device.failWhen(({ name }) => {
      if (CALLS.has(name)) this.#nest();
      return false;
    });
  }

  perform(next: Step): void {
    const { slot } = this.#runtime;
    if ('cleanUp' in next) slot.signalMemoryCleanup();
    else if ('free' in next) this.#free(next.free);
    else this.#allocate(next.allocate);
  }

  check(): void {
    this.#manager.checkInvariants();
    const { slot } = this.#runtime;
    expect([slot.liveBlocks, slot.reservedBytes]).toEqual([this.#live.size, this.#device.liveBytes]);
    const blocks = [...this.#live].sort(([a], [b]) => a - b);
    blocks.forEach(([ptr, bytes], i) => {
      // Throws where no memory is.
      this.#device.fill(ptr, 0, bytes);
      expect(ptr + bytes).toBeLessThanOrEqual(blocks[i + 1]?.[0] ?? Number.POSITIVE_INFINITY);
    });
  }

  #nest(): void {
    if (this.#depth === MOST_DEEP) return;
    this.#depth++;
    try {
      for (const next of this.#inner[this.#calls++] ?? []) this.perform(next);
    } finally {
      this.#depth--;
    }
  }

  #allocate(bytes: number): void {
    try {
      this.#live.set(this.#runtime.slot.alloc(bytes, true), bytes);
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
    }
  }

  #free(index: number): void {
    if (this.#live.size === 0) return;
    const ptr = [...this.#live.keys()][index % this.#live.size]!;
    this.#live.delete(ptr);
    this.#runtime.slot.unlock(ptr, true);
  }
}

describe.each(MANAGERS)('%s', (_, granularityBytes, create) => {
  test.each([2 ** 40, 900_000])(
    'is whole after every step when native calls of a device of %i bytes come back with calls of their own',
    (capacityBytes) => {
      const programs = fc.array(step, { maxLength: 100, size: 'max' });
      const inner = fc.array(fc.array(step, { maxLength: 3 }), { maxLength: 40, size: 'max' });
      fc.assert(
        fc.property(programs, inner, (program, nested) => {
          const bench = new ReentrantBench(create(), granularityBytes, capacityBytes, nested);
          for (const next of program) {
            bench.perform(next);
            bench.check();
          }
        }),
        { numRuns: 40 },
      );
    },
  );
});
