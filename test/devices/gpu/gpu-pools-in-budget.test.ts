import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { PoolMemoryManager, type PoolMemoryManagerOptions } from '../../../managers/pool/pool-memory-manager.js';
import { MemoryBudget } from '../../../src/budget/index.js';
import type { Device } from '../../../src/core/device.js';
import { MemoryManagerDeviceInterface } from '../../../src/core/device-interface.js';
import { MemoryError } from '../../../src/core/errors.js';
import { MemoryManagerInstaller } from '../../../src/core/memory-manager-installer.js';
import { type DevicePtr, GiB, KiB, MiB } from '../../../src/core/units.js';
import { MemoryRuntime } from '../../../src/runtime/memory-runtime.js';
import { GpuFixture, takeAgain } from '../../fixtures/gpu-fixture.js';

const OUT_OF_MEMORY = 2;
const UNKNOWN = 999;
const END_BYTES = 64;
const fixture = new GpuFixture('cuda');

interface LiveBlock {
  readonly who: number;
  readonly ptr: DevicePtr;
  readonly bytes: number;
  readonly mark: number;
}

/** Runs what memory or a native call may be missing for. @returns undefined then */
function tried<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY') || MemoryError.is(error, 'ERR_MEM_NATIVE')) return undefined;
    throw error;
  }
}

/** Three pools with pages of different sizes on one card, in one budget. */
class PoolsInBudget {
  readonly #device: Device;
  readonly #budget: MemoryBudget;
  readonly #members: readonly MemoryRuntime[];
  readonly #pools: PoolMemoryManager[] = [];
  readonly #live: LiveBlock[] = [];
  #marks = 0;

  /** @param whenPressed - called from inside native calls that the budget has no room for */
  constructor(
    readonly pageBytes: number,
    limit: number,
    whenPressed: (pools: PoolsInBudget) => void,
  ) {
    this.#device = fixture.fresh({ deviceCount: 1, capacityBytes: 64 * GiB, pageBytes });
    this.#members = Array.from({ length: 3 }, () => new MemoryRuntime(this.#device, { exitReport: false }));
    this.#budget = new MemoryBudget({ limit, memory: this.#device, exitReport: false });
    let isPressed = false;
    this.#budget.events.on('pressure', () => {
      if (isPressed) return;
      isPressed = true;
      try {
        whenPressed(this);
      } finally {
        isPressed = false;
      }
    });
    this.#members.forEach(({ slot }, i) => {
      this.#budget.add(slot);
      this.install(i, { granularityBytes: (i + 1) * pageBytes, slack: [0, 0.1, 1][i], releaseThresholdBytes: i * 8 * MiB });
    });
  }

  install(who: number, options: PoolMemoryManagerOptions): void {
    const pool = new PoolMemoryManager(1, new MemoryManagerDeviceInterface(), options);
    new MemoryManagerInstaller(pool, this.#members[who]).setAsMemoryManager();
    this.#pools.push(pool);
  }

  allocate(who: number, bytes: number): void {
    const ptr = this.#slot(who).alloc(bytes, true);
    this.#marks = (this.#marks + 1) % 256;
    takeAgain(() => this.#device.fill(ptr, this.#marks, bytes));
    this.#live.push({ who, ptr, bytes, mark: this.#marks });
  }

  free(at: number): void {
    const [block] = this.#live.splice(at % Math.max(this.#live.length, 1), 1);
    if (block !== undefined) this.#slot(block.who).unlock(block.ptr, true);
  }

  cleanUp(who: number): void {
    this.#slot(who).signalMemoryCleanup();
  }

  release(who: number, wantedBytes: number): void {
    this.#slot(who).releaseCached(0, wantedBytes, 2 * wantedBytes);
  }

  /** Throws unless all books agree, and every block has its bytes. */
  check(): void {
    for (const pool of this.#pools) pool.checkInvariants();
    const held = this.#pools
      .filter(({ lifecycle }) => lifecycle.state !== 'stopped')
      .map((pool) => pool.stats(0).reservedBytes.current);
    const bytes = held.reduce((sum, each) => sum + each, 0);
    expect([this.#device.liveBytes, this.#budget.usedBytes]).toEqual([bytes, bytes]);
    for (const { ptr, bytes, mark } of this.#live) {
      const ends = [ptr, ptr + bytes - Math.min(bytes, END_BYTES)].flatMap((at) => [
        ...fixture.peek(at, Math.min(bytes, END_BYTES)),
      ]);
      if (ends.some((byte) => byte !== mark)) expect.fail(`the block at ${ptr} lost its bytes`);
    }
  }

  end(): void {
    // Nothing fails from here on.
    fixture.failNth(0, 0);
    while (this.#live.length > 0) this.free(0);
    for (const member of this.#members) {
      member.slot.signalMemoryCleanup();
      member.dispose();
    }
    this.#budget.dispose();
    // What was refused is given back now.
    this.#device.nativeFree(this.#device.nativeAlloc(64));
    expect([this.#device.liveBytes, fixture.used(0), fixture.liveMemories, fixture.liveRanges]).toEqual([0, 0, 0, 0]);
  }

  #slot(who: number): MemoryRuntime['slot'] {
    return this.#members[who]!.slot;
  }
}

const who = fc.nat(2);
const size = fc.oneof(...[100_000, 2 * MiB, 12 * MiB].map((max) => fc.integer({ min: 1, max })));
const change: fc.Arbitrary<(pools: PoolsInBudget) => void> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.tuple(who, size).map(
      ([i, bytes]) =>
        (pools: PoolsInBudget) =>
          pools.allocate(i, bytes),
    ),
  },
  { weight: 7, arbitrary: fc.nat().map((at) => (pools: PoolsInBudget) => pools.free(at)) },
  { weight: 1, arbitrary: who.map((i) => (pools: PoolsInBudget) => pools.cleanUp(i)) },
  {
    weight: 1,
    arbitrary: fc.tuple(who, size).map(
      ([i, bytes]) =>
        (pools: PoolsInBudget) =>
          pools.release(i, bytes),
    ),
  },
);
const options = fc.record({
  pages: fc.integer({ min: 1, max: 5 }),
  slack: fc.constantFrom(0, 0.03, 0.1, 1),
  releaseThresholdBytes: fc.constantFrom(0, 8 * MiB, 100 * MiB),
});
const step = fc.oneof(
  { weight: 18, arbitrary: change },
  {
    weight: 1,
    arbitrary: fc.tuple(who, options).map(
      ([i, { pages, ...of }]) =>
        (pools: PoolsInBudget) =>
          pools.install(i, { granularityBytes: pages * pools.pageBytes, ...of }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.integer({ min: 1, max: 12 }), fc.constantFrom(OUT_OF_MEMORY, UNKNOWN)).map(
      ([n, status]) =>
        () =>
          fixture.failNth(n, status),
    ),
  },
);

describe('pools of different pages in one budget on a card', () => {
  // From 1 MiB on, a slack below 0.1 has a pool place blocks in another way.
  test.each([
    [64 * KiB, 60],
    [MiB, 40],
  ])(
    'lose no byte of a block and no memory, in any program over pages of %i bytes, when native calls fail and listeners call back',
    (pageBytes, numRuns) => {
      vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      onTestFinished(() => void vi.restoreAllMocks());
      const program = fc.array(step, { minLength: 10, maxLength: 120 });
      const nested = fc.array(change, { minLength: 1, maxLength: 4 });
      const limit = fc.constantFrom(6 * MiB, 12 * MiB, 24 * MiB);
      fc.assert(
        fc.property(program, nested, limit, (steps, fromInside, limitBytes) => {
          let calls = 0;
          const whenPressed = (pools: PoolsInBudget) => tried(() => fromInside[calls++ % fromInside.length]!(pools));
          const pools = new PoolsInBudget(pageBytes, limitBytes, whenPressed);
          for (const act of steps) {
            tried(() => act(pools));
            pools.check();
          }
          pools.end();
        }),
        { numRuns },
      );
    },
  );
});
