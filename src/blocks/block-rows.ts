import { MemoryError } from '../core/errors.js';
import { openKernel } from './kernel.js';
import { HOLE, INDEXED, type Kernel } from './kernel-interface.js';

/** The manager's own lock. */
export const MANAGER_LOCK = 1;
/** The user's lock. */
export const USER_LOCK = 2;
/** Held while a block's reference count is above 0. */
export const REFERENCE_LOCK = 4;

/** No block. */
export const NONE = 0;

/** What stands for the kernel in a heap that is closed: every call throws ERR_MEM_DISPOSED. */
const CLOSED = new Proxy({} as Kernel, {
  get() {
    throw new MemoryError('ERR_MEM_DISPOSED', { what: 'heap' });
  },
});

/** The kernel, as long as a heap is open. What belongs to the heap calls it through its lifetime alone. */
export class Lifetime {
  /** @throws ERR_MEM_DISPOSED at each call once the heap is closed */
  kernel: Kernel = openKernel();

  get isOver(): boolean {
    return this.kernel === CLOSED;
  }

  /** @throws ERR_MEM_DISPOSED once the heap is closed */
  checkOpen(): void {
    if (this.isOver) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'heap' });
  }

  end(): void {
    this.kernel = CLOSED;
  }
}

/**
 * Reads and changes blocks. A block is a number: its row of 64 bytes in the kernel.
 *
 * `requestedOf(block) <= bytesOf(block)`; a block is live while it has a lock, free otherwise.
 * `addressOf(next) == addressOf(block) + bytesOf(block)` inside a segment. Every call throws ERR_MEM_DISPOSED once the heap is closed.
 */
export class BlockRows {
  /** @internal */
  protected readonly lifetime: Lifetime;

  /** @internal */
  constructor(lifetime: Lifetime) {
    this.lifetime = lifetime;
  }

  addressOf(block: number): number {
    return this.lifetime.kernel.addressOf(block);
  }

  bytesOf(block: number): number {
    return this.lifetime.kernel.bytesOf(block);
  }

  /** The bytes the holder asked for. */
  requestedOf(block: number): number {
    return this.lifetime.kernel.requestedOf(block);
  }

  deviceOf(block: number): number {
    return this.lifetime.kernel.deviceOf(block);
  }

  /** The group of the free blocks that it belongs to. */
  groupOf(block: number): number {
    return this.lifetime.kernel.groupOf(block);
  }

  /** The block before it in its segment, or {@link NONE}. */
  previousOf(block: number): number {
    return this.lifetime.kernel.previousOf(block);
  }

  /** The block behind it in its segment, or {@link NONE}. */
  nextOf(block: number): number {
    return this.lifetime.kernel.nextOf(block);
  }

  /** A small number, from 0 on, that no other block of its device has while it exists: for columns of one's own. */
  rowOf(block: number): number {
    return this.lifetime.kernel.rowOf(block);
  }

  /** The policy's own number for a block: a 32-bit integer, 0 at first; parts of a block have the block's. */
  markOf(block: number): number {
    return this.lifetime.kernel.markOf(block);
  }

  setMark(block: number, mark: number): void {
    this.lifetime.kernel.setMark(block, mark);
  }

  locksOf(block: number): number {
    return this.lifetime.kernel.locksOf(block);
  }

  setLocks(block: number, locks: number): void {
    this.lifetime.kernel.setLocks(block, locks);
  }

  isFree(block: number): boolean {
    return this.lifetime.kernel.locksOf(block) === 0;
  }

  /** Tells whether a free block is in the bins of free blocks. */
  isInBins(block: number): boolean {
    return this.lifetime.kernel.stateOf(block) === INDEXED;
  }

  /** Tells whether a block stands for addresses without memory. */
  isHole(block: number): boolean {
    return block !== NONE && this.lifetime.kernel.stateOf(block) === HOLE;
  }

  /** True when a block is a segment of its own. */
  isWholeSegment(block: number): boolean {
    const { kernel } = this.lifetime;
    return kernel.previousOf(block) === NONE && kernel.nextOf(block) === NONE;
  }

  /** Cuts a block that is in no bins in two and returns the second part, which is free and in no bins. Amortised O(1). */
  split(block: number, bytes: number): number {
    return this.lifetime.kernel.split(block, bytes);
  }

  /** Joins a block with the one behind it, which ceases to exist; neither is in bins. @throws ERR_MEM_INVARIANT when there is none */
  absorbNext(block: number): void {
    // All heaps share the row of null, which would be lost.
    if (this.nextOf(block) === NONE)
      throw new MemoryError('ERR_MEM_INVARIANT', { invariant: `there is a block behind ${block}` });
    this.lifetime.kernel.absorb(block);
  }

  /** Ends a block's existence. Neighbours are not told. */
  remove(block: number): void {
    this.lifetime.kernel.remove(block);
  }

  /** Hands a block out that is in no bins: sets its locks and counts it. @returns its address */
  handOut(block: number, requestedBytes: number, locks: number): number {
    return this.lifetime.kernel.handOut(block, requestedBytes, locks);
  }

  /** Changes the bytes that the holder of a live block asks for, and counts that. */
  setRequested(block: number, requestedBytes: number): void {
    this.lifetime.kernel.setRequested(block, requestedBytes);
  }

  /** Undoes {@link DeviceHeap.release} of a block that the caller could not take back. */
  holdAgain(block: number, locks: number): void {
    this.lifetime.kernel.holdAgain(block, locks);
  }

  /** Notes that streams use a live block beside the one it was allocated on: {@link DeviceHeap.release} leaves it to the caller. */
  setUsed(block: number): void {
    this.lifetime.kernel.setHasUsers(block, 1);
  }

  /** Takes a block back that {@link DeviceHeap.release} left to the caller because streams used it. */
  retire(block: number): void {
    this.lifetime.kernel.retire(block);
  }
}
