import type { ManagerSlot } from '../../src/core/manager-slot.js';
import type { DevicePtr } from '../../src/core/units.js';
import type { GivenUpBlocks } from './given-up-blocks.js';

/**
 * Allocates blocks for an engine at multiples of an alignment. Most managers align every block to more than engines want, and
 * are faster where no alignment is asked for: none is, until a block was not aligned.
 */
export class AlignedBlocks {
  readonly #slot: ManagerSlot;
  readonly #givenUp: GivenUpBlocks;
  #asks = false;

  constructor(slot: ManagerSlot, givenUp: GivenUpBlocks) {
    this.#slot = slot;
    this.#givenUp = givenUp;
  }

  /** Allocates a block with the manager's lock. @param alignment - a power of two below 2^31 @throws as {@link ManagerSlot.alloc} */
  alloc(bytes: number, alignment: number): DevicePtr {
    if (!this.#asks) {
      const ptr = this.#slot.alloc(bytes, false);
      // The low 32 bits decide.
      if ((ptr & (alignment - 1)) === 0) return ptr;
      this.#asks = true;
      this.#givenUp.free(ptr);
    }
    return this.#slot.alloc(bytes, false, alignment);
  }
}
