import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import type { PyTorchSettings } from './alloc-conf.js';
import { type BlockPools, inOrder, type StreamBlocks } from './block-pools.js';

/**
 * What the pools of a device cache, and the three ways in which it goes back to the device when memory is short. A native call may
 * come back with allocations and frees: each block is looked at again before it goes.
 */
export class CachedSegments {
  readonly #pools: BlockPools;
  readonly #settings: PyTorchSettings;
  readonly #release: (free: FreeBlocks, block: number) => void;
  readonly #settle: () => void;

  /**
   * @param release - gives a free block back that is a whole segment
   * @param settle - waits until no stream works on free memory
   */
  constructor(
    pools: BlockPools,
    settings: PyTorchSettings,
    release: (free: FreeBlocks, block: number) => void,
    settle: () => void,
  ) {
    this.#pools = pools;
    this.#settings = settings;
    this.#release = release;
    this.#settle = settle;
  }

  /** Gives whole segments back that were freed longer ago than the average, until no more than the threshold's share of the limit is reserved. */
  releaseOld(limitBytes: number): void {
    const { heap } = this.#pools;
    let excess = heap.stats.reservedBytes - this.#settings.garbageCollectionThreshold * limitBytes;
    const segments = inOrder(this.#pools.pool(0).large).flatMap((blocks) =>
      blocks.free
        .toArray()
        .filter((block) => heap.isWholeSegment(block))
        .map((block) => ({ blocks, block, age: this.#pools.ageOf(block) })),
    );
    let ages = segments.reduce((sum, { age }) => sum + age, 0);
    let left = segments.length;
    for (let isAnyOld = true; excess > 0 && isAnyOld && left > 0; ) {
      const oldest = ages / left;
      isAnyOld = false;
      for (const { blocks, block, age } of segments) {
        if (age < oldest || !blocks.free.has(block) || !heap.isWholeSegment(block) || blocks.pages !== undefined) continue;
        isAnyOld = true;
        excess -= heap.bytesOf(block);
        ages -= age;
        left--;
        this.#release(blocks.free, block);
      }
    }
  }

  /**
   * Gives back what is cached of blocks that are not cut: one that is large enough, or else the largest until that many bytes were.
   *
   * @returns whether enough was given back
   */
  releaseFitting({ free, pages }: StreamBlocks, size: number): boolean {
    const { heap } = this.#pools;
    const { maxSplitSizeBytes } = this.#settings;
    if (maxSplitSizeBytes === Number.POSITIVE_INFINITY || pages !== undefined) return false;
    const needed = Math.max(size, maxSplitSizeBytes);
    // A part of a segment can have that size, too: where segments are larger, or a block was cut for its alignment.
    const mayGo = (block: number) => free.has(block) && heap.isWholeSegment(block) && heap.bytesOf(block) >= maxSplitSizeBytes;
    const uncut = free.toArray().filter(mayGo);
    const fitting = uncut.find((block) => heap.bytesOf(block) >= needed);
    let missing = needed;
    for (const block of fitting === undefined ? uncut.reverse() : [fitting]) {
      if (missing <= 0) break;
      if (!mayGo(block)) continue;
      missing -= heap.bytesOf(block);
      this.#release(free, block);
    }
    return missing <= 0;
  }

  /** Gives all segments back that may go, large ones first, and whole pages of expandable ones. */
  releaseAll(): void {
    for (const { large, small } of this.#pools.released) {
      for (const blocks of [...inOrder(large), ...inOrder(small)]) this.#releaseIdle(blocks);
    }
  }

  #releaseIdle({ free, pages }: StreamBlocks): void {
    const { heap } = this.#pools;
    for (const block of free.toArray()) {
      if (!free.has(block)) continue;
      if (pages === undefined) {
        if (heap.isWholeSegment(block)) this.#release(free, block);
      } else if (pages.holes.wholePages(block) > 0) pages.decommit(block, this.#settle);
    }
    pages?.release();
  }
}
