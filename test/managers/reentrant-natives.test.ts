import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type SimulatedCallName, SimulatedDevice } from '../../adapters/devices/simulated.js';
import {
  ArenaMemoryManager,
  BuddyMemoryManager,
  CachingMemoryManager,
  DefaultMemoryManager,
  FailingMemoryManager,
  GuardedMemoryManager,
  LimitingMemoryManager,
  LruMemoryManager,
  PoolMemoryManager,
  PyTorchMemoryManager,
  ScratchMemoryManager,
  SlabMemoryManager,
  StatisticsMemoryManager,
  TlsfMemoryManager,
  TrackingMemoryManager,
} from '../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { type DevicePtr, KiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { searchRuns } from '../config/search.js';
import { same } from '../fixtures/same.js';
import { FakeGuardMemory } from './guard-memory-fake.js';
import { PLENTY } from './stream-program.js';

type Step =
  | { readonly allocate: number }
  | { readonly free: number }
  | { readonly cleanUp: true }
  | { readonly release: readonly [wantedBytes: number, mostBytes: number] };
/** What a native call does from inside, before or after its own work, and whether it fails. */
interface Nested {
  readonly steps: readonly Step[];
  readonly when: 'before' | 'after';
  readonly fails: boolean;
}
type Virtual = NonNullable<ConstructorParameters<typeof SimulatedDevice>[0]>['virtual'] & {};
type Checked = MemoryManagerAdapter & { checkInvariants(): void };

const table = () => new MemoryManagerDeviceInterface();
const POLICIES: Readonly<Record<string, () => Checked>> = {
  caching: () => new CachingMemoryManager(1, table()),
  tlsf: () => new TlsfMemoryManager(1, table()),
  'pool of pages': () => new PoolMemoryManager(1, table(), { granularityBytes: 12 * KiB, slack: 0.01 }),
  'pool of pages in pieces': () => new PoolMemoryManager(1, table(), { granularityBytes: 12 * KiB, slack: 0.1 }),
  'tight pool of pages': () => new PoolMemoryManager(1, table(), { granularityBytes: 256 * KiB, slack: 0.01 }),
  'tight pool of pages in pieces': () => new PoolMemoryManager(1, table(), { granularityBytes: 12 * KiB, slack: 0.01 }),
  'pool of segments': () => new PoolMemoryManager(1, table()),
  pytorch: () => new PyTorchMemoryManager(1, table(), { conf: 'max_split_size_mb:20' }),
  'pytorch with expandable segments': () => new PyTorchMemoryManager(1, table(), { conf: 'expandable_segments:True' }),
  'pytorch with garbage collection': () =>
    new PyTorchMemoryManager(1, table(), { conf: 'garbage_collection_threshold:0.00001,per_process_memory_fraction:1.0' }),
  default: () => new DefaultMemoryManager(1, table(), { maxBuffers: 12 }),
  'default in debug mode': () => new DefaultMemoryManager(1, table(), { debug: true }),
  lru: () => new LruMemoryManager(1, table(), { capacityLayouts: 4, capacityBytes: 400_000 }),
  'lru that keeps nothing': () => new LruMemoryManager(1, table(), { capacityLayouts: 0 }),
  arena: () => new ArenaMemoryManager(1, table(), { regionBytes: 4 * KiB }),
  'arena of two regions': () => new ArenaMemoryManager(1, table(), { regionBytes: 64 * KiB, maxRegions: 2 }),
  scratch: () => new ScratchMemoryManager(1, table(), { regionBytes: 4 * KiB }),
  slab: () => new SlabMemoryManager(1, table(), { cellBytes: 1000, slabBytes: 4000 }),
  buddy: () => new BuddyMemoryManager(1, table(), { regionBytes: 16 * KiB }),
};
const WRAPS: Readonly<Record<string, (inner: MemoryManagerAdapter) => Checked>> = {
  limiting: (inner) => new LimitingMemoryManager(inner, { limitBytes: 600_000, limitBlocks: 12 }),
  tracking: (inner) => new TrackingMemoryManager(inner, { sites: 1 }),
  statistics: (inner) => new StatisticsMemoryManager(inner),
  failing: (inner) => new FailingMemoryManager(inner, { every: 7 }),
  guarded: (inner) => new GuardedMemoryManager(inner, { memory: new FakeGuardMemory() }),
};
/** Every policy, and every decorator around those that go about native calls in different ways, and around each other. */
const MANAGERS: readonly [string, () => Checked][] = [
  ...Object.entries(POLICIES),
  ...Object.entries(WRAPS).flatMap(([name, wrap]) =>
    ['default in debug mode', 'slab', 'caching'].map((policy): [string, () => Checked] => [
      `${name} around ${policy}`,
      () => wrap(POLICIES[policy]!()),
    ]),
  ),
  ...Object.entries(WRAPS).flatMap(([outer, wrapOuter]) =>
    Object.entries(WRAPS).map(([inner, wrapInner]): [string, () => Checked] => [
      `${outer} around ${inner} around lru`,
      () => wrapOuter(wrapInner(POLICIES['lru that keeps nothing']!())),
    ]),
  ),
];
const PAGE_CALLS: ReadonlySet<SimulatedCallName> = new Set(['reserve', 'release', 'commit', 'decommit']);
const MOST_DEEP = 2;

const size = fc.oneof(fc.integer({ min: 1, max: 4000 }), fc.integer({ min: 1, max: 200_000 }));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ allocate: size }) },
  { weight: 4, arbitrary: fc.record({ free: fc.nat() }) },
  { weight: 1, arbitrary: fc.constant({ cleanUp: true } as const) },
  { weight: 2, arbitrary: fc.record({ release: fc.tuple(size, size) }) },
);

const nested: fc.Arbitrary<Nested> = fc.record({
  steps: fc.array(step, { maxLength: 3 }),
  when: fc.constantFrom('before', 'after'),
  fails: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
});

class Refusal extends Error {}

/** A manager whose device does a part of the program itself, from inside its native calls. */
class ReentrantBench {
  readonly #device: SimulatedDevice;
  readonly #runtime: MemoryRuntime;
  readonly #manager: Checked;
  readonly #inner: readonly Nested[];
  readonly #live = new Map<DevicePtr, number>();
  #depth = 0;
  #calls = 0;

  constructor(manager: Checked, virtual: Virtual, capacityBytes: number, inner: readonly Nested[]) {
    this.#device = new SimulatedDevice({ capacityBytes, virtual });
    this.#runtime = new MemoryRuntime(this.#device, { exitReport: false });
    this.#manager = manager;
    this.#inner = inner;
    new MemoryManagerInstaller(manager, this.#runtime).setAsMemoryManager();
    const native = manager.deviceInterface;
    const { nativeAlloc, nativeFree } = native;
    native.nativeAlloc = (bytes, alignment) => this.#around(() => nativeAlloc(bytes, alignment));
    native.nativeFree = (ptr) => this.#around(() => nativeFree(ptr));
    this.#device.failWhen(({ name }) => {
      if (PAGE_CALLS.has(name)) this.#nest(this.#inner[this.#calls++]?.steps);
      return false;
    });
  }

  perform(next: Step): void {
    try {
      const { slot } = this.#runtime;
      if ('cleanUp' in next) slot.signalMemoryCleanup();
      else if ('release' in next) this.#manager.releaseCached(0, ...next.release);
      else if ('free' in next) this.#free(next.free);
      else this.#live.set(slot.alloc(next.allocate, true), next.allocate);
    } catch (error) {
      if (!(error instanceof Refusal) && !MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
    }
  }

  check(): void {
    this.#manager.checkInvariants();
    const { slot } = this.#runtime;
    same([slot.liveBlocks, slot.reservedBytes], [this.#live.size, this.#device.liveBytes]);
    const blocks = [...this.#live].sort(([a], [b]) => a - b);
    blocks.forEach(([ptr, bytes], i) => {
      // Throws where no memory is.
      this.#device.fill(ptr, 0, bytes);
      const fits = this.#manager.allocated(ptr) >= bytes && ptr + bytes <= (blocks[i + 1]?.[0] ?? Number.POSITIVE_INFINITY);
      if (!fits) expect.fail(`block ${ptr} of ${bytes} bytes is ${this.#manager.allocated(ptr)} long, or reaches into the next`);
    });
  }

  /** Frees everything and gives all memory back, through native calls that work. */
  end(): void {
    this.#depth = MOST_DEEP;
    while (this.#live.size > 0) this.#free(0);
    this.#runtime.slot.signalMemoryCleanup();
    this.check();
    expect(this.#device.liveBytes).toBe(0);
    this.#runtime.close();
  }

  #around<T>(call: () => T): T {
    const inner = this.#depth < MOST_DEEP ? this.#inner[this.#calls++] : undefined;
    if (inner?.when !== 'after' || inner.fails) this.#nest(inner?.steps);
    if (inner?.fails) throw new Refusal();
    const result = call();
    if (inner?.when === 'after') this.#nest(inner.steps);
    return result;
  }

  #nest(steps: readonly Step[] = []): void {
    if (this.#depth === MOST_DEEP) return;
    this.#depth++;
    for (const next of steps) this.perform(next);
    this.#depth--;
  }

  #free(index: number): void {
    if (this.#live.size === 0) return;
    const [ptr, bytes] = [...this.#live][index % this.#live.size]!;
    this.#live.delete(ptr);
    try {
      this.#runtime.slot.unlock(ptr, true);
    } catch (error) {
      this.#live.set(ptr, bytes);
      throw error;
    }
  }
}

describe.each(MANAGERS)('%s', (name, create) => {
  test.each([PLENTY, 900_000])(
    'is whole after every step when native calls of a device of %i bytes come back with calls of their own, or fail',
    (capacityBytes) => {
      const programs = fc.array(step, { maxLength: 60, size: 'max' });
      const inner = fc.array(nested, { maxLength: 40, size: 'max' });
      fc.assert(
        fc.property(programs, inner, (program, calls) => {
          const virtual = /pages|expandable/.test(name) && { granularityBytes: 4 * KiB, pieces: name.includes('pieces') };
          const bench = new ReentrantBench(create(), virtual, capacityBytes, calls);
          for (const next of program) {
            bench.perform(next);
            bench.check();
          }
          bench.end();
        }),
        { numRuns: searchRuns(20) },
      );
    },
  );
});
