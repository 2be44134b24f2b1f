import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import type { ReleaseBounds } from '../../src/blocks/release-bounds.js';
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

  /** Gives segments back that may go, and whole pages of expandable ones; when all go, large ones first. */
  release(bounds: ReleaseBounds): void {
    const { heap } = this.#pools;
    const all = this.#pools.released.flatMap(({ large, small }) => [...inOrder(large), ...inOrder(small)]);
    const bytesOf = ({ free, pages }: StreamBlocks, block: number): number => {
      if (!free.has(block)) return 0;
      if (pages !== undefined) return pages.holes.wholePages(block);
      return heap.isWholeSegment(block) ? heap.bytesOf(block) : 0;
    };
    const blocksOf = (of: StreamBlocks) => of.free.toArray().filter((block) => bytesOf(of, block) > 0);
    const pieces = all.flatMap((of) => blocksOf(of).map((block) => ({ of, block })));
    bounds.giveBack(pieces, {
      bytesOf: ({ of, block }) => bytesOf(of, block),
      release: ({ of: { free, pages }, block }, bytes) => {
        if (pages === undefined) this.#release(free, block);
        else pages.decommit(block, this.#settle, bytes);
      },
      unitOf: ({ of }) => of.pages?.pageBytes ?? 0,
    });
    for (const { pages } of all) pages?.release();
  }
}
