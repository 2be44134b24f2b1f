import { ABSENT } from '../../src/blocks/address-hash.js';
import { ensure } from '../../src/blocks/ensure.js';
import { type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import { DecoratingMemoryManager } from './decorating-memory-manager.js';
import { LiveBlocks } from './live-blocks.js';

/**
 * A decorator that keeps books of the live blocks it handed out: the base of those that limit, count or track.
 *
 * A block leaves the books when the inner manager holds it no more, whichever lock or other holder was the last one.
 */
export abstract class BookkeepingMemoryManager extends DecoratingMemoryManager {
  protected readonly live = new LiveBlocks();
  /** Pointers that are being unlocked. */
  readonly #unlocking: DevicePtr[] = [];

  override allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    const ptr = this.callInner(bytes, userLock, alignment, stream);
    if (ptr === NULL_PTR) return ptr;
    // An address that is in the books already was freed past this manager.
    this.forget(ptr);
    this.entered(this.live.add(ptr, this.inner.allocated(ptr), bytes));
    return ptr;
  }

  override unlock(ptr: DevicePtr, userUnlock: boolean): void {
    this.#unlocking.push(ptr);
    try {
      this.inner.callUnlock(ptr, userUnlock);
    } finally {
      this.#unlocking.pop();
    }
    // Looked up only now: a native call may have come back and dropped it, or made another block at its address.
    if (this.inner.allocated(ptr) === 0) this.forget(ptr);
  }

  override resized(ptr: DevicePtr, requestedBytes: number): void {
    this.inner.resized(ptr, requestedBytes);
    const row = this.live.find(ptr);
    if (row === ABSENT) return;
    const [requestedBefore, bytesBefore] = [this.live.requestedOf(row), this.live.bytesOf(row)];
    this.live.resize(row, this.inner.allocated(ptr), requestedBytes);
    this.wasResized(row, requestedBytes - requestedBefore, this.live.bytesOf(row) - bytesBefore);
  }

  /**
   * Drops from the books what an inner manager's own methods have freed, such as an LRU's `decrementRef`. Cost: O(live blocks).
   *
   * @returns how many blocks that were
   */
  reconcile(): number {
    const before = this.live.count;
    for (const row of this.live) {
      const ptr = this.live.addressOf(row) as DevicePtr;
      // One that is being unlocked is held again if its native free fails.
      if (this.inner.allocated(ptr) === 0 && !this.#unlocking.includes(ptr)) this.#drop(row);
    }
    return before - this.live.count;
  }

  protected override innerWasReset(): void {
    this.reconcile();
  }

  override checkInvariants(): void {
    super.checkInvariants();
    this.live.checkInvariants();
    for (const row of this.live) {
      const bytes = this.inner.allocated(this.live.addressOf(row) as DevicePtr);
      ensure(
        bytes === 0 || bytes === this.live.bytesOf(row),
        () => `block in row ${row} has the bytes that the inner manager says`,
      );
    }
  }

  /** A block was entered in the books. Must not throw. */
  protected abstract entered(row: number): void;

  /** A block has got so many bytes more; fewer ones are negative. Must not throw. Here: nothing. */
  protected wasResized(_row: number, _requestedBytes: number, _bytes: number): void {}

  /** A block is about to leave the books. Must not throw. */
  protected abstract dropping(row: number): void;

  /** Drops a block from the books, if it is there. */
  protected forget(ptr: DevicePtr): void {
    const row = this.live.find(ptr);
    if (row !== ABSENT) this.#drop(row);
  }

  #drop(row: number): void {
    this.dropping(row);
    this.live.remove(row);
  }
}
