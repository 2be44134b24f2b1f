import { unlessRefused } from '../../../src/core/attempt.js';
import { MemoryError } from '../../../src/core/errors.js';
import type { ManagerSlot } from '../../../src/core/manager-slot.js';
import type { DevicePtr } from '../../../src/core/units.js';
import { GivenUpBlocks } from '../given-up-blocks.js';
import type { ArrayFireHandle } from './arrayfire-handle.js';

const isUnknown = (error: unknown) => MemoryError.is(error, 'ERR_MEM_UNKNOWN_POINTER');

/**
 * Locks and unlocks what ArrayFire names, also pointers that no manager of the slot knows: of the manager that was set
 * before, or the program's own that it made an array of. These are freed natively by their last unlock, as ArrayFire's
 * own manager does.
 */
export class ForeignPointers {
  /** Arrays that ArrayFire has released. */
  readonly givenUp: GivenUpBlocks;
  /** Foreign pointers that have the user's lock, and whether the array below is gone already. */
  readonly #userLocked = new Map<number, { released: boolean }>();
  /** Addresses inside of blocks that have the user's lock: those of sub-arrays. ArrayFire allows it, and it keeps nothing alive. */
  readonly #lockedParts = new Set<number>();
  /** Foreign pointers that were freed natively. */
  freed = 0;

  constructor(
    readonly slot: ManagerSlot,
    readonly handle: ArrayFireHandle,
  ) {
    this.givenUp = new GivenUpBlocks(slot);
  }

  /** @throws ERR_MEM_UNKNOWN_POINTER for a pointer into a manager's memory, ERR_MEM_DOUBLE_FREE, ERR_MEM_NATIVE */
  unlock(ptr: DevicePtr, userUnlock: boolean): void {
    if (!this.#unlockOther(ptr, userUnlock)) this.#unlockOwned(ptr, userUnlock);
  }

  userLock(ptr: DevicePtr): void {
    // A pointer into native memory of ours is the slot's matter, and its error if no block begins there.
    if (ptr === 0 || this.handle.isOurs(ptr)) this.#lockOwned(ptr);
    else if (!this.#userLocked.has(ptr)) this.#userLocked.set(ptr, { released: false });
  }

  /** @throws as {@link unlock} */
  userUnlock(ptr: DevicePtr): void {
    if (!this.#unlockOther(ptr, true) && (ptr === 0 || this.handle.isOurs(ptr))) this.slot.userUnlock(ptr);
  }

  isUserLocked(ptr: DevicePtr): boolean {
    return this.#userLocked.has(ptr) || this.#isLockedPart(ptr) || this.slot.isUserLocked(ptr);
  }

  /** A block may head a part's address by now: then it counts. */
  #isLockedPart(ptr: DevicePtr): boolean {
    return this.#lockedParts.has(ptr) && this.slot.allocated(ptr) === 0;
  }

  #lockOwned(ptr: DevicePtr): void {
    const locked = unlessRefused(isUnknown, () => this.slot.userLock(ptr) ?? true);
    if (locked === undefined) this.#lockedParts.add(ptr);
  }

  #unlockOwned(ptr: DevicePtr, userUnlock: boolean): void {
    try {
      this.givenUp.free(ptr, userUnlock);
    } catch (error) {
      // Inside of a segment it would free what is not the start of a native allocation: that crashes.
      if (!isUnknown(error) || this.handle.isOurs(ptr)) throw error;
      this.#free(ptr);
    }
  }

  /** Clears a lock of what heads no block. @returns false where `ptr` is nothing that was locked here */
  #unlockOther(ptr: DevicePtr, userUnlock: boolean): boolean {
    const locked = this.#userLocked.get(ptr);
    // An array lies in a part: its release frees it, not the end of a lock that it never had.
    if (locked === undefined) return userUnlock && this.#isLockedPart(ptr) && this.#lockedParts.delete(ptr);
    if (userUnlock) this.#userLocked.delete(ptr);
    if (userUnlock && locked.released) this.#free(ptr);
    locked.released = true;
    return true;
  }

  #free(ptr: DevicePtr): void {
    if (ptr === 0) return;
    this.handle.freeForeign(ptr);
    this.freed++;
  }
}
