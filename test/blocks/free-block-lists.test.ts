import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NONE, USER_LOCK } from '../../src/blocks/block-rows.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import { NOT_LIVE } from '../../src/blocks/kernel-interface.js';
import { HeapBench } from './heap-bench.js';

/** Allocates and frees at will; what is held it finds by number. */
class Churn {
  readonly bench = new HeapBench();
  readonly held: number[] = [];

  allocate(free: FreeBlocks, bytes: number): number {
    const pointer = free.allocate(bytes, USER_LOCK);
    if (pointer !== 0) this.held.push(pointer);
    return pointer;
  }

  free(index: number): void {
    const [pointer] = this.held.splice(index % Math.max(this.held.length, 1), 1);
    if (pointer !== undefined) this.bench.heap.release(pointer, USER_LOCK);
  }

  /** Pairs of neighbours that are in bins of the same group. */
  get unjoined(): number {
    const { heap } = this.bench;
    return [...heap].filter((block) => {
      const next = heap.nextOf(block);
      const areFree = next !== NONE && heap.isInBins(block) && heap.isInBins(next);
      return areFree && heap.groupOf(block) === heap.groupOf(next);
    }).length;
  }
}

const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ allocate: fc.integer({ min: 1, max: 3000 }), from: fc.nat() }) },
  { weight: 4, arbitrary: fc.record({ free: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ move: fc.nat(), to: fc.nat() }) },
);

describe('FreeBlocks', () => {
  describe('pairWith', () => {
    const pair = () => {
      const bench = new HeapBench();
      const [small, large] = [bench.free({ fit: 'exact' }), bench.free({ fit: 'exact', leastRestBytes: 1024 })];
      large.pairWith(small, 1024);
      return { bench, small, large };
    };

    test('takes small blocks from the small part and large ones from the other, whichever is asked', () => {
      const { bench, small, large } = pair();
      bench.fill(4096, small);
      bench.fill(1024 * 1024, large);
      for (const free of [small, large]) {
        expect(bench.heap.bytesOf(free.take(1024))).toBe(1024);
        expect(bench.heap.bytesOf(free.take(1025))).toBe(1040);
      }
      expect([bench.sizes(small.toArray()), large.count, large.parts]).toEqual([[2048], 1, [large, small]]);
      expect([bench.heap.bytesOf(large.usable(1)), small.usable(2000)]).toEqual([2048, large.toArray()[0]]);
    });

    test('puts blocks back by their size before they are joined', () => {
      const { bench, small, large } = pair();
      const [first, second] = bench.cut([1024, 1040], large) as [number, number];
      for (const block of [first, second]) bench.heap.handOut(block, 1000, USER_LOCK);
      bench.heap.release(bench.heap.addressOf(first), USER_LOCK);
      expect([small.toArray(), large.toArray()]).toEqual([[first], []]);
      bench.heap.release(bench.heap.addressOf(second), USER_LOCK);
      expect([small.count, bench.sizes(large.toArray())]).toEqual([0, [2064]]);
    });
  });

  describe('setLimits', () => {
    test('does not use blocks from one size on, and does not cut those from another on', () => {
      const bench = new HeapBench();
      const free = bench.free({ fit: 'exact' });
      free.setLimits(8192, 4096);
      for (const bytes of [4080, 4096, 8192]) bench.fill(bytes, free);
      expect([bench.heap.bytesOf(free.take(16)), bench.heap.bytesOf(free.take(4081))]).toEqual([16, 4096]);
      expect([free.usable(4081), free.take(4081), bench.heap.bytesOf(free.fit(4081))]).toEqual([NONE, NONE, 8192]);
      free.setLimits(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
      expect(bench.heap.bytesOf(free.take(4081))).toBe(4096);
    });
  });

  describe('addFront', () => {
    const fronted = (largestBytes: number, boundBytes: number) => {
      const churn = new Churn();
      const free = churn.bench.free({ fit: 'exact' });
      free.addFront(largestBytes, boundBytes);
      churn.bench.fill(2 ** 20, free);
      return { churn, free, heap: churn.bench.heap };
    };

    test('gives the block of exactly the size that came last', () => {
      const { churn, free } = fronted(1024, 2 ** 16);
      const [a, b, c] = [100, 110, 200].map((bytes) => churn.allocate(free, bytes)) as [number, number, number];
      for (let i = 0; i < 3; i++) churn.free(0);
      expect([free.deferredBytes, free.count]).toEqual([112 * 2 + 208, 1]);
      expect([churn.allocate(free, 97), churn.allocate(free, 112), churn.allocate(free, 112)]).toEqual([b, a, c + 208]);
      expect(free.deferredBytes).toBe(208);
    });

    test('keeps no larger blocks than it should, and knows those it keeps as free', () => {
      const { churn, free, heap } = fronted(1024, 2 ** 16);
      const [small, large] = [churn.allocate(free, 1024), churn.allocate(free, 1040)];
      churn.free(0);
      churn.free(0);
      expect(free.deferredBytes).toBe(1024);
      expect([small, large].map((pointer) => heap.release(pointer, USER_LOCK))).toEqual([NOT_LIVE, NOT_LIVE]);
      expect([heap.findLive(small), heap.isInBins(heap.find(small)), heap.isFree(heap.find(small))]).toEqual([0, false, true]);
    });

    test('gives no block of another size, of however many sizes some wait', () => {
      const { churn, free, heap } = fronted(2 ** 16, 2 ** 30);
      churn.bench.fill(2 ** 28, free);
      const sizes = Array.from({ length: 4000 }, (_, i) => 16 * (i + 1));
      for (let round = 0; round < 2; round++) {
        const held = (i: number) => heap.bytesOf(heap.findLive(churn.held[i]!));
        for (const bytes of sizes) churn.allocate(free, bytes);
        expect(sizes.filter((bytes, i) => held(i) !== bytes)).toEqual([]);
        while (churn.held.length > 0) churn.free(churn.held.length - 1);
        expect(free.deferredBytes).toBeGreaterThan(0);
      }
      free.flush();
      expect(churn.bench.sizes(free.toArray())).toEqual([2 ** 20, 2 ** 28]);
    });

    test('joins blocks when more bytes wait than should, those of sizes that nobody asks for first', () => {
      const { churn, free } = fronted(1024, 4096);
      for (let i = 0; i < 40; i++) churn.allocate(free, 16 * (1 + (i % 4)));
      const wanted = churn.allocate(free, 512);
      const kept = churn.allocate(free, 16);
      churn.free(churn.held.indexOf(wanted));
      for (let i = 0; i < 40; i++) churn.free(0);
      for (let i = 0; i < 40; i++) churn.allocate(free, 1000);
      for (let i = 0; i < 40; i++) {
        // A request of its size spares a block from the next round.
        churn.free(churn.held.indexOf(churn.allocate(free, 512)));
        churn.free(churn.held.findIndex((pointer) => pointer !== kept));
        expect(free.deferredBytes).toBeLessThanOrEqual(4096);
      }
      expect(churn.allocate(free, 512)).toBe(wanted);
      expect(free.isSound).toBe(true);
    });

    test('keeps within bounds that were lowered from the next free on', () => {
      const { churn, free } = fronted(1024, 2 ** 16);
      for (let i = 0; i < 20; i++) churn.allocate(free, 1024);
      for (let i = 0; i < 19; i++) churn.free(0);
      expect(free.deferredBytes).toBe(19 * 1024);
      free.setFrontBounds(1024, 2048);
      churn.free(0);
      expect(free.deferredBytes).toBeLessThanOrEqual(2048);
    });

    test('loses nothing in any program: a flush joins everything', () => {
      const bound = 4096;
      fc.assert(
        fc.property(fc.array(step, { maxLength: 150, size: 'max' }), (program) => {
          const { churn, free, heap } = fronted(1024, bound);
          for (const each of program) {
            if ('allocate' in each) churn.allocate(free, each.allocate);
            else if ('free' in each) churn.free(each.free);
            else free.flush();
            if ('move' in each && free.deferredBytes !== 0) expect.fail('blocks wait after a flush');
            if (!free.isSound || free.deferredBytes > bound || churn.unjoined > 0) expect.fail('unsound');
          }
          heap.checkInvariants();
          while (churn.held.length > 0) churn.free(0);
          free.flush();
          expect([heap.count, churn.bench.sizes(free.toArray()), free.deferredBytes]).toEqual([1, [2 ** 20], 0]);
        }),
        { numRuns: 60 },
      );
    });
  });

  describe('moveAllTo', () => {
    test('leaves nothing behind and joins what it moves, in any program', () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (program) => {
          const churn = new Churn();
          const { bench } = churn;
          const frees = [0, 1, 2].map((group) => {
            const [small, large] = [
              bench.free({ fit: 'exact', group }),
              bench.free({ fit: 'exact', group, leastRestBytes: 512 }),
            ];
            large.pairWith(small, 512);
            if (group === 0) for (const part of [small, large]) part.addFront(256, 2048);
            return large;
          });
          for (const free of frees) for (const part of free.parts) bench.fill(2 ** 16, part);
          for (const each of program) {
            if ('allocate' in each) churn.allocate(frees[each.from % 3]!, each.allocate);
            else if ('free' in each) churn.free(each.free);
            else {
              const [from, to] = [frees[each.move % 3]!, frees[(each.move + 1 + (each.to % 2)) % 3]!];
              from.moveAllTo(to);
              expect(from.parts.map((part) => part.count + part.deferredBytes)).toEqual([0, 0]);
            }
            if (churn.unjoined > 0) expect.fail('neighbours of one group are not joined');
            for (const part of frees.flatMap((free) => free.parts)) if (!part.isSound) expect.fail('unsound');
          }
          bench.heap.checkInvariants();
          const free = [...bench.heap].filter((block) => bench.heap.isFree(block));
          expect(bench.sizes(free).reduce((sum, bytes) => sum + bytes, 0)).toBe(bench.stats.cachedBytes);
        }),
        { numRuns: 60 },
      );
    });
  });

  describe('isSound', () => {
    const filled = (fit: 'exact' | 'good', count: number) => {
      const bench = new HeapBench();
      const free = bench.free({ fit });
      for (let i = 0; i < count; i++) bench.fill(2 ** 20 + 16 * (count - i), free);
      free.fit(2 ** 20 + 16 * count);
      expect(free.isSound).toBe(true);
      return { bench, free, block: free.toArray()[Math.floor(count / 2)]! };
    };

    /** What a policy that misuses blocks could do to one in bins. */
    const misuse: readonly [string, (block: number, bench: HeapBench) => void][] = [
      ['is held', (block, { heap }) => heap.setLocks(block, USER_LOCK)],
      ['has users', (block, { heap }) => heap.setUsed(block)],
      ['has another owner', (block, bench) => bench.heap.setOwner(block, bench.free())],
      ['was cut', (block, { heap }) => heap.split(block, 2 ** 19)],
    ];

    test.each(misuse)('is false when a block in a bin %s', (_, break_) => {
      for (const fit of ['exact', 'good'] as const) {
        for (const count of [1, 3, 40]) {
          const { bench, free, block } = filled(fit, count);
          break_(block, bench);
          expect(free.isSound, `${fit} fit of ${count} blocks`).toBe(false);
        }
      }
    });

    test('is false when a block is in two bins', () => {
      const { bench, free, block } = filled('exact', 3);
      bench.free().putIn(block);
      expect(free.isSound).toBe(false);
    });
  });
});
