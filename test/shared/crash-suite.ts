import { describe, expect, test } from 'vitest';
import { KiB } from '../../src/core/units.js';
import type { PageAllocator } from '../../src/shared/allocators/page-allocator.js';
import { DEFAULT_MEM_CONTEXT as CTX, NULL_TID, type OffsetPointer } from '../../src/shared/allocators/shared-allocator.js';
import type { SharedRegion } from '../../src/shared/shared-region.js';
import { codeOf } from '../fixtures/code-of.js';
import { is, same } from '../fixtures/same.js';
import { MortalRegion, ThreadDied, withMortalAtomics } from './crashes.js';
import { bufferRegion, FakeThreads, ID, type PAGE_ALLOCATORS } from './regions.js';

const MORTAL = 2;
const HELPER = 4;
/** What a thread is doing when it dies. */
interface Scene {
  /** Made by the thread that survives. */
  readonly before: readonly OffsetPointer[];
  /** Made by the thread that dies, before. */
  readonly own: readonly OffsetPointer[];
}

type Operation = (mortal: PageAllocator, scene: Scene) => void;

// Sizes that leave free pages on both sides, in lists with several members and alone.
const SIZES = [100, 100, 5000, 100, 64, 64, 5000, 40_000, 64, 100, 40_000, 300];

const OPERATIONS: readonly [string, Operation][] = [
  ['allocating a page of the class', (mortal) => mortal.allocateOffset(CTX, 4900)],
  ['allocating a page that is cut', (mortal) => mortal.allocateOffset(CTX, 1500)],
  ['allocating from a fresh part', (mortal) => mortal.allocateOffset(CTX, 60_000)],
  ['allocating what is cached', (mortal) => mortal.allocateOffset(CTX, 100)],
  ['allocating aligned', (mortal) => mortal.alignedAllocateOffset(CTX, 700, 4096)],
  ['freeing an own block between live ones', (mortal, { own }) => mortal.freeOffset(CTX, own[3]!)],
  ['freeing an own block between free ones', (mortal, { own }) => mortal.freeOffset(CTX, own[7]!)],
  ['freeing another’s block', (mortal, { before }) => mortal.freeOffset(CTX, before[1]!)],
  ['freeing another’s large block', (mortal, { before }) => mortal.freeOffset(CTX, before[7]!)],
  [
    'freeing several',
    (mortal, { own }) => {
      for (const i of [1, 0, 9, 11]) mortal.freeOffset(CTX, own[i]!);
    },
  ],
  ['reallocating', (mortal, { own }) => mortal.reallocateOffset(CTX, own[3]!, 9000)],
  [
    'running out of memory',
    (mortal) => expect(codeOf(() => mortal.allocateOffset(CTX, 200 * KiB))).toBe('ERR_MEM_OUT_OF_MEMORY'),
  ],
  ['sharing', (mortal, { own }) => mortal.references.share(own[0]!)],
  [
    'sharing and dropping the last reference',
    (mortal, { own }) => mortal.references.drop(mortal.references.share(own[3]!).reference),
  ],
  [
    'making and ending a storage',
    (mortal) => {
      const ctx = { tid: NULL_TID };
      mortal.createTls(ctx);
      mortal.freeOffset(ctx, mortal.allocateOffset(ctx, 200));
      mortal.freeTls(ctx);
    },
  ],
  ['detaching', (mortal) => mortal.detach()],
];

/**
 * Has a thread die before each store of each operation, and before each store of a repair; whoever comes next finds a sound
 * region, in which no page is lost.
 *
 * @param step - after a death before that store, how many stores later the next one comes
 */
export function describeCrashes(Type: (typeof PAGE_ALLOCATORS)[number], step: (store: number) => number): void {
  /** Runs an operation that dies before its store `lastStore`. @returns whether it died; what the survivor finds is checked */
  function dieAt(operate: Operation, lastStore: number, recover: (region: SharedRegion, threads: FakeThreads) => void): boolean {
    const threads = new FakeThreads();
    const region = bufferRegion(256 * KiB);
    const survivor = Type.shmInit(region, { id: ID, watch: threads.watch(1), cacheBytes: 1024 });
    const mortalRegion = new MortalRegion(region);
    const mortal = Type.shmDeserialize(mortalRegion, { watch: threads.watch(MORTAL) });
    const before: OffsetPointer[] = [];
    const own: OffsetPointer[] = [];
    for (const bytes of SIZES) {
      before.push(survivor.allocateOffset(CTX, bytes));
      own.push(mortal.allocateOffset(CTX, bytes));
    }
    for (const i of [2, 6, 10]) survivor.freeOffset(CTX, before[i]!);
    for (const i of [2, 4, 6, 8]) mortal.freeOffset(CTX, own[i]!);
    mortalRegion.stores = 0;
    mortalRegion.lastStore = lastStore;
    let died = false;
    try {
      operate(mortal, { before, own });
    } catch (error) {
      if (!(error instanceof ThreadDied)) throw error;
      died = true;
    }
    if (!died) {
      expect(mortalRegion.isDead).toBe(false);
      return false;
    }
    threads.kill(MORTAL);
    recover(region, threads);
    // Others go on: each place is still found, and freed once.
    survivor.checkInvariants();
    const kept = survivor.allocateOffset(CTX, 777);
    survivor.checkInvariants();
    survivor.reclaim(MORTAL);
    survivor.reclaim(HELPER);
    survivor.checkInvariants();
    same(survivor.pids(), [1]);
    for (const offset of [...before, kept]) if (survivor.sizeOf(offset) > 0) survivor.freeOffset(CTX, offset);
    // No page is left anywhere: all of the region, but for a header, is one block.
    survivor.freeOffset(CTX, survivor.allocateOffset(CTX, survivor.capacityBytes - 32));
    survivor.detach();
    const last = Type.shmDeserialize(region, { watch: threads.watch(3) });
    last.checkInvariants();
    is(last.allocatedBytes, 0, `after dying at store ${lastStore}`);
    return true;
  }

  describe('a thread that dies before any store of', () => {
    test.each(OPERATIONS)('%s leaves a sound region, and no page is lost', (_name, operate) => {
      withMortalAtomics(() => {
        let store = 0;
        while (dieAt(operate, store, () => undefined)) store += step(store);
        expect(store).toBeGreaterThan(2);
      });
    });
  });

  describe('a repair that dies before any store', () => {
    test.each(OPERATIONS.slice(1, 7))('is done again by the next thread: %s', (_name, operate) => {
      withMortalAtomics(() => {
        for (const store of [9, 31]) {
          for (let repair = 0; ; repair += 2 * step(repair)) {
            let repaired = false;
            const died = dieAt(operate, store, (region, threads) => {
              repaired = repairDyingAt(region, threads, repair);
            });
            if (!died) return;
            if (repaired) break;
          }
        }
      });
    });
  });

  /** Has a third thread reclaim what the dead one held, and die as well. @returns whether it got to the end */
  function repairDyingAt(region: SharedRegion, threads: FakeThreads, lastStore: number): boolean {
    const mortalRegion = new MortalRegion(region);
    const helper = Type.shmDeserialize(mortalRegion, { watch: threads.watch(HELPER) });
    mortalRegion.lastStore = lastStore;
    try {
      helper.reclaim(MORTAL);
      return true;
    } catch (error) {
      if (!(error instanceof ThreadDied)) throw error;
      return false;
    } finally {
      threads.kill(HELPER);
    }
  }
}
