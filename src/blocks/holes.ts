import type { FreeBlocks } from './free-blocks.js';
import { kernel } from './kernel.js';

/**
 * Parts of address ranges without memory behind them: blocks that begin and end at page boundaries, of which no two are
 * neighbours, and which are never joined with free blocks.
 *
 * Memory comes into the {@link findSpot spot}, a part of a hole; whole pages of free blocks become holes by {@link punch}.
 */
export class Holes {
  readonly #free: FreeBlocks;
  readonly #place: number;

  /**
   * @param free - where the holes are kept: empty, of a group of their own, for nothing else
   * @param idle - the free blocks beside them
   * @param pageBytes - a multiple of 16
   */
  constructor(free: FreeBlocks, idle: FreeBlocks, pageBytes: number) {
    this.#free = free;
    this.#place = free.place;
    kernel.createHoles(free.place, idle.place, pageBytes);
  }

  get count(): number {
    return kernel.holeCount(this.#place);
  }

  /** Enters a block that is in no bins, joined with the holes beside it. */
  keep(hole: number): void {
    kernel.keepHole(this.#place, hole);
  }

  /** Takes a hole out. */
  give(hole: number): void {
    kernel.giveHole(this.#place, hole);
  }

  /** The holes by size, then address. A copy. */
  toArray(): number[] {
    return this.#free.toArray();
  }

  /**
   * Finds a part of a hole that makes a free block of at least `bytes` when memory comes to it: with the fewest new pages, as
   * far as the 32 largest free blocks tell, else a part of the smallest hole that has the room. It is the spot until the
   * next search.
   *
   * @returns the hole, or NONE when none has the room
   */
  findSpot(bytes: number): number {
    return kernel.findSpot(this.#place, bytes);
  }

  get spotAddress(): number {
    return kernel.spotAddress(this.#place);
  }

  /** What has to come to the spot at least. */
  get spotBytes(): number {
    return kernel.spotBytes(this.#place);
  }

  /** What may come to the spot at most. */
  get spotRoom(): number {
    return kernel.spotRoom(this.#place);
  }

  /**
   * Makes a part of a hole that was {@link give taken out}, whole pages, free and joins it with its neighbours; the rest is kept.
   *
   * @returns the whole free block
   */
  fill(hole: number, address: number, bytes: number): number {
    return kernel.fill(this.#place, hole, address, bytes);
  }

  /**
   * A free block whose whole pages should be given back: the smallest that gives `bytes`, else one that gives much; none that
   * gives less than `leastBytes` or lies beside the spot. O(log n) for each of at most 17 blocks looked at, amortised.
   *
   * @returns NONE when none gives any
   */
  reclaimable(bytes: number, leastBytes: number): number {
    return kernel.reclaimable(this.#place, bytes, leastBytes);
  }

  /** Where the first whole page of a block begins. */
  firstPage(block: number): number {
    return kernel.firstPage(this.#place, block);
  }

  /** Bytes of the whole pages in a block. */
  wholePages(block: number): number {
    return kernel.wholePages(this.#place, block);
  }

  /** Makes the whole pages of a free block that was taken out a hole, of which it has one at least; the rest is free. */
  punch(block: number): void {
    kernel.punch(this.#place, block);
  }
}
