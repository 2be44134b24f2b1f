import { NONE } from '../../src/blocks/block-rows.js';
import type { Holes } from '../../src/blocks/holes.js';
import { ALL_CACHED, ReleaseBounds } from '../../src/blocks/release-bounds.js';
import type { MemoryPieces, VirtualMemory } from '../../src/core/device-interface.js';
import { tryAll } from '../../src/core/try-all.js';
import { alignUp, GiB, KiB, MiB } from '../../src/core/units.js';
import { boundFront, type FrontBounds } from '../policy/front-bounds.js';
import { VirtualPages } from '../policy/virtual-pages.js';
import { type Backing, type BackingParts, GrowthPlan } from './backing.js';
import { PieceSizes } from './piece-sizes.js';
import { TightGrowth } from './tight-growth.js';

/** A range is at most this large, so that a device's book of pages stays small; larger devices get several. */
const MAX_RANGE_BYTES = 32 * GiB;
const MIN_RANGE_BYTES = 64 * MiB;
/** Pages are committed at least so many bytes at a time, where there is room. */
const MIN_STEP_BYTES = 64 * KiB;
/** With more holes than that, and a share of live bytes below {@link SHREDDED_SHARE}, free pages lie in pieces too small to be used. */
const MOST_HOLES = 128;
const SHREDDED_SHARE = 0.8;
/** Free pieces below this share of what the pool holds are not worth a native call. */
const MIN_PIECE_SHARE = 0.0025;

/** More makes holes between blocks, so that pages stay committed: these hold the utilisation of docs/performance.md on its traces. */
const FRONT: FrontBounds = { share: 0.0065, largestShare: 0.03, largestBytes: 32 * KiB };

/** The group of holes: no free block's. */
const HOLES = -1;

/**
 * Memory from reserved address ranges, page by page: pages are committed where a free block can grow by the fewest, and
 * whole free pages elsewhere are decommitted before the pool would exceed its limit: all of them when that has made many
 * holes and much is free all the same. On a device that takes back whole pieces alone these are what is committed and
 * decommitted; the memory of decommitted ones is used again for what is committed in the same growth.
 *
 * A part of a range without memory is a hole, a block of its own. `reserved == sum(bytes of blocks that are no holes)`.
 */
export class PageBacking implements Backing {
  readonly #parts: BackingParts;
  readonly #pageBytes: number;
  readonly #holes: Holes;
  readonly #pages: VirtualPages;
  /** Of the device, where it has pieces. */
  readonly #pieces: MemoryPieces | undefined;
  readonly #sizes: PieceSizes;
  /** Of a pool that is to hold little. */
  readonly #tight: TightGrowth | undefined;
  /** How many holes there may be before they are {@link #unite united}. */
  #mostHoles = MOST_HOLES;

  /**
   * @param pageBytes - a multiple of the granularity
   * @param isTight - whether the pool's limit holds before all else
   */
  constructor(parts: BackingParts, virtual: VirtualMemory, pageBytes: number, isTight: boolean) {
    this.#parts = parts;
    this.#pageBytes = pageBytes;
    this.#pages = new VirtualPages(parts.heap, parts.idle, virtual, HOLES, pageBytes);
    this.#holes = this.#pages.holes;
    this.#pieces = virtual.pieces;
    this.#sizes = new PieceSizes(pageBytes, parts.slack);
    const addRange = (bytes: number, failure: { cause: unknown }) => this.#addRange(bytes, failure);
    const tight = { pages: this.#pages, sizes: this.#sizes, pageBytes, addRange, trim: () => this.trim() };
    this.#tight = isTight ? new TightGrowth(parts, tight) : undefined;
  }

  grow(bytes: number, failure: { cause: unknown }): number {
    const there = this.#tight?.findInMemory(bytes) ?? NONE;
    if (there !== NONE) return there;
    const pieces = this.#pieces;
    return pieces === undefined ? this.#grow(bytes, failure) : pieces.reusing(() => this.#grow(bytes, failure), this.#pageBytes);
  }

  #grow(bytes: number, failure: { cause: unknown }): number {
    return this.#tight === undefined ? this.#growLoosely(bytes, failure) : this.#tight.grow(bytes, failure);
  }

  #growLoosely(bytes: number, failure: { cause: unknown }): number {
    const { stats } = this.#parts.heap;
    const plan = new GrowthPlan(this.#parts, bytes, this.#pageBytes);
    let hole = this.#findGap(bytes, failure);
    if (hole === NONE) return NONE;
    let excess = this.#holdsWithGap() - plan.limitBytes;
    if (excess > 0 && this.#isShredded) {
      this.#unite();
      hole = this.#findGap(bytes, failure);
      if (hole === NONE) return NONE;
      excess = this.#holdsWithGap() - plan.limitBytes;
    }
    if (excess > 0) {
      this.#reclaim(excess, MIN_PIECE_SHARE * stats.reservedBytes);
      this.#reclaim(this.#holdsWithGap() - plan.mostBytes, 0);
      hole = this.#findGap(bytes, failure);
      if (hole === NONE) return NONE;
      if (this.#holdsWithGap() > plan.limitBytes + this.#pageBytes) this.#sizes.halve();
    }
    const block = this.#commit(hole, bytes, this.#step(plan), plan, failure);
    if (this.#isEnough(block, bytes)) return block;
    stats.retries++;
    if (this.#parts.waitForFit(bytes)) return this.#parts.idle.fit(bytes);
    this.trim();
    hole = this.#findGap(bytes, failure);
    if (hole === NONE) return NONE;
    const last = this.#commit(hole, bytes, this.#holes.gapBytes, plan, failure);
    return this.#isEnough(last, bytes) ? last : NONE;
  }

  trim(bounds: ReleaseBounds = ALL_CACHED): void {
    const { idle, settle, heap } = this.#parts;
    if (this.#pieces === undefined || bounds.isAll) {
      bounds.giveBack(idle.toArray(), {
        bytesOf: (block) => (idle.has(block) ? this.#pages.wholeIn(block).bytes : 0),
        release: (block, bytes) => this.#pages.decommit(block, settle, bytes),
        unitOf: () => this.#pageBytes,
      });
    } else this.#trimPieces(bounds);
    if (heap.stats.reservedBytes === 0) this.#sizes.reset();
  }

  #trimPieces(bounds: ReleaseBounds): void {
    const { idle, settle } = this.#parts;
    const parts = this.#pagedBlocks().flatMap((block) => this.#pages.piecesIn(block).map((part) => ({ block, part })));
    const chosen = bounds.choose(parts, { bytesOf: ({ part }) => part.bytes }).map(([piece]) => piece);
    // From the last one on: what lies before a part that goes stays the same block.
    chosen.sort((a, b) => b.part.ptr - a.part.ptr);
    tryAll(chosen, ({ block, part }) => {
      // A native call before may have come back.
      if (idle.has(block) && this.#pages.isWhole(block, part)) this.#pages.decommitPart(block, part, settle);
    });
  }

  /** The free blocks in which pages may be. */
  #pagedBlocks(): number[] {
    const { heap, idle } = this.#parts;
    return idle.toArray().filter((block) => heap.bytesOf(block) >= this.#pageBytes);
  }

  close(): void {
    this.#pages.release();
  }

  /** Tells whether committing made a block of at least `bytes`: the call may have come back and taken what lay beside. */
  #isEnough(block: number, bytes: number): boolean {
    return block !== NONE && this.#parts.heap.bytesOf(block) >= bytes;
  }

  /** Finds a gap for `bytes`, in one more range where no hole has room. @returns its hole, or NONE */
  #findGap(bytes: number, failure: { cause: unknown }): number {
    return this.#holes.findGap(bytes) || (this.#addRange(bytes, failure) ? this.#holes.findGap(bytes) : NONE);
  }

  /** Bytes that the pool holds once the gap has what it needs. */
  #holdsWithGap(): number {
    return this.#parts.heap.stats.reservedBytes + this.#holes.gapBytes;
  }

  /** How many bytes to commit at the gap. */
  #step(plan: GrowthPlan): number {
    const { gapBytes, gapRoom } = this.#holes;
    if (this.#pieces !== undefined && this.#sizes.isLarge(gapBytes)) return gapBytes;
    const { reservedBytes } = this.#parts.heap.stats;
    const least = Math.min(MIN_STEP_BYTES, plan.capacityBytes - reservedBytes);
    const step = Math.max(plan.stepFor(gapBytes, reservedBytes), least);
    const pages = Math.floor(Math.min(step, plan.mostBytes - reservedBytes) / this.#pageBytes) * this.#pageBytes;
    return Math.max(gapBytes, Math.min(pages, gapRoom));
  }

  /** Commits `bytes` at the gap, for a block. @returns the free block that holds them, or NONE */
  #commit(hole: number, blockBytes: number, bytes: number, plan: GrowthPlan, failure: { cause: unknown }): number {
    const {
      idle,
      heap: { stats },
    } = this.#parts;
    const piece = this.#pieces === undefined ? this.#pageBytes : this.#pieceBytes(hole, blockBytes, plan);
    const block = this.#pages.commit(hole, this.#holes.gapAddress, bytes, failure, piece);
    if (block === NONE) return NONE;
    const { reservedBytes } = stats;
    boundFront(idle, FRONT, reservedBytes, plan.capacityBytes - reservedBytes);
    return block;
  }

  /** How large the pieces at the gap are to be. */
  #pieceBytes(hole: number, blockBytes: number, plan: GrowthPlan): number {
    const { heap, idle } = this.#parts;
    const { gapAddress, gapBytes } = this.#holes;
    const before = gapAddress === heap.addressOf(hole) ? heap.previousOf(hole) : NONE;
    const hasBytes = idle.has(before) ? heap.bytesOf(before) : 0;
    return this.#sizes.of(gapBytes, hasBytes + gapBytes - blockBytes, plan);
  }

  get #isShredded(): boolean {
    const { allocatedBytes, reservedBytes } = this.#parts.heap.stats;
    return this.#holes.count > this.#mostHoles && allocatedBytes < SHREDDED_SHARE * reservedBytes;
  }

  /** Gives all free pages back, so that few large holes take the place of many small ones. */
  #unite(): void {
    this.trim();
    // Live blocks keep the others apart: not again before there are many more.
    this.#mostHoles = Math.max(MOST_HOLES, 2 * this.#holes.count);
  }

  /** Decommits free pages until `bytes` were, leaving the gap's neighbours and pieces below `leastBytes` alone. */
  #reclaim(bytes: number, leastBytes: number): void {
    if (this.#pieces !== undefined) {
      if (bytes > 0) this.#reclaimPieces(bytes, leastBytes);
      return;
    }
    for (let left = bytes; left > 0; ) {
      const block = this.#holes.reclaimable(left, leastBytes);
      if (block === NONE) return;
      left -= this.#pages.decommit(block, this.#parts.settle);
    }
  }

  /** The same in whole pieces. O(n log n) for n free blocks. */
  #reclaimPieces(bytes: number, leastBytes: number): void {
    const { heap, idle, settle } = this.#parts;
    const { gapAddress, gapBytes } = this.#holes;
    const isApart = (block: number) => {
      const start = heap.addressOf(block);
      return start + heap.bytesOf(block) !== gapAddress && start !== gapAddress + gapBytes;
    };
    const bytesOf = (block: number) => {
      const given = this.#pages.wholeIn(block).bytes;
      return given < leastBytes ? 0 : given;
    };
    const chosen = new ReleaseBounds(bytes, Number.POSITIVE_INFINITY).choose(this.#pagedBlocks().filter(isApart), { bytesOf });
    for (const [block] of chosen) if (idle.has(block)) this.#pages.decommit(block, settle);
  }

  /** Reserves one more range that has room for `bytes`. @returns false when there is none */
  #addRange(bytes: number, failure: { cause: unknown }): boolean {
    const least = alignUp(bytes, this.#pageBytes);
    if (!Number.isSafeInteger(least)) return false;
    const { deviceInterface, heap } = this.#parts;
    // Of what the device has: a budget that leaves less may leave more later, and addresses cost nothing.
    const wish = Math.min(Math.max(2 * deviceInterface.getMaxMemorySize(heap.device), MIN_RANGE_BYTES), MAX_RANGE_BYTES);
    return this.#pages.reserve(alignUp(wish, this.#pageBytes), least, failure);
  }
}
