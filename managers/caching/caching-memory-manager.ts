import { ensure, NONE } from '../../src/blocks/block-table.js';
import { FreeBlockIndex } from '../../src/blocks/free-block-index.js';
import { PageTable } from '../../src/blocks/page-table.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { alignUp, KiB, MiB } from '../../src/core/units.js';
import { BlockMemoryManager, type ManagerOptions } from '../policy/block-memory-manager.js';

/** All sizes are multiples of it. @see Source: Flashlight, kMinBlockSize */
const MIN_BLOCK_BYTES = 512;
/** The largest small block. @see Source: Flashlight, kSmallSize */
const SMALL_BYTES = 1024 * KiB;
/** The segment that small blocks are packed in. @see Source: Flashlight, kSmallBuffer */
const SMALL_SEGMENT_BYTES = 2 * MiB;
/** The segment that large blocks below {@link MIN_OWN_SEGMENT_BYTES} are packed in. @see Source: Flashlight, kLargeBuffer */
const LARGE_SEGMENT_BYTES = 20 * MiB;
/** From this size on a block gets a segment of its own. @see Source: Flashlight, kMinLargeAlloc */
const MIN_OWN_SEGMENT_BYTES = 10 * MiB;
/** Own segments are multiples of it. @see Source: Flashlight, kRoundLarge */
const OWN_SEGMENT_STEP_BYTES = 2 * MiB;

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
  readonly #indexes: FreeBlockIndex[] = [];
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
    const block = index.findBestFit(size);
    if (block === NONE || !this.#mayReuse(block, pool)) return this.#placeInSegment(size, alignment, pool, device, bytes);
    if (this.#maySplit(block, size, pool)) index.replace(block, this.split(block, size));
    else index.remove(block);
    return block;
  }

  protected reclaim(block: number): void {
    const blocks = this.blocks;
    const device = blocks.deviceOf(block);
    // By the size before it is joined with its neighbours, as in Flashlight.
    const pool = blocks.bytesOf(block) <= SMALL_BYTES ? SMALL : LARGE;
    let whole = block;
    // The free neighbour in whose place in an index the joined block is put.
    let heir = NONE;
    const previous = blocks.previousOf(block);
    if (previous !== NONE && blocks.isFree(previous)) {
      this.absorbNext(previous);
      whole = previous;
      heir = previous;
    }
    const next = blocks.nextOf(whole);
    if (next !== NONE && blocks.isFree(next)) {
      if (heir === NONE) heir = next;
      else this.#index(device, blocks.poolOf(next)).remove(next);
      this.joinNext(whole);
    }
    this.#enter(whole, heir, pool, device);
    if (next !== NONE && blocks.isFree(next)) blocks.remove(next);
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
    return this.#indexes.reduce((sum, index) => sum + (index?.metadataBytes ?? 0), super.metadataBytes);
  }

  override checkInvariants(): void {
    super.checkInvariants();
    let indexed = 0;
    for (const index of this.#indexes) {
      index?.checkInvariants();
      indexed += index?.count ?? 0;
    }
    let free = 0;
    for (const block of this.blocks) {
      const next = this.blocks.nextOf(block);
      if (!this.blocks.isFree(block)) continue;
      free++;
      ensure(next === NONE || !this.blocks.isFree(next), `free block ${block} has no free neighbour`);
    }
    ensure(free === indexed, `${free} free blocks, ${indexed} of them indexed`);
  }

  #index(device: number, pool: number): FreeBlockIndex {
    return (this.#indexes[2 * device + pool] ??= new FreeBlockIndex(this.blocks));
  }

  /** Puts a free block into the index of its pool, in the place of `heir` (or none) if that is there. */
  #enter(block: number, heir: number, pool: number, device: number): void {
    const index = this.#index(device, pool);
    if (heir === NONE) {
      index.insert(block);
    } else if (this.blocks.poolOf(heir) === pool) {
      index.replace(heir, block);
    } else {
      this.#index(device, this.blocks.poolOf(heir)).remove(heir);
      index.insert(block);
    }
    this.blocks.setPool(block, pool);
  }

  #mayReuse(block: number, pool: number): boolean {
    return pool === SMALL || this.blocks.bytesOf(block) < this.#recyclingSizeLimitBytes;
  }

  #maySplit(block: number, size: number, pool: number): boolean {
    const bytes = this.blocks.bytesOf(block);
    return bytes - size >= (pool === SMALL ? MIN_BLOCK_BYTES : SMALL_BYTES) && bytes < this.#splitSizeLimitBytes;
  }

  #placeInSegment(size: number, alignment: number, pool: number, device: number, requestedBytes: number): number {
    const block = this.#addSegment(segmentBytes(size), pool, device, requestedBytes);
    if (alignment !== 0 && this.blocks.addressOf(block) % alignment !== 0) {
      this.#index(device, pool).insert(block);
      return this.#placeAligned(size, alignment, pool, device, requestedBytes);
    }
    this.#splitTail(block, size, pool, device);
    return block;
  }

  #addSegment(bytes: number, pool: number, device: number, requestedBytes: number): number {
    const block = this.nativeAllocate(bytes, MIN_BLOCK_BYTES, device, requestedBytes);
    this.blocks.setPool(block, pool);
    const address = this.blocks.addressOf(block);
    while (address % this.#segmentAlignment !== 0) this.#segmentAlignment /= 2;
    return block;
  }

  #splitTail(block: number, size: number, pool: number, device: number): void {
    if (this.#maySplit(block, size, pool)) this.#index(device, pool).insert(this.split(block, size));
  }

  /** Places a block whose alignment segments do not have: takes a larger one and cuts the front off. */
  #placeAligned(size: number, alignment: number, pool: number, device: number, requestedBytes: number): number {
    const padded = size + alignUp(alignment, MIN_BLOCK_BYTES);
    const index = this.#index(device, pool);
    let block = index.findBestFit(padded);
    if (block !== NONE && this.#mayReuse(block, pool)) {
      index.remove(block);
    } else {
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
    this.#splitTail(block, size, pool, device);
    return block;
  }
}

function segmentBytes(size: number): number {
  if (size <= SMALL_BYTES) return SMALL_SEGMENT_BYTES;
  if (size < MIN_OWN_SEGMENT_BYTES) return LARGE_SEGMENT_BYTES;
  return alignUp(size, OWN_SEGMENT_STEP_BYTES);
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
  const mebibytes = text.trim() === '' ? Number.NaN : Number(text);
  if (!(mebibytes >= 0)) {
    throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
      name,
      value: JSON.stringify(text),
      expected: 'a number of MiB, such as 512 or 0.5',
    });
  }
  return Math.round(mebibytes * MiB);
}
