import type { DevicePtr } from '../../src/core/units.js';

/** Where the blocks of a {@link GivenUpBlocks} are. */
export interface BlockOwner {
  /** Bytes of the live block that `ptr` heads, 0 if there is none. */
  allocated(ptr: DevicePtr): number;
  /** A throw leaves the block live. */
  unlock(ptr: DevicePtr, userUnlock: boolean): void;
}

/**
 * Frees the blocks that an engine gives up. An engine frees once: a block that could not be freed stays live, and is tried
 * again after each free that succeeds and by {@link retry}.
 */
export class GivenUpBlocks {
  readonly #owner: BlockOwner;
  /** With the lock to clear. */
  readonly #kept = new Map<DevicePtr, boolean>();

  constructor(owner: BlockOwner) {
    this.#owner = owner;
  }

  /** Clears one lock of a block. @throws what its owner throws */
  free(ptr: DevicePtr, userUnlock = false): void {
    try {
      this.#owner.unlock(ptr, userUnlock);
    } catch (error) {
      this.#keep(ptr, userUnlock);
      throw error;
    }
    if (this.#kept.size === 0) return;
    this.#kept.delete(ptr);
    this.retry();
  }

  /** Takes a block out: its user has it still. */
  forget(ptr: DevicePtr): void {
    this.#kept.delete(ptr);
  }

  /** Tries again, up to the first block that is refused once more: that was told when it was refused first. @throws any other error */
  retry(): void {
    for (const [ptr, userUnlock] of this.#kept) {
      this.#kept.delete(ptr);
      try {
        this.#owner.unlock(ptr, userUnlock);
      } catch (error) {
        if (this.#keep(ptr, userUnlock)) return;
        throw error;
      }
    }
  }

  #keep(ptr: DevicePtr, userUnlock: boolean): boolean {
    const isLive = this.#owner.allocated(ptr) > 0;
    if (isLive) this.#kept.set(ptr, userUnlock);
    return isLive;
  }
}
