import { GiB, MiB } from '../../src/core/units.js';
import type { GrowthPlan } from './backing.js';

/** Blocks from here on get pieces of their own; smaller ones share pieces that are at most so large. */
const LARGE_BYTES = 64 * MiB;
/** A piece of its own is at most this share of the peak of live bytes, or {@link LARGE_BYTES}. */
const LARGE_SHARE = 1 / 4;
/**
 * No piece is a larger share of what the pool may hold: 1/512 of 128 GiB and more, where large blocks are to come fast, and 1/2048
 * of 32 GiB and less. What is small is more often full, and the larger the pieces, the more of it is kept by few live blocks.
 */
const MOST_SHARE = 1 / 512;
const LEAST_SHARE = 1 / 2048;
const BYTES_OF_MOST_SHARE = 128 * GiB;
/** From this slack on first touches are to be fast, below it little memory is to be held. */
const GENEROUS_SLACK = 0.1;
/** With less slack than that, the share of what it leaves that a piece may be. */
const TIGHT_SHARE = 1 / 8;
/** Pieces get no smaller than that by being halved. */
const MOST_DIVISIONS = 64;

/**
 * How large the pieces are that a pool gets, on a device that takes back whole pieces alone.
 *
 * Large ones take few native calls, but a live block in one keeps all of it. So they are halved whenever the pool has to hold
 * more than its limit because too few of its pieces are wholly free.
 */
export class PieceSizes {
  readonly #pageBytes: number;
  readonly #slack: number;
  #division = 1;

  constructor(pageBytes: number, slack: number) {
    this.#pageBytes = pageBytes;
    this.#slack = slack;
  }

  /** Tells whether a block that needs so many new bytes gets pieces of its own. */
  isLarge(gapBytes: number): boolean {
    return this.#slack >= GENEROUS_SLACK && gapBytes >= LARGE_BYTES;
  }

  /**
   * How large pieces for a block may be.
   *
   * @param gapBytes - what has to come for the block
   * @param restBytes - what the block leaves of them at the end: less than a page gets a piece of its own, since the next block
   * begins there
   */
  of(gapBytes: number, restBytes: number, plan: GrowthPlan): number {
    const most = Math.min(this.#wish(gapBytes, restBytes, plan) / this.#division, mostOf(plan));
    return Math.max(Math.floor(most / this.#pageBytes), 1) * this.#pageBytes;
  }

  /** Makes later pieces smaller. */
  halve(): void {
    this.#division = Math.min(2 * this.#division, MOST_DIVISIONS);
  }

  /** Forgets that pieces were {@link halve halved}, when the pool has no memory left. */
  reset(): void {
    this.#division = 1;
  }

  #wish(gapBytes: number, restBytes: number, { peakBytes }: GrowthPlan): number {
    if (this.#slack < GENEROUS_SLACK) return Math.min(LARGE_BYTES, peakBytes * this.#slack * TIGHT_SHARE);
    if (!this.isLarge(gapBytes)) return LARGE_BYTES;
    const hasEdge = restBytes > 0 && restBytes < this.#pageBytes;
    const own = hasEdge ? gapBytes - this.#pageBytes : gapBytes;
    return Math.min(own, Math.max(LARGE_BYTES, peakBytes * LARGE_SHARE));
  }
}

/** The largest piece that a pool should get. */
function mostOf({ capacityBytes }: GrowthPlan): number {
  const share = (MOST_SHARE * capacityBytes) / BYTES_OF_MOST_SHARE;
  return capacityBytes * Math.min(Math.max(share, LEAST_SHARE), MOST_SHARE);
}
