import { NONE, REFERENCE_LOCK } from '../../src/blocks/block-rows.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { checkOptionNames, checkOwnOptions, type OptionNames, type OwnOptions } from '../../src/core/option-names.js';
import { checkStackRoom } from '../../src/core/stack-room.js';
import { checkAlignment, checkBytes, type DevicePtr, devicePtr, NULL_PTR } from '../../src/core/units.js';
import { ALIGNMENT_CODE_MASK, alignmentCode } from './layout-cache.js';
import { type LruMemoryManagerOptions, LruPolicy } from './lru-policy.js';

/** What a buffer is made for. Rust's `Layout`, as in the seed. */
export interface MemoryLayout {
  /** Bytes. */
  readonly size: number;
  /** Bytes, a power of two; 0 or 1 for no wish. */
  readonly align: number;
}

/** How memory that was made elsewhere is taken over. */
export interface InsertOptions {
  /** The device that it lies on. @defaultValue the active one */
  readonly device?: number;
  /**
   * Gives the memory back when nobody holds it any more; the manager then never keeps nor reuses it. One that does nothing borrows it.
   * @defaultValue none: the memory becomes the manager's own, is kept by its layout, and goes back by the table's nativeFree
   */
  readonly release?: (ptr: DevicePtr) => void;
}

/** How a batch is allocated. */
export interface BatchOptions {
  /** Bytes, a power of two, for every block. @defaultValue the device's own */
  readonly alignment?: number;
}

const INSERT_OPTIONS: OptionNames<InsertOptions> = { device: true, release: true };
const BATCH_OPTIONS: OptionNames<BatchOptions> = { alignment: true };
const OPTIONS: OwnOptions<LruMemoryManagerOptions> = {
  of: () => LruMemoryManager,
  names: { capacityLayouts: true, capacityBytes: true, logStream: true },
};

/**
 * Keeps freed buffers by layout, gives the least recently used layout back first, and counts references.
 *
 * A block has three holders: the manager's lock, the user's lock, and its references as a third one. It is free when all
 * three are gone. `references(block) > 0` exactly while it has the reference lock.
 *
 * What is allocated, inserted or freed by this class's own methods passes by the slot's call log, but is counted.
 *
 * @see Source: hpt, hpt-allocator: without the leak of an eviction on free, and without losing all when the capacity shrinks
 */
export class LruMemoryManager extends LruPolicy {
  /**
   * @param deviceCount - devices managed from the start
   * @throws ERR_MEM_INVALID_ARGUMENT for a capacity that is none
   */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: LruMemoryManagerOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super(deviceCount, deviceInterface, options);
  }

  /**
   * Allocates a block with one reference on the active device. Cost: O(1), and a native call when none is kept.
   *
   * @param device - must be the active one: a table allocates nowhere else
   * @defaultValue device is the active one
   * @throws ERR_MEM_INVALID_ARGUMENT for another device; as {@link allocBytes}
   */
  allocate(layout: MemoryLayout, device?: number): DevicePtr {
    if (device !== undefined) {
      const active = this.deviceInterface.getActiveDeviceId();
      if (device !== active) throw mismatch('device', device, `the active one, ${active}`);
    }
    const ptr = this.allocBytes(layout.size, false, layout.align);
    if (ptr !== NULL_PTR) this.#giveOneReference(this.liveBlock(ptr));
    return ptr;
  }

  /**
   * Drops one reference of a block that was allocated with that layout on that device. Cost: O(1).
   *
   * @returns true when the block is free now
   * @throws ERR_MEM_INVALID_ARGUMENT for another layout or device, and without a reference; ERR_MEM_UNKNOWN_POINTER, ERR_MEM_DOUBLE_FREE
   */
  deallocate(ptr: DevicePtr, layout: MemoryLayout, device: number): boolean {
    if (ptr === NULL_PTR) return false;
    const block = this.#heldBlock(ptr);
    const { blocks } = this;
    if (device !== blocks.deviceOf(block)) throw mismatch('device', device, `the block's, ${blocks.deviceOf(block)}`);
    const code = blocks.markOf(block) & ALIGNMENT_CODE_MASK;
    if (layout.size !== blocks.bytesOf(block)) throw mismatch('size', layout.size, `the block's, ${blocks.bytesOf(block)}`);
    checkAlignment(layout.align);
    if (alignmentCode(layout.align) !== code)
      throw mismatch('align', layout.align, `the block's, ${code === 0 ? 1 : 2 ** (code - 1)}`);
    return this.decrementRef(ptr);
  }

  /**
   * Allocates several blocks, each with one reference: all, or none. Cost: O(sizes).
   *
   * When one has no place, what the others took goes back to where it came from.
   *
   * @param sizes - bytes of each block; 0 gives null there
   * @throws as {@link allocBytes}
   */
  allocateBatch(sizes: ArrayLike<number>, options: BatchOptions = {}): DevicePtr[] {
    checkOptionNames('allocateBatch', options, BATCH_OPTIONS);
    const { alignment = 0 } = options;
    checkAlignment(alignment);
    for (let i = 0; i < sizes.length; i++) checkBytes(sizes[i]!);
    const device = this.deviceInterface.getActiveDeviceId();
    checkStackRoom();
    return this.placeAll(sizes, alignment, device).map((block, i) => {
      if (block === NONE) return NULL_PTR;
      this.setReferences(block, 1);
      return this.handOut(block, sizes[i]!, REFERENCE_LOCK);
    });
  }

  /**
   * Takes over memory that was made elsewhere: it becomes a live block with one reference. Cost: O(1).
   *
   * Its size cannot be asked from an address, so the layout says it. It counts as one native allocation, and one
   * native free when it goes back, so that their difference stays the number of segments here.
   *
   * @throws ERR_MEM_INVALID_POINTER, ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT, ERR_MEM_INVALID_DEVICE
   * @throws ERR_MEM_INVALID_ARGUMENT when a block with that address is here already; {@link incrementRef} holds such a one
   */
  insertPtr(ptr: DevicePtr, layout: MemoryLayout, options: InsertOptions = {}): void {
    checkOptionNames('insertPtr', options, INSERT_OPTIONS);
    const { size, align } = layout;
    const { device = this.deviceInterface.getActiveDeviceId(), release } = options;
    devicePtr(ptr);
    if (ptr === NULL_PTR) throw new MemoryError('ERR_MEM_INVALID_POINTER', { pointer: ptr });
    checkBytes(size);
    if (size === 0) throw new MemoryError('ERR_MEM_INVALID_SIZE', { bytes: size });
    checkAlignment(align);
    if (ptr % (align || 1) !== 0) throw new MemoryError('ERR_MEM_INVALID_ALIGNMENT', { alignmentBytes: align });
    this.statsOf(device);
    if (this.blocks.find(ptr) !== NONE) throw mismatch('pointer', ptr, 'one that heads no block of this manager');
    checkStackRoom();
    const block = this.adoptInserted(ptr, size, align, device, release);
    this.handOut(block, size, REFERENCE_LOCK);
    this.setReferences(block, 1);
  }

  /** The references of a live block; 0 for other pointers. */
  references(ptr: DevicePtr): number {
    const block = this.liveBlock(ptr);
    return block === NONE ? 0 : this.referencesOf(block);
  }

  /** Adds a reference to a live block; does nothing for null. @throws ERR_MEM_UNKNOWN_POINTER */
  incrementRef(ptr: DevicePtr): void {
    if (ptr === NULL_PTR) return;
    this.hold(ptr, REFERENCE_LOCK);
    const block = this.liveBlock(ptr);
    this.setReferences(block, this.referencesOf(block) + 1);
  }

  /**
   * Drops a reference of a block, and frees it when that was the last one and no lock is left. Does nothing for null.
   *
   * @returns true when the block is free now
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_DOUBLE_FREE
   * @throws ERR_MEM_INVALID_ARGUMENT when it has no reference
   */
  decrementRef(ptr: DevicePtr): boolean {
    if (ptr === NULL_PTR) return false;
    const block = this.#heldBlock(ptr);
    const references = this.referencesOf(block);
    if (references === 0) throw mismatch('reference count', 0, 'at least 1 to be decremented');
    if (references > 1) {
      this.setReferences(block, references - 1);
      return false;
    }
    const isLast = this.blocks.locksOf(block) === REFERENCE_LOCK;
    // Before the block is free: a native call may come back with one that has its row.
    this.setReferences(block, 0);
    try {
      this.unhold(ptr, REFERENCE_LOCK);
    } catch (error) {
      this.setReferences(block, 1);
      throw error;
    }
    return isLast;
  }

  /** Gives every kept buffer of all devices back, the least recently used layout first. Live blocks stay. */
  clear(): void {
    this.signalMemoryCleanup();
  }

  #giveOneReference(block: number): void {
    this.blocks.setLocks(block, REFERENCE_LOCK);
    this.setReferences(block, 1);
  }

  #heldBlock(ptr: DevicePtr): number {
    const block = this.blocks.find(ptr);
    if (block === NONE) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    if (this.blocks.isFree(block)) throw new MemoryError('ERR_MEM_DOUBLE_FREE', { pointer: ptr });
    return block;
  }
}

function mismatch(name: string, value: number, expected: string): MemoryError {
  return new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value: String(value), expected });
}
