import type { Lifetime } from './block-rows.js';
import type { FreeBlocks } from './free-blocks.js';

/**
 * Parts of address ranges without memory behind them: blocks that begin and end at page boundaries, of which no two are
 * neighbours, and which are never joined with free blocks.
 *
 * Memory comes into the {@link findGap gap}, a part of a hole; whole pages of free blocks become holes by {@link punch}.
 */
export class Holes {
  /** Where the holes are kept. */
  readonly #free: FreeBlocks;
  readonly #lifetime: Lifetime;
  readonly #address: number;

  /** Use {@link DeviceHeap.createHoles}. @internal */
  constructor(lifetime: Lifetime, free: FreeBlocks, idle: FreeBlocks, pageBytes: number) {
    this.#free = free;
    this.#lifetime = lifetime;
    this.#address = free.addressIn(lifetime);
    lifetime.kernel.createHoles(this.#address, idle.addressIn(lifetime), pageBytes);
  }

  /** Tells whether holes, their bins and their order are sound, in O(n). For tests. */
  get isSound(): boolean {
    return this.#free.isSound;
  }

  get count(): number {
    return this.#lifetime.kernel.holeCount(this.#address);
  }

  /** Makes an address range without memory a hole. */
  add(address: number, bytes: number): void {
    this.keep(this.#lifetime.kernel.createBlockAt(this.#address, address, bytes));
  }

  /** Enters a block that is in no bins, joined with the holes beside it. */
  keep(hole: number): void {
    this.#lifetime.kernel.keepHole(this.#address, hole);
  }

  /** Takes a hole out. */
  give(hole: number): void {
    this.#lifetime.kernel.giveHole(this.#address, hole);
  }

  /** The holes by size, then address. A copy. */
  toArray(): number[] {
    return this.#free.toArray();
  }

  /**
   * Finds a part of a hole that makes a free block of at least `bytes` when memory comes to it: with the fewest new pages, as
   * far as the 32 largest free blocks tell, else a part of the smallest hole that has the room. It is the gap until the
   * next search.
   *
   * @returns the hole, or NONE when none has the room
   */
  findGap(bytes: number): number {
    return this.#lifetime.kernel.findGap(this.#address, bytes);
  }

  /**
   * Finds the place for a block of `bytes` that touches the fewest pages in which nothing is live, of these the lowest, whether
   * memory is there or not: the spot, until the next search. What memory has to come to it is the gap, of 0 bytes when it is all there.
   * Of many free parts the smallest alone are looked at: O(1), O(holes) where those are too small.
   *
   * @returns the hole that the gap lies in, or the free block that has the spot; NONE when there is no place
   */
  findSpot(bytes: number): number {
    return this.#lifetime.kernel.findSpot(this.#address, bytes);
  }

  /** Where a block is to begin at the spot. */
  get spotAddress(): number {
    return this.#lifetime.kernel.spotAddress(this.#address);
  }

  get gapAddress(): number {
    return this.#lifetime.kernel.gapAddress(this.#address);
  }

  /** What has to come to the gap at least. */
  get gapBytes(): number {
    return this.#lifetime.kernel.gapBytes(this.#address);
  }

  /** What may come to the gap at most. */
  get gapRoom(): number {
    return this.#lifetime.kernel.gapRoom(this.#address);
  }

  /**
   * Makes a part of a hole that was {@link give taken out}, whole pages, free and joins it with its neighbours; the rest is kept.
   *
   * @returns the whole free block
   */
  fill(hole: number, address: number, bytes: number): number {
    return this.#lifetime.kernel.fill(this.#address, hole, address, bytes);
  }

  /**
   * A free block whose whole pages should be given back: the smallest that gives `bytes`, else one that gives much; none that
   * gives less than `leastBytes` or lies beside the gap. O(log n) for each of at most 17 blocks looked at, amortised.
   *
   * @returns NONE when none gives any
   */
  reclaimable(bytes: number, leastBytes: number): number {
    return this.#lifetime.kernel.reclaimable(this.#address, bytes, leastBytes);
  }

  /** Where the first whole page of a block begins. */
  firstPage(block: number): number {
    return this.#lifetime.kernel.firstPage(this.#address, block);
  }

  /** Bytes of the whole pages in a block. */
  wholePages(block: number): number {
    return this.#lifetime.kernel.wholePages(this.#address, block);
  }

  /** Makes the whole pages of a free block that was taken out a hole, of which it has one at least; the rest is free. */
  punch(block: number): void {
    this.#lifetime.kernel.punch(this.#address, block);
  }
}
