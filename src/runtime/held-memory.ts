import type { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import type { DevicePtr } from '../core/units.js';

/**
 * Keeps native memory that a manager gives back until {@link release}: captured work uses its addresses at each launch, also
 * of blocks that were freed while it was captured. The manager has segments, and no pages, which would be given back in parts.
 */
export class HeldMemory {
  readonly #table: MemoryManagerDeviceInterface;
  readonly #nativeFree: (ptr: DevicePtr) => void;
  readonly #held: DevicePtr[] = [];

  /** @param table - of a manager that has a seat and no memory yet */
  constructor(table: MemoryManagerDeviceInterface) {
    this.#table = table;
    this.#nativeFree = table.nativeFree;
    table.virtual = undefined;
    table.nativeFree = (ptr) => {
      this.#held.push(ptr);
    };
  }

  /** Gives back what is held, and from now on what comes. @throws what the device throws; the rest is given back by the next call */
  release(): void {
    this.#table.nativeFree = this.#nativeFree;
    for (let ptr = this.#held.pop(); ptr !== undefined; ptr = this.#held.pop()) {
      try {
        this.#nativeFree(ptr);
      } catch (error) {
        this.#held.push(ptr);
        throw error;
      }
    }
  }
}
