import { NONE } from '../../src/blocks/block-table.js';
import { FreeBlockIndex } from '../../src/blocks/free-block-index.js';
import { PageTable } from '../../src/blocks/page-table.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { alignUp, MiB } from '../../src/core/units.js';
import { BlockMemoryManager, type ManagerOptions } from '../policy/block-memory-manager.js';
import { checkFreeBlocks, MIN_BLOCK_BYTES, SMALL_BYTES, SMALL_SEGMENT_BYTES, segmentBytes } from '../policy/segment-sizes.js';

const LARGE = 0;
const SMALL = 1;

export interface CachingMemoryManagerOptions extends ManagerOptions {
  /**
   * Free large blocks of this size and above are not reused.
   * @defaultValue FL_MEM_RECYCLING_SIZE_MB of the environment in MiB, or no limit
   */
  readonly recyclingSizeLimitBytes?: number;
  /**
   * Blocks of this size and above are not split.
   * @defaultValue FL_MEM_SPLIT_SIZE_MB of the environment in MiB, or no limit
   */
  readonly splitSizeLimitBytes?: number;
}

/**
 * Keeps freed segments and hands out parts of them: best fit, splitting and coalescing, with pools for small and large
 * blocks. Flashlight's policy decision for decision; its answers are the same addresses.
 *
 * @see Source: Flashlight, fl::CachingMemoryManager
 */
export class CachingMemoryManager extends BlockMemoryManager {
  /** By {@link BlockTable.placeOf}: an index for each device and pool. */
  readonly #indexes: (FreeBlockIndex | undefined)[] = [];
  #hasRecyclingLimit = false;
  #recyclingSizeLimitBytes = Number.POSITIVE_INFINITY;
  #splitSizeLimitBytes = Number.POSITIVE_INFINITY;
  // What every segment's address is a multiple of: less than asked for when a table ignores alignments.
  #segmentAlignment = MIN_BLOCK_BYTES;

  /**
   * @param deviceCount - devices managed from the start
   * @throws ERR_MEM_INVALID_ARGUMENT for a limit that is no size, also in the environment
   */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: CachingMemoryManagerOptions = {}) {
    super(deviceCount, deviceInterface, options, new PageTable(MIN_BLOCK_BYTES));
    this.setRecyclingSizeLimit(options.recyclingSizeLimitBytes ?? limitFromEnvironment('FL_MEM_RECYCLING_SIZE_MB'));
    this.setSplitSizeLimit(options.splitSizeLimitBytes ?? limitFromEnvironment('FL_MEM_SPLIT_SIZE_MB'));
  }

  /** Free large blocks of `bytes` and above are not reused from now on. @throws ERR_MEM_INVALID_ARGUMENT */
  setRecyclingSizeLimit(bytes: number): void {
    checkLimit('recycling size limit', bytes);
    this.#recyclingSizeLimitBytes = bytes;
    this.#hasRecyclingLimit = bytes !== Number.POSITIVE_INFINITY;
  }

  /** Blocks of `bytes` and above are not split from now on. @throws ERR_MEM_INVALID_ARGUMENT */
  setSplitSizeLimit(bytes: number): void {
    checkLimit('split size limit', bytes);
    this.#splitSizeLimitBytes = bytes;
  }

  override getMemStepSize(): number {
    return MIN_BLOCK_BYTES;
  }

  protected place(bytes: number, alignment: number, _stream: number, device: number): number {
    const size = alignUp(bytes, MIN_BLOCK_BYTES);
    const pool = size <= SMALL_BYTES ? SMALL : LARGE;
    if (alignment > this.#segmentAlignment) return this.#placeAligned(size, alignment, pool, device, bytes);
    const index = this.#index(device, pool);
    const block = this.#hasRecyclingLimit ? this.#takeWithinLimit(size, pool, index) : index.takeBestFit(size);
    if (block === NONE) return this.#placeInSegment(size, alignment, pool, device, bytes);
    this.#splitTail(block, size, pool, index);
    return block;
  }

  protected reclaim(block: number): void {
    const blocks = this.blocks;
    // By the size before it is joined with its neighbours, as in Flashlight.
    const pool = blocks.bytesOf(block) <= SMALL_BYTES ? SMALL : LARGE;
    let whole = block;
    const previous = blocks.freePreviousOf(block);
    if (previous !== NONE) {
      this.#indexOf(previous).remove(previous);
      this.absorbNext(previous);
      whole = previous;
    }
    const next = blocks.freeNextOf(whole);
    if (next !== NONE) {
      this.#indexOf(next).remove(next);
      this.absorbNext(whole);
    }
    blocks.setPool(whole, pool);
    this.#indexOf(whole).insert(whole);
  }

  protected trim(device: number): void {
    for (const pool of [LARGE, SMALL]) {
      const index = this.#index(device, pool);
      let next = NONE;
      for (let block = index.first(); block !== NONE; block = next) {
        next = index.after(block);
        if (!this.blocks.isWholeSegment(block)) continue;
        index.remove(block);
        try {
          this.nativeRelease(block);
        } catch (error) {
          index.insert(block);
          throw error;
        }
      }
    }
  }

  override get metadataBytes(): number {
    return this.#indexes.reduce<number>((sum, index) => sum + (index?.metadataBytes ?? 0), super.metadataBytes);
  }

  override checkInvariants(): void {
    super.checkInvariants();
    let indexed = 0;
    for (const index of this.#indexes) {
      index?.checkInvariants();
      indexed += index?.count ?? 0;
    }
    checkFreeBlocks(this.blocks, indexed);
  }

  /** The index that a block is in while it is free. */
  #indexOf(block: number): FreeBlockIndex {
    const place = this.blocks.placeOf(block);
    return this.#indexes[place] ?? this.#addIndex(place);
  }

  #index(device: number, pool: number): FreeBlockIndex {
    const place = (device << 8) | pool;
    return this.#indexes[place] ?? this.#addIndex(place);
  }

  #addIndex(place: number): FreeBlockIndex {
    const index = new FreeBlockIndex(this.blocks);
    this.#indexes[place] = index;
    return index;
  }

  /** Takes the best fit, unless it is a large block that is not to be reused. */
  #takeWithinLimit(size: number, pool: number, index: FreeBlockIndex): number {
    const block = index.findBestFit(size);
    if (block === NONE || (pool === LARGE && this.blocks.bytesOf(block) >= this.#recyclingSizeLimitBytes)) return NONE;
    index.remove(block);
    return block;
  }

  #placeInSegment(size: number, alignment: number, pool: number, device: number, requestedBytes: number): number {
    const block = this.#addSegment(segmentBytes(size), pool, device, requestedBytes);
    if (alignment !== 0 && this.blocks.addressOf(block) % alignment !== 0) {
      this.#index(device, pool).insert(block);
      return this.#placeAligned(size, alignment, pool, device, requestedBytes);
    }
    this.#splitTail(block, size, pool, this.#index(device, pool));
    return block;
  }

  #addSegment(bytes: number, pool: number, device: number, requestedBytes: number): number {
    const block = this.nativeAllocate(bytes, MIN_BLOCK_BYTES, device, requestedBytes);
    this.blocks.setPool(block, pool);
    const address = this.blocks.addressOf(block);
    while (address % this.#segmentAlignment !== 0) this.#segmentAlignment /= 2;
    return block;
  }

  /** Cuts off what a block has more than `size`, if that is worth a block. */
  #splitTail(block: number, size: number, pool: number, index: FreeBlockIndex): void {
    const bytes = this.blocks.bytesOf(block);
    if (bytes - size < (pool === SMALL ? MIN_BLOCK_BYTES : SMALL_BYTES) || bytes >= this.#splitSizeLimitBytes) return;
    index.insert(this.split(block, size));
  }

  /** Places a block whose alignment segments do not have: takes a larger one and cuts the front off. */
  #placeAligned(size: number, alignment: number, pool: number, device: number, requestedBytes: number): number {
    const padded = size + alignUp(alignment, MIN_BLOCK_BYTES);
    const index = this.#index(device, pool);
    let block = this.#takeWithinLimit(padded, pool, index);
    if (block === NONE) {
      const bytes = pool === SMALL ? alignUp(padded, SMALL_SEGMENT_BYTES) : segmentBytes(padded);
      block = this.#addSegment(bytes, pool, device, requestedBytes);
    }
    const address = this.blocks.addressOf(block);
    // At least a granule of the page table, so that no two blocks begin in one.
    const front = alignUp(address, Math.max(alignment, MIN_BLOCK_BYTES)) - address;
    if (front > 0) {
      const aligned = this.split(block, front);
      index.insert(block);
      block = aligned;
    }
    this.#splitTail(block, size, pool, this.#index(device, pool));
    return block;
  }
}

function checkLimit(name: string, bytes: number): void {
  if (!(bytes >= 0)) {
    throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value: String(bytes), expected: 'a size in bytes, or Infinity' });
  }
}

/** Reads a limit in MiB, which may have decimals. */
function limitFromEnvironment(name: string): number {
  const text = process.env[name];
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const mebibytes = Number(text);
  if (!/^\s*\d+(\.\d*)?\s*$/.test(text)) {
    throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
      name,
      value: JSON.stringify(text),
      expected: 'a number of MiB, such as 512 or 0.5',
    });
  }
  return Math.round(mebibytes * MiB);
}
