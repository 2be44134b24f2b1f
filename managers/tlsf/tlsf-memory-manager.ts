import { NONE } from '../../src/blocks/block-table.js';
import { PageTable } from '../../src/blocks/page-table.js';
import { TlsfIndex } from '../../src/blocks/tlsf-index.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { alignUp } from '../../src/core/units.js';
import { BlockMemoryManager, type ManagerOptions } from '../policy/block-memory-manager.js';
import { checkFreeBlocks, MIN_BLOCK_BYTES, segmentBytes } from '../policy/segment-sizes.js';

const MAX_INT32_BYTES = 2 ** 31 - MIN_BLOCK_BYTES;

/** Options of a {@link TlsfMemoryManager}. */
export interface TlsfMemoryManagerOptions extends ManagerOptions {}

/**
 * Keeps freed segments and hands out parts of them by two-level segregated fit: an allocation that needs no native call
 * and every free are O(1), however many blocks there are. For programs that need the same time for each call.
 *
 * Segments have Flashlight's sizes: 2 MiB for blocks up to 1 MiB, 20 MiB for those below 10 MiB, multiples of 2 MiB above.
 */
export class TlsfMemoryManager extends BlockMemoryManager {
  readonly #indexes: TlsfIndex[] = [];
  // What every segment's address is a multiple of: less than asked for when a table ignores alignments.
  #segmentAlignment = MIN_BLOCK_BYTES;

  /** @param deviceCount - devices managed from the start */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: TlsfMemoryManagerOptions = {}) {
    super(deviceCount, deviceInterface, options, new PageTable(MIN_BLOCK_BYTES));
  }

  override getMemStepSize(): number {
    return MIN_BLOCK_BYTES;
  }

  override get metadataBytes(): number {
    return this.#indexes.reduce((bytes, index) => bytes + (index?.metadataBytes ?? 0), super.metadataBytes);
  }

  protected place(bytes: number, alignment: number, _stream: number, device: number): number {
    const size = bytes <= MAX_INT32_BYTES ? (bytes + MIN_BLOCK_BYTES - 1) & -MIN_BLOCK_BYTES : alignUp(bytes, MIN_BLOCK_BYTES);
    const index = this.#indexes[device] ?? this.#addIndex(device);
    if (alignment > this.#segmentAlignment) return this.#placeAligned(size, alignment, index, device, bytes);
    const found = index.findGoodFit(size);
    if (found !== NONE) index.remove(found);
    const block = found !== NONE ? found : this.#addSegment(size, device, bytes);
    // Only now is it known what a first segment's address is a multiple of.
    if (alignment > this.#segmentAlignment) {
      index.insert(block);
      return this.#placeAligned(size, alignment, index, device, bytes);
    }
    if (this.blocks.bytesOf(block) > size) index.insert(this.split(block, size));
    return block;
  }

  protected reclaim(block: number): void {
    const { blocks } = this;
    const index = this.#indexes[blocks.deviceOf(block)]!;
    let whole = block;
    const next = blocks.nextOf(block);
    if (next !== NONE && blocks.isFree(next)) {
      index.remove(next);
      this.absorbNext(block);
    }
    const previous = blocks.previousOf(block);
    if (previous !== NONE && blocks.isFree(previous)) {
      index.remove(previous);
      this.absorbNext(previous);
      whole = previous;
    }
    index.insert(whole);
  }

  protected trim(device: number): void {
    const index = this.#indexes[device];
    if (index === undefined) return;
    for (const block of index.toArray()) {
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

  override checkInvariants(): void {
    super.checkInvariants();
    let indexed = 0;
    for (const index of this.#indexes) {
      index?.checkInvariants();
      indexed += index?.count ?? 0;
    }
    checkFreeBlocks(this.blocks, indexed);
  }

  #addIndex(device: number): TlsfIndex {
    const index = new TlsfIndex(this.blocks);
    this.#indexes[device] = index;
    return index;
  }

  /** Gets a segment for a block of `size` bytes; it is in no index. */
  #addSegment(size: number, device: number, requestedBytes: number): number {
    const block = this.nativeAllocate(segmentBytes(size), MIN_BLOCK_BYTES, device, requestedBytes);
    const address = this.blocks.addressOf(block);
    while (address % this.#segmentAlignment !== 0) this.#segmentAlignment /= 2;
    return block;
  }

  /** Places a block whose alignment segments do not have: takes a larger one and leaves what is before the address free. */
  #placeAligned(size: number, alignment: number, index: TlsfIndex, device: number, requestedBytes: number): number {
    const room = size + alignUp(alignment, MIN_BLOCK_BYTES);
    const found = index.findGoodFit(room);
    if (found !== NONE) index.remove(found);
    const block = found !== NONE ? found : this.#addSegment(room, device, requestedBytes);
    const address = this.blocks.addressOf(block);
    // At least a granule of the page table, so that no two blocks begin in one.
    const front = alignUp(address, Math.max(alignment, MIN_BLOCK_BYTES)) - address;
    const aligned = front === 0 ? block : this.split(block, front);
    if (front > 0) index.insert(block);
    if (this.blocks.bytesOf(aligned) > size) index.insert(this.split(aligned, size));
    return aligned;
  }
}
