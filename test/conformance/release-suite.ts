import { describe, expect, test } from 'vitest';
import { type DevicePtr, KiB, MiB } from '../../src/core/units.js';
import { SeededRandom } from '../core/fakes.js';
import { same } from '../fixtures/same.js';
import type { DeviceCase, Held, ManagerBench } from './manager-bench.js';

const SIZES = [100, 3000, 40 * KiB, 700 * KiB, MiB, 3 * MiB, 11 * MiB];
/** What is wanted, and how much may go at most. */
const BOUNDS: readonly (readonly [number, number])[] = [
  [1, Number.POSITIVE_INFINITY],
  [1, 1],
  [100 * KiB, 100 * KiB],
  [64 * KiB, 3 * MiB],
  [5 * MiB, 5 * MiB],
  [5 * MiB, 24 * MiB],
  [Number.POSITIVE_INFINITY, 30 * MiB],
  [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
];

/** What the contract says of `releaseCached`, for {@link describeManager}. */
export function describeReleases(bench: () => ManagerBench, deviceCase: DeviceCase): void {
  const expectWhole = (b: ManagerBench, live: readonly Held[]): void => {
    expectLive(b, live);
    const stats = Array.from({ length: b.device.deviceCount }, (_, id) => b.manager.stats(id));
    if (deviceCase.countsWithoutRounding === true || stats[0] === undefined) return;
    same([stats.reduce((sum, one) => sum + one!.reservedBytes.current, 0)], [b.device.liveBytes]);
  };

  const fillAndFree = (b: ManagerBench, seed: number, tried?: <T>(action: () => T) => T): Held[] =>
    fillBench(b, seed, deviceCase.isWritten === true ? SIZES.slice(0, -2) : SIZES, tried);
  const seeds = deviceCase.isWritten === true ? 1 : 2;
  const end = (of: ManagerBench, held: readonly Held[]): void => {
    expectWhole(of, held);
    for (const one of held) of.free(one);
    of.manager.shutdown();
    same([of.held], [0]);
  };

  describe('releaseCached', () => {
    test.each(BOUNDS)('gives back at least %d bytes that are cached, and at most %d', (wanted, most) => {
      for (let seed = 1; seed <= seeds; seed++) {
        const b = bench();
        const live = fillAndFree(b, seed);
        const gave = givenBy(b, () => b.manager.releaseCached(0, wanted, most));
        expect(gave).toBeLessThanOrEqual(most);
        // What did not suffice is all that the most allows.
        if (gave < wanted) same([givenBy(b, () => b.manager.releaseCached(0, wanted - gave, most - gave))], [0]);
        // Of this bench: in another one, of the same sizes, blocks may lie elsewhere, and other segments be whole.
        const cachedBytes =
          gave + givenBy(b, () => b.manager.releaseCached(0, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY));
        if (cachedBytes <= most) expect(gave).toBeGreaterThanOrEqual(Math.min(wanted, cachedBytes));
        end(b, live);
      }
    });

    test('gives back as much as a cleanup does when nothing bounds it', () => {
      const b = bench();
      const live = fillAndFree(b, 9);
      b.manager.releaseCached(0, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
      expect(givenBy(b, () => b.manager.signalMemoryCleanup())).toBe(0);
      expectWhole(b, live);
    });

    test('gives nothing back when nothing is wanted, nothing may go, or nothing is cached', () => {
      const b = bench();
      b.manager.releaseCached(0, MiB, MiB);
      const live = fillAndFree(b, 5);
      for (const [wanted, most] of [
        [0, Number.POSITIVE_INFINITY],
        [-1, MiB],
        [Number.NaN, MiB],
        [MiB, 0],
        [MiB, -1],
      ] as const) {
        expect(givenBy(b, () => b.manager.releaseCached(0, wanted, most))).toBe(0);
      }
      b.manager.signalMemoryCleanup();
      expect(givenBy(b, () => b.manager.releaseCached(0, 100 * MiB, 100 * MiB))).toBe(0);
      expectWhole(b, live);
    });

    if (deviceCase.deviceCount > 1)
      test('leaves other devices alone, whichever is active', () => {
        const b = bench();
        if (b.manager.stats(0) === undefined) return;
        for (const id of [0, 1]) {
          b.device.activate(id);
          fillAndFree(b, 3);
        }
        const reserved = () => [0, 1].map((id) => b.manager.stats(id)!.reservedBytes.current);
        const [first, second] = reserved();
        b.manager.releaseCached(0, Number.POSITIVE_INFINITY, 2 ** 52);
        expect(reserved()[1]).toBe(second);
        expect(reserved()[0]).toBeLessThanOrEqual(first!);
        b.manager.signalMemoryCleanup();
      });

    test('loses nothing when every second native call that gives back fails', () => {
      const b = bench();
      let calls = 0;
      const failing = (ptr: DevicePtr) => {
        if (++calls % 2 === 1) throw new Error(`the device refuses ${ptr}`);
      };
      hookNatives(b, { giving: failing });
      const live = fillAndFree(b, 7, retried);
      for (let tries = 0; tries < 200; tries++) {
        const before = b.device.liveBytes;
        let hasFailed = false;
        try {
          b.manager.releaseCached(0, MiB, 24 * MiB);
        } catch {
          hasFailed = true;
        }
        expect(before - b.device.liveBytes).toBeLessThanOrEqual(24 * MiB);
        expectWhole(b, live);
        if (!hasFailed && b.device.liveBytes === before) break;
      }
      for (const held of live) retried(() => b.free(held));
      retried(() => b.manager.signalMemoryCleanup());
      expect([b.held, b.device.liveBytes]).toEqual([0, 0]);
    });

    test('is whole when it is called from inside every native call, before and after the call', () => {
      for (let seed = 1; seed <= seeds + 1; seed++) {
        const b = bench();
        const random = new SeededRandom(seed);
        let depth = 0;
        const release = () => {
          if (depth > 1) return;
          depth++;
          b.manager.releaseCached(0, 1 + random.below(8 * MiB), random.below(40 * MiB));
          depth--;
        };
        hookNatives(b, { giving: release, getting: release, given: release, got: release });
        const live = fillAndFree(b, seed);
        b.manager.releaseCached(0, 4 * MiB, 20 * MiB);
        expectWhole(b, live);
        for (const held of live) b.free(held);
        b.manager.signalMemoryCleanup();
        b.manager.signalMemoryCleanup();
        expect([b.held, b.device.liveBytes]).toEqual([0, 0]);
      }
    });
  });
}

/** Allocates blocks of many sizes and frees most of them, the same for a seed. @returns those that are left */
function fillBench(
  b: ManagerBench,
  seed: number,
  many: readonly number[],
  tried: <T>(action: () => T) => T = (action) => action(),
): Held[] {
  const random = new SeededRandom(seed * 7919);
  const live: Held[] = [];
  const freeOne = () => {
    const held = live.splice(random.below(live.length), 1)[0] as Held;
    tried(() => b.manager.unlock(held.ptr, true));
  };
  const sizes = Array.from({ length: 60 }, () => random.pick(many) + random.below(3000));
  for (const bytes of sizes) {
    // Without the bench, which checks all invariants after each call.
    live.push({ ptr: tried(() => b.manager.allocBytes(bytes, true)), bytes, device: b.device.activeDeviceId });
    if (random.below(3) === 0) freeOne();
  }
  while (live.length > 6) freeOne();
  return live;
}

/** By how much less is held natively after an action. */
function givenBy(b: ManagerBench, action: () => void): number {
  const before = b.device.liveBytes;
  action();
  return before - b.device.liveBytes;
}

function expectLive(b: ManagerBench, live: readonly Held[]): void {
  b.manager.checkInvariants?.();
  for (const { ptr, bytes } of live) {
    const isWhole = b.manager.allocated(ptr) >= bytes && b.manager.isUserLocked(ptr) && b.holds(ptr, bytes);
    if (!isWhole) expect.fail(`block ${ptr} of ${bytes} bytes is not as it was`);
    // Throws where no memory is.
    for (const at of [ptr, ptr + bytes - 1]) b.device.fill(at as DevicePtr, 0, 1);
  }
}

/** Does something before and after the native calls of a table, which nobody has used yet. */
function hookNatives(
  b: ManagerBench,
  hooks: {
    readonly giving?: (ptr: DevicePtr) => void;
    readonly given?: () => void;
    readonly getting?: () => void;
    readonly got?: () => void;
  },
): void {
  const { nativeAlloc, nativeFree, virtual } = b.table;
  const getting = <T>(call: () => T): T => {
    hooks.getting?.();
    const result = call();
    hooks.got?.();
    return result;
  };
  const giving = (ptr: DevicePtr, call: () => void): void => {
    hooks.giving?.(ptr);
    call();
    hooks.given?.();
  };
  b.table.nativeAlloc = (bytes, alignment) => getting(() => nativeAlloc(bytes, alignment));
  b.table.nativeFree = (ptr) => giving(ptr, () => nativeFree(ptr));
  if (virtual === undefined) return;
  b.table.virtual = {
    granularityBytes: virtual.granularityBytes,
    pieces: virtual.pieces,
    reserve: (bytes) => getting(() => virtual.reserve(bytes)),
    release: (ptr, bytes) => giving(ptr, () => virtual.release(ptr, bytes)),
    commit: (ptr, bytes, pieceBytes) => getting(() => virtual.commit(ptr, bytes, pieceBytes)),
    decommit: (ptr, bytes, isIdle) => giving(ptr, () => virtual.decommit(ptr, bytes, isIdle)),
  };
}

/** Does what may fail until it does not. */
function retried<T>(action: () => T): T {
  for (let tries = 0; tries < 200; tries++) {
    try {
      return action();
    } catch {
      // Tried again.
    }
  }
  return expect.fail('it failed 200 times');
}
