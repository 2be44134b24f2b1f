import { NONE } from '../../src/blocks/block-rows.js';
import { orUndo } from '../../src/core/attempt.js';
import { alignUp } from '../../src/core/units.js';
import type { VirtualPages } from '../policy/virtual-pages.js';
import { type BackingParts, GrowthPlan } from './backing.js';
import type { PieceSizes } from './piece-sizes.js';

/** What a tight growth works with, beside its pool. */
export interface TightParts {
  readonly pages: VirtualPages;
  readonly sizes: PieceSizes;
  readonly pageBytes: number;
  /** Reserves one more range with room for so many bytes. @returns false when there is none */
  readonly addRange: (bytes: number, failure: { cause: unknown }) => boolean;
  /** Gives all memory back that no block lies in. */
  readonly trim: () => void;
}

/**
 * Growth of a pool that was asked to hold little more than the peak of its live bytes, in large pages: `reserved <= alignUp(limit, page)`
 * as long as pages in which nothing is live suffice for that.
 *
 * With few large pages there is no room for chance: each block that touches one page more than it has to costs a share of
 * the slack. So blocks lie where they touch the fewest pages, at the lowest address, also when that takes native calls: pages
 * elsewhere in which nothing is live are given back for it, the highest first.
 */
export class TightGrowth {
  readonly #parts: BackingParts;
  readonly #tight: TightParts;

  constructor(parts: BackingParts, tight: TightParts) {
    this.#parts = parts;
    this.#tight = tight;
  }

  /** Finds the place of a block where no memory has to come to it. @returns a free block that begins there, or NONE */
  findInMemory(bytes: number): number {
    const { holes } = this.#tight.pages;
    const found = holes.findSpot(bytes);
    return found === NONE || holes.gapBytes > 0 ? NONE : this.#cut(found, holes.spotAddress, bytes);
  }

  /** As {@link Backing.grow}, when {@link findInMemory} has found none. */
  grow(bytes: number, failure: { cause: unknown }): number {
    const { heap, idle, waitForFit } = this.#parts;
    const block = this.#place(bytes, failure);
    if (block !== NONE) return block;
    heap.stats.retries++;
    // Where no more memory comes, any place will do that has some.
    if (idle.fit(bytes) !== NONE || waitForFit(bytes)) return idle.fit(bytes);
    this.#tight.trim();
    return this.#place(bytes, failure) || idle.fit(bytes) || this.#fill(bytes, failure);
  }

  /**
   * Commits the fewest pages that make a block, if those are fewer than its spot has just been refused: pieces that are live in part
   * keep memory in pages in which nothing is live.
   *
   * @returns the free block that holds it, or NONE
   */
  #fill(bytes: number, failure: { cause: unknown }): number {
    const { heap } = this.#parts;
    const { pages, sizes, pageBytes } = this.#tight;
    const { holes } = pages;
    const refusedBytes = holes.gapBytes;
    const plan = new GrowthPlan(this.#parts, bytes, pageBytes);
    const hole = holes.findGap(bytes);
    const { gapAddress, gapBytes } = holes;
    if (hole === NONE || gapBytes >= refusedBytes) return NONE;
    const block = pages.commit(hole, gapAddress, gapBytes, failure, sizes.of(gapBytes, 0, plan));
    return block !== NONE && heap.bytesOf(block) >= bytes ? block : NONE;
  }

  /** @returns a free block that begins where one of `bytes` is to lie, or NONE when the device has no memory */
  #place(bytes: number, failure: { cause: unknown }): number {
    const { holes } = this.#tight.pages;
    // First, since it asks the device, which may come back.
    const plan = new GrowthPlan(this.#parts, bytes, this.#tight.pageBytes);
    let found = this.#findSpot(bytes, failure);
    if (found === NONE) return NONE;
    if (holes.gapBytes > 0 && this.#reclaim(bytes, plan)) {
      // The native calls may have come back, and what was given back lies in holes now.
      found = this.#findSpot(bytes, failure);
      if (found === NONE) return NONE;
    }
    const { spotAddress } = holes;
    const block = holes.gapBytes === 0 ? found : this.#commit(found, plan, failure);
    return block === NONE ? NONE : this.#cut(block, spotAddress, bytes);
  }

  #findSpot(bytes: number, failure: { cause: unknown }): number {
    const { pages, addRange } = this.#tight;
    return pages.holes.findSpot(bytes) || (addRange(bytes, failure) ? pages.holes.findSpot(bytes) : NONE);
  }

  /**
   * Gives memory back where the gap would carry the pool past its limit: whole pages or pieces in which nothing is live and that the
   * spot does not touch, from the highest address on. O(n log n) for n free blocks.
   *
   * @returns whether any was: what came back from a native call may have got as much
   */
  #reclaim(bytes: number, plan: GrowthPlan): boolean {
    const { heap, idle, settle } = this.#parts;
    const { pages, sizes, pageBytes } = this.#tight;
    const { holes } = pages;
    let excess = heap.stats.reservedBytes + holes.gapBytes - plan.mostBytes;
    if (excess <= 0) return false;
    let isAny = false;
    const spotStart = Math.floor(holes.spotAddress / pageBytes) * pageBytes;
    const spotEnd = alignUp(holes.spotAddress + bytes, pageBytes);
    const blocks = idle.toArray().filter((block) => heap.bytesOf(block) >= pageBytes);
    for (const block of blocks.sort((a, b) => heap.addressOf(b) - heap.addressOf(a))) {
      for (const isBehind of [true, false]) {
        // A native call before may have come back.
        if (excess <= 0 || !idle.has(block)) break;
        const start = heap.addressOf(block);
        const end = start + heap.bytesOf(block);
        const [from, to] = isBehind ? [Math.max(start, spotEnd), end] : [start, Math.min(end, spotStart)];
        const given = to > from ? pages.decommitPart(block, pages.lastBetween(from, to, excess), settle) : 0;
        excess -= given;
        if (given > 0) isAny = true;
      }
    }
    if (excess > 0) sizes.halve();
    return isAny;
  }

  /** Commits the gap, and as much behind it as the limit leaves. @returns the free block that holds it, or NONE */
  #commit(hole: number, plan: GrowthPlan, failure: { cause: unknown }): number {
    const { heap } = this.#parts;
    const { pages, sizes, pageBytes } = this.#tight;
    const { gapAddress, gapBytes, gapRoom } = pages.holes;
    const { reservedBytes } = heap.stats;
    const step = Math.min(plan.stepFor(gapBytes, reservedBytes), plan.mostBytes - reservedBytes, gapRoom);
    const bytes = Math.max(gapBytes, Math.floor(step / pageBytes) * pageBytes);
    return pages.commit(hole, gapAddress, bytes, failure, sizes.of(gapBytes, 0, plan));
  }

  /**
   * Divides a free block so that one begins at the spot.
   *
   * @returns that one; the whole when a native call has come back and taken some of it, or NONE when that left too little
   */
  #cut(block: number, spot: number, bytes: number): number {
    const { heap, idle } = this.#parts;
    const has = heap.bytesOf(block);
    const before = Math.max(spot - heap.addressOf(block), 0);
    if (has - before < bytes) return has < bytes ? NONE : block;
    if (before === 0) return block;
    idle.takeOut(block);
    const rest = orUndo(
      () => heap.split(block, before),
      () => idle.putIn(block),
    );
    idle.putIn(block);
    idle.putIn(rest);
    return rest;
  }
}
