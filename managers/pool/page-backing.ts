import { NONE } from '../../src/blocks/block-table.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import type { VirtualMemory } from '../../src/core/device-interface.js';
import { alignUp, type DevicePtr, GiB, KiB, MiB, NULL_PTR } from '../../src/core/units.js';
import { boundFront, type FrontBounds } from '../policy/front-bounds.js';
import { askNative, type Backing, type BackingParts, GrowthLimit } from './backing.js';
import { findReclaimable } from './reclaim-order.js';

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
/** Free blocks, the largest first, that are looked at for a hole beside them before a hole is taken for itself. */
const TRIES = 32;

/** More makes holes between blocks, so that pages stay committed: these hold the utilisation of docs/performance.md on its traces. */
const FRONT: FrontBounds = { share: 0.0065, largestShare: 0.03, largestBytes: 32 * KiB };

/** A part of a hole that would make room: `bytes` from `at` on, between free blocks that stay as they are meanwhile. */
interface Site {
  readonly hole: number;
  readonly at: number;
  readonly bytes: number;
  readonly left: number;
  readonly right: number;
}

/** What was reserved at once. Its first page begins behind its start when pages are larger than the granularity. */
interface AddressRange {
  readonly start: DevicePtr;
  readonly bytes: number;
  readonly firstPage: number;
}

/**
 * Memory from reserved address ranges, page by page: pages are committed where a free block can grow by the fewest, and
 * whole free pages elsewhere are decommitted before the pool would exceed its limit: all of them when that has made many
 * holes and much is free all the same.
 *
 * A part of a range without memory is a hole, a block of its own. `reserved == sum(bytes of blocks that are no holes)`;
 * holes begin and end at page boundaries, and no two are neighbours.
 */
export class PageBacking implements Backing {
  readonly #parts: BackingParts;
  readonly #virtual: VirtualMemory;
  readonly #pageBytes: number;
  readonly #limit: GrowthLimit;
  readonly #holes: FreeBlocks;
  readonly #ranges: AddressRange[] = [];
  #holeCount = 0;
  /** How many holes there may be before they are {@link #unite united}. */
  #mostHoles = MOST_HOLES;

  /**
   * @param holes - where holes are kept
   * @param pageBytes - a multiple of the granularity
   */
  constructor(parts: BackingParts, holes: FreeBlocks, virtual: VirtualMemory, pageBytes: number) {
    this.#parts = parts;
    this.#virtual = virtual;
    this.#pageBytes = pageBytes;
    this.#limit = new GrowthLimit(parts);
    this.#holes = holes;
  }

  grow(bytes: number, failure: { cause: unknown }): number {
    const { stats } = this.#parts;
    let site = this.#findSite(bytes) ?? this.#addRange(bytes, failure);
    if (site === undefined) return NONE;
    const peak = this.#limit.peakWith(bytes);
    let excess = stats.reservedBytes + site.bytes - this.#limit.limitFor(peak);
    if (excess > 0 && this.#isShredded) {
      this.#unite();
      site = this.#findSite(bytes) ?? this.#addRange(bytes, failure);
      if (site === undefined) return NONE;
      excess = stats.reservedBytes + site.bytes - this.#limit.limitFor(peak);
    }
    if (excess > 0) {
      this.#reclaim(excess, site, MIN_PIECE_SHARE * stats.reservedBytes);
      const capacity = this.#parts.deviceInterface.getMaxMemorySize(this.#parts.device);
      this.#reclaim(stats.reservedBytes + site.bytes - capacity, site, 0);
      site = this.#findSite(bytes) ?? site;
    }
    const block = this.#commit(site, this.#stepAt(site, peak), failure);
    if (block !== NONE) return block;
    stats.retries++;
    if (this.#parts.waitForFit(bytes)) return this.#parts.idle.fit(bytes);
    this.trim();
    site = this.#findSite(bytes) ?? this.#addRange(bytes, failure);
    return site === undefined ? NONE : this.#commit(site, site.bytes, failure);
  }

  trim(): void {
    for (const block of this.#parts.idle.toArray()) if (this.#pagesOf(block) > 0) this.#decommit(block);
  }

  close(): void {
    const { blocks } = this.#parts;
    for (const hole of this.#holes.toArray()) {
      if (!blocks.isWholeSegment(hole)) continue;
      const at = this.#ranges.findIndex((range) => range.firstPage === blocks.addressOf(hole));
      const range = this.#ranges[at]!;
      this.#virtual.release(range.start, range.bytes);
      this.#ranges.splice(at, 1);
      this.#give(hole);
      blocks.remove(hole);
    }
  }

  /** The part of a hole that makes room for `bytes` with the fewest new pages, as far as a few free blocks tell. */
  #findSite(bytes: number): Site | undefined {
    const { blocks, idle, stats } = this.#parts;
    let block = idle.below(stats.reservedBytes + 1);
    for (let tries = 0; block !== NONE && tries < TRIES; tries++) {
      const sites = [blocks.nextOf(block), blocks.previousOf(block)].map((hole) => this.#siteIn(hole, bytes));
      const best = better(sites[0], sites[1]);
      if (best !== undefined) return best;
      block = idle.below(blocks.bytesOf(block));
    }
    const hole = this.#holes.fit(alignUp(bytes, this.#pageBytes));
    return hole === NONE ? undefined : this.#siteIn(hole, bytes);
  }

  #siteIn(hole: number, bytes: number): Site | undefined {
    const { blocks, idle } = this.#parts;
    if (!blocks.isHole(hole)) return undefined;
    const before = blocks.previousOf(hole);
    const behind = blocks.nextOf(hole);
    const left = before !== NONE && idle.has(before) ? before : NONE;
    const right = behind !== NONE && idle.has(behind) ? behind : NONE;
    const leftBytes = left === NONE ? 0 : blocks.bytesOf(left);
    const rightBytes = right === NONE ? 0 : blocks.bytesOf(right);
    const room = blocks.bytesOf(hole);
    const start = blocks.addressOf(hole);
    if (leftBytes + room + rightBytes < bytes) return undefined;
    const afterLeft = alignUp(Math.max(bytes - leftBytes, 1), this.#pageBytes);
    const beforeRight = alignUp(Math.max(bytes - rightBytes, 1), this.#pageBytes);
    if (beforeRight < afterLeft && beforeRight <= room) {
      return { hole, at: start + room - beforeRight, bytes: beforeRight, left: NONE, right };
    }
    if (afterLeft <= room) return { hole, at: start, bytes: afterLeft, left, right: NONE };
    return { hole, at: start, bytes: room, left, right };
  }

  /** How many bytes to commit at a site. */
  #stepAt(site: Site, peakBytes: number): number {
    const { blocks } = this.#parts;
    // A piece at the end of a hole grows backwards; only one at its start has room behind it.
    if (site.at !== blocks.addressOf(site.hole)) return site.bytes;
    const step = this.#limit.stepFor(site.bytes, peakBytes);
    const capacity = this.#parts.deviceInterface.getMaxMemorySize(this.#parts.device);
    const least = Math.min(MIN_STEP_BYTES, capacity - this.#parts.stats.reservedBytes);
    const pages = Math.floor(Math.max(step, least) / this.#pageBytes) * this.#pageBytes;
    return Math.max(site.bytes, Math.min(pages, blocks.bytesOf(site.hole)));
  }

  /** Commits `bytes` at a site. @returns the free block that holds them, or NONE */
  #commit(site: Site, bytes: number, failure: { cause: unknown }): number {
    const { blocks, idle, stats } = this.#parts;
    const { hole, at } = site;
    if (!askNative(() => this.#virtual.commit(at as DevicePtr, bytes), false, failure)) return NONE;
    this.#give(hole);
    let part = hole;
    if (at > blocks.addressOf(hole)) {
      part = blocks.split(hole, at - blocks.addressOf(hole));
      this.#keep(hole);
    }
    if (blocks.bytesOf(part) > bytes) this.#keep(blocks.split(part, bytes));
    stats.reserved(bytes);
    boundFront(idle, FRONT, stats.reservedBytes, this.#limit.roomBytes);
    return idle.join(part);
  }

  get #isShredded(): boolean {
    const { allocatedBytes, reservedBytes } = this.#parts.stats;
    return this.#holeCount > this.#mostHoles && allocatedBytes < SHREDDED_SHARE * reservedBytes;
  }

  /** Gives all free pages back, so that few large holes take the place of many small ones. */
  #unite(): void {
    this.#parts.settle();
    this.trim();
    // Live blocks keep the others apart: not again before there are many more.
    this.#mostHoles = Math.max(MOST_HOLES, 2 * this.#holeCount);
  }

  /** Puts a hole among the others. */
  #keep(hole: number): void {
    this.#holes.putIn(hole);
    this.#holeCount++;
  }

  /** Takes a hole out. */
  #give(hole: number): void {
    this.#holes.takeOut(hole);
    this.#holeCount--;
  }

  /** Decommits free pages until `bytes` were, leaving a site's neighbours and pieces below `leastBytes` alone. */
  #reclaim(bytes: number, site: Site, leastBytes: number): void {
    const { blocks, idle, stats } = this.#parts;
    const sizeOf = (block: number) => blocks.bytesOf(block);
    const givesOf = (block: number) => {
      if (block === site.left || block === site.right) return 0;
      const pages = this.#pagesOf(block);
      return pages < leastBytes ? 0 : pages;
    };
    let isSettled = false;
    for (let left = bytes; left > 0; ) {
      const block = findReclaimable(idle, left, 2 * this.#pageBytes, stats.reservedBytes, sizeOf, givesOf);
      if (block === NONE) return;
      if (!isSettled) this.#parts.settle();
      isSettled = true;
      left -= this.#decommit(block);
    }
  }

  /** Takes the whole pages of a free block away. @returns their bytes */
  #decommit(block: number): number {
    const { blocks, idle, stats } = this.#parts;
    const address = blocks.addressOf(block);
    const end = address + blocks.bytesOf(block);
    const from = alignUp(address, this.#pageBytes);
    const bytes = this.#pagesOf(block);
    this.#virtual.decommit(from as DevicePtr, bytes);
    idle.takeOut(block);
    let hole = from > address ? blocks.split(block, from - address) : block;
    const tail = end > from + bytes ? blocks.split(hole, bytes) : NONE;
    stats.released(bytes);
    const next = blocks.nextOf(hole);
    if (blocks.isHole(next)) {
      this.#give(next);
      blocks.absorbNext(hole);
    }
    const previous = blocks.previousOf(hole);
    if (blocks.isHole(previous)) {
      this.#give(previous);
      blocks.absorbNext(previous);
      hole = previous;
    }
    this.#keep(hole);
    if (from > address) idle.putIn(block);
    if (tail !== NONE) idle.putIn(tail);
    return bytes;
  }

  /** Bytes of the whole pages in a block. */
  #pagesOf(block: number): number {
    const { blocks } = this.#parts;
    const address = blocks.addressOf(block);
    const from = alignUp(address, this.#pageBytes);
    const end = address + blocks.bytesOf(block);
    return Math.max(0, end - (end % this.#pageBytes) - from);
  }

  /** Reserves one more range that has room for `bytes`. */
  #addRange(bytes: number, failure: { cause: unknown }): Site | undefined {
    const { blocks, deviceInterface, device } = this.#parts;
    const least = alignUp(bytes, this.#pageBytes);
    if (!Number.isSafeInteger(least)) return undefined;
    const wish = Math.min(Math.max(2 * deviceInterface.getMaxMemorySize(device), MIN_RANGE_BYTES), MAX_RANGE_BYTES);
    const edge = this.#pageBytes - this.#virtual.granularityBytes;
    for (let room = Math.max(alignUp(wish, this.#pageBytes), least); ; ) {
      const start = askNative(() => this.#virtual.reserve(room + edge), NULL_PTR, failure);
      if (start !== NULL_PTR) {
        const firstPage = alignUp(start, this.#pageBytes);
        this.#ranges.push({ start, bytes: room + edge, firstPage });
        const hole = blocks.create(firstPage, room, this.#holes);
        this.#keep(hole);
        return this.#siteIn(hole, bytes);
      }
      if (room <= least) return undefined;
      room = Math.max(alignUp(room / 2, this.#pageBytes), least);
    }
  }
}

function better(one: Site | undefined, other: Site | undefined): Site | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return other.bytes < one.bytes ? other : one;
}
