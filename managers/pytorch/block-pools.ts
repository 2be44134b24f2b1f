import { NONE } from '../../src/blocks/block-rows.js';
import type { DeviceHeap } from '../../src/blocks/device-heap.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { DeviceStreams } from '../policy/device-streams.js';
import { MIN_BLOCK_BYTES, SMALL_BYTES, SMALL_SEGMENT_BYTES } from '../policy/segment-sizes.js';
import { UsedBlocks } from '../policy/used-blocks.js';
import { VirtualPages } from '../policy/virtual-pages.js';
import type { PyTorchSettings } from './alloc-conf.js';

/** The small or the large blocks of a pool. */
interface SizeClass {
  readonly isSmall: boolean;
  /** By stream. */
  readonly streams: Map<number, StreamBlocks>;
  /** How often a free block was looked for: what the age of free blocks is counted in. */
  searches: number;
}

/** The memory of one stream in one size class: its segments are no other's. */
export interface StreamBlocks {
  readonly sizes: SizeClass;
  readonly stream: number;
  readonly free: FreeBlocks;
  /** Where segments are expandable. */
  readonly pages: VirtualPages | undefined;
  /** From the recorded addresses of restored segments to theirs. */
  restoredShift: number;
}

interface Pool {
  readonly small: SizeClass;
  readonly large: SizeClass;
  /** Whether its cached segments may be given back. Those of pool 0 always may. */
  isReleased: boolean;
}

/** The memory of one device: pool 0 and private pools, each by size class and stream; and the blocks that several streams use. */
export class BlockPools {
  readonly heap: DeviceHeap;
  readonly streams: DeviceStreams;
  readonly used: UsedBlocks;
  /** Free blocks know their place here as their group. */
  readonly all: StreamBlocks[] = [];
  readonly #settings: PyTorchSettings;
  readonly #table: MemoryManagerDeviceInterface;
  readonly #keepsAges: boolean;
  readonly #pools = new Map<number, Pool>();
  /** Whether no call is under way but the one that asks: others may still use what is empty now. */
  readonly #isAlone: () => boolean;
  /** Those of private pools that are no more, for the next ones. */
  #spares: StreamBlocks[] = [];
  #frees = 0;

  /** @param keepsAges - whether free blocks that are whole segments know when they were freed */
  constructor(
    heap: DeviceHeap,
    settings: PyTorchSettings,
    table: MemoryManagerDeviceInterface,
    keepsAges: boolean,
    isAlone: () => boolean,
  ) {
    this.heap = heap;
    this.streams = new DeviceStreams(() => table.streams, heap.device);
    this.used = new UsedBlocks(heap, this.streams, (block) => this.#retire(block));
    this.#settings = settings;
    this.#table = table;
    this.#keepsAges = keepsAges;
    this.#isAlone = isAlone;
    this.pool(0);
  }

  /** The blocks of a stream in a size class of a pool. @throws what the device throws for no stream */
  blocksOf(pool: number, isSmall: boolean, stream: number): StreamBlocks {
    const { small, large } = this.pool(pool);
    const sizes = isSmall ? small : large;
    // This call may come back with an allocation of that stream.
    this.streams.check(stream);
    const known = sizes.streams.get(stream);
    if (known !== undefined) return known;
    const blocks = this.#open(sizes, stream);
    sizes.streams.set(stream, blocks);
    this.all[blocks.free.group] = blocks;
    return blocks;
  }

  /** Pool 0 or a private pool, which comes to be when it is first asked for. */
  pool(id: number): Pool {
    let pool = this.#pools.get(id);
    if (pool === undefined) {
      this.#forgetEmpty();
      const sizeClass = (isSmall: boolean): SizeClass => ({ isSmall, streams: new Map(), searches: 0 });
      pool = { small: sizeClass(true), large: sizeClass(false), isReleased: id === 0 };
      this.#pools.set(id, pool);
    }
    return pool;
  }

  /** The pools whose cached segments may be given back, by number. */
  get released(): Pool[] {
    const byNumber = [...this.#pools].sort(([a], [b]) => a - b);
    return byNumber.flatMap(([, pool]) => (pool.isReleased ? [pool] : []));
  }

  /** Marks all pools: their cached segments may be given back. */
  releaseAll(): void {
    for (const pool of this.#pools.values()) pool.isReleased = true;
  }

  /** The blocks of which a block is one. */
  ownerOf(block: number): StreamBlocks {
    return this.all[this.heap.groupOf(block)]!;
  }

  /** Takes a block back that is left to the policy: at once, or when the streams that use it are done. */
  giveBack(block: number): void {
    this.used.giveBack(block, this.#frees++);
  }

  /** How many searches ago a free block that is a whole segment was freed. */
  ageOf(block: number): number {
    return (this.ownerOf(block).sizes.searches - this.heap.markOf(block)) >>> 0;
  }

  #retire(block: number): void {
    const { heap } = this;
    if (!this.#keepsAges) {
      heap.retire(block);
      return;
    }
    const { free, sizes } = this.ownerOf(block);
    const previous = heap.previousOf(block);
    const whole = free.has(previous) ? previous : block;
    heap.retire(block);
    heap.setMark(whole, sizes.searches);
  }

  /** Forgets private pools that were released and have no memory. Cost: O(pools), O(blocks) when there is one. */
  #forgetEmpty(): void {
    if (!this.#isAlone()) return;
    const partsOf = ({ small, large }: Pool) => [...small.streams.values(), ...large.streams.values()];
    const isEmpty = ({ free, pages }: StreamBlocks) => free.isEmpty && (pages === undefined || pages.holes.count === 0);
    const empty = [...this.#pools].filter(([id, pool]) => id !== 0 && pool.isReleased && partsOf(pool).every(isEmpty));
    if (empty.length === 0) return;
    const live = new Set(Array.from(this.heap, (block) => this.heap.groupOf(block)));
    for (const [id, pool] of empty) {
      const parts = partsOf(pool);
      if (parts.some(({ free }) => live.has(free.group))) continue;
      this.#pools.delete(id);
      this.#spares.push(...parts);
    }
  }

  #open(sizes: SizeClass, stream: number): StreamBlocks {
    const spare = this.#spares.find((one) => one.sizes.isSmall === sizes.isSmall);
    if (spare !== undefined) {
      this.#spares = this.#spares.filter((one) => one !== spare);
      return { ...spare, sizes, stream, restoredShift: 0 };
    }
    const { heap } = this;
    const { expandableSegments, maxSplitSizeBytes, largeSegmentSizeBytes } = this.#settings;
    const group = this.all.length;
    const cutsAll = sizes.isSmall || expandableSegments;
    // What is left of a large block is kept with it unless it is more than a small block can be.
    const leastRestBytes = cutsAll ? MIN_BLOCK_BYTES : SMALL_BYTES + MIN_BLOCK_BYTES;
    const free = heap.createFreeBlocks({ group, unitBytes: MIN_BLOCK_BYTES, fit: 'exact', leastRestBytes });
    if (!cutsAll) free.setLimits(maxSplitSizeBytes, Number.POSITIVE_INFINITY);
    const { virtual } = this.#table;
    const pageBytes = sizes.isSmall ? SMALL_SEGMENT_BYTES : largeSegmentSizeBytes;
    const pages =
      expandableSegments && virtual !== undefined ? new VirtualPages(heap, free, virtual, holesOf(group), pageBytes) : undefined;
    return { sizes, stream, free, pages, restoredShift: 0 };
  }
}

/** The group of the holes beside a group of free blocks. */
function holesOf(group: number): number {
  return NONE - 1 - group;
}

/** Those of a size class, by stream. */
export function inOrder({ streams }: SizeClass): StreamBlocks[] {
  return [...streams.values()].sort((a, b) => a.stream - b.stream);
}
