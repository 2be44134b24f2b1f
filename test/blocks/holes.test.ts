import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NONE, USER_LOCK } from '../../src/blocks/block-rows.js';
import type { Holes } from '../../src/blocks/holes.js';
import { FREED } from '../../src/blocks/kernel-interface.js';
import { atLeast, same } from '../fixtures/same.js';
import { HeapBench } from './heap-bench.js';

const RANGE_PAGES = 64;
const HOLES = -1;
const APART_BYTES = 1024;

type Step = { readonly grow: number } | { readonly allocate: number } | { readonly free: number } | { readonly reclaim: number };

/** One address range, the pages of which come and go. */
class Range {
  readonly bench = new HeapBench();
  readonly idle = this.bench.free();
  readonly holes: Holes;
  readonly pageBytes: number;
  readonly live: number[] = [];

  constructor(pageBytes: number) {
    this.pageBytes = pageBytes;
    this.holes = this.bench.heap.createHoles(HOLES, this.idle, pageBytes);
    this.holes.add(pageBytes * 2 ** 20, RANGE_PAGES * pageBytes);
  }

  perform(step: Step): void {
    if ('grow' in step) this.grow(step.grow);
    else if ('allocate' in step) this.allocate(step.allocate);
    else if ('free' in step) this.free(step.free);
    else this.reclaim(step.reclaim);
  }

  /** Fills the gap that is found for `bytes` where no free block has them. @returns the free block, or NONE */
  grow(bytes: number): number {
    const { holes, bench, pageBytes } = this;
    if (this.idle.fit(bytes) !== NONE) return NONE;
    const hole = holes.findGap(bytes);
    if (hole === NONE) {
      atLeast(bytes - 1, Math.max(0, ...this.rooms()));
      return NONE;
    }
    const { gapAddress, gapBytes, gapRoom } = holes;
    const start = bench.heap.addressOf(hole);
    const room = bench.heap.bytesOf(hole);
    atLeast(gapAddress, start);
    atLeast(start + room, gapAddress + gapRoom);
    same([gapAddress % pageBytes, gapBytes % pageBytes, gapRoom % pageBytes], [0, 0, 0]);
    holes.give(hole);
    const block = holes.fill(hole, gapAddress, gapBytes);
    bench.stats.reserved(gapBytes);
    atLeast(bench.heap.bytesOf(block), bytes);
    if (gapBytes < room) atLeast(bytes - 1, bench.heap.bytesOf(block) - pageBytes);
    return block;
  }

  allocate(bytes: number): void {
    const ptr = this.idle.allocate(bytes, USER_LOCK);
    if (ptr !== 0) this.live.push(ptr);
  }

  free(index: number): void {
    if (this.live.length === 0) return;
    const [ptr = 0] = this.live.splice(index % this.live.length, 1);
    same([this.bench.heap.release(ptr, USER_LOCK)], [FREED]);
  }

  /** Gives back the pages of the block that is found for `bytes`. */
  reclaim(bytes: number): void {
    const { holes, idle, bench } = this;
    const gives = idle.toArray().map((block) => holes.wholePages(block));
    const block = holes.reclaimable(bytes, 0);
    if (block === NONE) {
      // Those beside the last gap are spared, a few.
      atLeast(2, gives.filter((given) => given > 0).length);
      return;
    }
    const given = holes.wholePages(block);
    atLeast(given, 1);
    idle.takeOut(block);
    holes.punch(block);
    bench.stats.released(given);
  }

  /** Allocates blocks in memory for all of the range, and others between them that stay. @returns their addresses */
  apart(sizes: readonly number[]): number[] {
    this.grow(RANGE_PAGES * this.pageBytes);
    return sizes.map((bytes) => {
      const ptr = this.idle.allocate(bytes, USER_LOCK);
      this.idle.allocate(APART_BYTES, USER_LOCK);
      return ptr;
    });
  }

  /** The parts in which nothing is live: holes with the free blocks beside them, and free blocks. */
  freeParts(): (readonly [from: number, to: number])[] {
    const { heap } = this.bench;
    return [...this.idle.toArray(), ...this.holes.toArray()].map((block) => {
      const isHole = heap.isHole(block);
      const [before, behind] = [heap.previousOf(block), heap.nextOf(block)];
      const from = heap.addressOf(isHole && this.idle.has(before) ? before : block);
      const last = isHole && this.idle.has(behind) ? behind : block;
      return [from, heap.addressOf(last) + heap.bytesOf(last)] as const;
    });
  }

  /** Pages that a block at an address would touch in which nothing is live. O(blocks) */
  touchedBy(address: number, bytes: number): number {
    const { heap } = this.bench;
    const pages = new Set<number>();
    for (let page = Math.floor(address / this.pageBytes); page * this.pageBytes < address + bytes; page++) pages.add(page);
    for (const block of heap) {
      if (heap.isFree(block)) continue;
      const end = heap.addressOf(block) + heap.bytesOf(block);
      for (let page = Math.floor(heap.addressOf(block) / this.pageBytes); page * this.pageBytes < end; page++) pages.delete(page);
    }
    return pages.size;
  }

  /** What each hole would hold with the free blocks beside it. */
  rooms(): number[] {
    const { heap } = this.bench;
    const idleBytes = (block: number) => (block !== NONE && this.idle.has(block) ? heap.bytesOf(block) : 0);
    return this.holes
      .toArray()
      .map((hole) => idleBytes(heap.previousOf(hole)) + heap.bytesOf(hole) + idleBytes(heap.nextOf(hole)));
  }

  check(): void {
    const { heap, stats } = this.bench;
    heap.checkInvariants();
    if (!this.idle.isSound || !this.holes.isSound) expect.fail('bins are not sound');
    const holes = this.holes.toArray();
    same([this.holes.count], [holes.length]);
    for (const hole of holes) {
      same([heap.addressOf(hole) % this.pageBytes, heap.bytesOf(hole) % this.pageBytes], [0, 0]);
      if (heap.isHole(heap.nextOf(hole))) expect.fail('two holes lie side by side');
    }
    const holeBytes = holes.reduce((sum, hole) => sum + heap.bytesOf(hole), 0);
    same([stats.reservedBytes + holeBytes], [RANGE_PAGES * this.pageBytes]);
  }
}

const bytes = (maxPages: number) => fc.integer({ min: 1, max: maxPages * 4096 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ grow: bytes(12) }) },
  { weight: 5, arbitrary: fc.record({ allocate: bytes(3) }) },
  { weight: 4, arbitrary: fc.record({ free: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ reclaim: bytes(6) }) },
);

describe('Holes', () => {
  test.each([4096, 3 * 4096, 16])('keep their order through any program with pages of %i bytes', (pageBytes) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (program) => {
        const range = new Range(pageBytes);
        for (const each of program) {
          range.perform(each);
          range.check();
        }
      }),
      { numRuns: 150 },
    );
  });

  describe('findGap', () => {
    test('takes the fewest pages beside a free block', () => {
      const range = new Range(4096);
      range.grow(3 * 4096);
      expect(range.holes.findGap(3 * 4096 + 1)).not.toBe(NONE);
      expect(range.holes.gapBytes).toBe(4096);
    });

    test('takes the end of a hole when that needs fewer pages than its start', () => {
      const range = new Range(4096);
      range.grow(RANGE_PAGES * 4096);
      for (const pages of [1, 8, 1]) range.allocate(pages * 4096);
      range.free(1);
      range.reclaim(8 * 4096);
      range.free(1);
      const hole = range.holes.findGap((RANGE_PAGES - 9 + 2) * 4096);
      expect(range.holes.gapBytes).toBe(2 * 4096);
      expect(range.holes.gapAddress).toBe(range.bench.heap.addressOf(hole) + 6 * 4096);
      expect(range.holes.gapRoom).toBe(2 * 4096);
      // The free block that will grow is the only one.
      expect(range.holes.reclaimable(4096, 0)).toBe(NONE);
    });

    test('finds none when no hole and its free neighbours have the room', () => {
      const range = new Range(4096);
      expect(range.holes.findGap(RANGE_PAGES * 4096 + 1)).toBe(NONE);
    });
  });

  describe('findSpot', () => {
    test('touches the fewest pages in which nothing is live, in any program', () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 40 }), bytes(10), (program, wanted) => {
          const range = new Range(4096);
          for (const each of program) range.perform(each);
          const size = Math.ceil(wanted / 16) * 16;
          const found = range.holes.findSpot(wanted);
          const parts = range.freeParts().filter(([from, to]) => to - from >= size);
          if (found === NONE) {
            same([parts.length], [0]);
            return;
          }
          const { spotAddress, gapAddress, gapBytes } = range.holes;
          if (!parts.some(([from, to]) => spotAddress >= from && spotAddress + size <= to))
            expect.fail('no free part has the spot');
          const touched = range.touchedBy(spotAddress, size);
          for (const [from, to] of parts) {
            // What is live ends and begins at units of 16 bytes: in the middle of a page no place is better than at its start.
            for (const at of [from, to - size, Math.floor((to - size) / 4096) * 4096, Math.ceil(from / 4096) * 4096]) {
              if (at >= from && at + size <= to) atLeast(range.touchedBy(at, size), touched);
            }
            if (range.touchedBy(from, size) === touched) atLeast(from, spotAddress);
          }
          same([Number(range.bench.heap.isHole(found))], [Number(gapBytes > 0)]);
          if (gapBytes === 0) return;
          const hole = range.bench.heap.addressOf(found);
          atLeast(gapAddress, hole);
          atLeast(hole + range.bench.heap.bytesOf(found), gapAddress + gapBytes);
          // With what comes to the gap, and what is beside it, the spot has memory.
          range.holes.give(found);
          const block = range.holes.fill(found, gapAddress, gapBytes);
          range.bench.stats.reserved(gapBytes);
          atLeast(spotAddress, range.bench.heap.addressOf(block));
          atLeast(range.bench.heap.addressOf(block) + range.bench.heap.bytesOf(block), spotAddress + size);
          range.check();
        }),
        { numRuns: 300 },
      );
    });

    test('finds the lowest of many places in free blocks of about the same size', () => {
      const range = new Range(4096);
      const [first = 0, , ...others] = range.apart([4000, 4176, ...new Array<number>(20).fill(4096), 4208]);
      const second = first + 4000 + APART_BYTES;
      // The first ones to be looked at are too small.
      for (const ptr of [second, others.pop()!, ...others]) range.bench.heap.release(ptr, USER_LOCK);
      for (let i = 0; i < 2; i++) {
        expect(range.holes.findSpot(4160)).not.toBe(NONE);
        expect(range.holes.spotAddress).toBe(second);
      }
    });

    test('looks at the smallest alone of very many places', () => {
      const range = new Range(4096);
      const free = range.apart(Array.from({ length: 80 }, (_, i) => 2000 - 16 * i));
      for (const ptr of free) range.bench.heap.release(ptr, USER_LOCK);
      expect(range.holes.findSpot(96)).not.toBe(NONE);
      expect(range.holes.spotAddress).toBeGreaterThan(free[15]!);
    });

    test('finds a hole behind very many that are too small', () => {
      const range = new Range(4096);
      for (let i = 0; i < 100; i++) range.holes.add(4096 * (2 ** 21 + 2 * i), 4096);
      expect(range.bench.heap.bytesOf(range.holes.findSpot(2 * 4096))).toBe(RANGE_PAGES * 4096);
    });

    test('finds none for more than there is, and for what is no size', () => {
      const range = new Range(4096);
      for (const wanted of [RANGE_PAGES * 4096 + 1, 2 ** 53, Number.POSITIVE_INFINITY, Number.NaN]) {
        expect(range.holes.findSpot(wanted)).toBe(NONE);
      }
    });
  });

  describe('reclaimable', () => {
    test('spares the free blocks beside the gap', () => {
      const range = new Range(4096);
      const block = range.grow(4 * 4096);
      range.holes.findGap(6 * 4096);
      expect(range.holes.reclaimable(4096, 0)).toBe(NONE);
      range.holes.findGap(1);
      expect([NONE, block]).toContain(range.holes.reclaimable(4096, 0));
    });

    test('takes the smallest that suffices, or else the one that gives most', () => {
      const range = new Range(4096);
      range.grow(RANGE_PAGES * 4096);
      for (const pages of [2, 1, 8, 1, 4, 1]) range.allocate(pages * 4096);
      for (const index of [4, 2, 0]) range.free(index);
      range.allocate((RANGE_PAGES - 17) * 4096);
      const given = (needed: number) => range.holes.wholePages(range.holes.reclaimable(needed, 0)) / 4096;
      expect([given(4096), given(3 * 4096), given(5 * 4096), given(20 * 4096)]).toEqual([2, 4, 8, 8]);
    });

    test('leaves blocks alone that give less than the least', () => {
      const range = new Range(4096);
      range.grow(RANGE_PAGES * 4096);
      range.allocate(2 * 4096);
      range.allocate((RANGE_PAGES - 2) * 4096);
      range.free(0);
      expect(range.holes.reclaimable(4096, 2 * 4096 + 1)).toBe(NONE);
      expect(range.holes.reclaimable(4096, 2 * 4096)).not.toBe(NONE);
    });
  });
});
