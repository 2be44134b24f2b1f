/** No entry. */
export const ABSENT = -1;

const EMPTY = 0;
const INITIAL_SLOTS = 64;

/**
 * Small numbers found by address, or by another integer below 2^53: open addressing, linear probing.
 * Removing moves later entries back, so that no dead entries pile up (a Map with deleted addresses becomes slow).
 * Every operation: O(1) expected. Memory: 12 to 24 bytes an entry.
 */
export class AddressHash {
  #addresses = new Float64Array(INITIAL_SLOTS);
  #blocks = new Int32Array(INITIAL_SLOTS);
  #mask = INITIAL_SLOTS - 1;
  #count = 0;

  /** Bytes of the index itself. */
  get metadataBytes(): number {
    return this.#addresses.byteLength + this.#blocks.byteLength;
  }

  /** The number entered under an address, or {@link ABSENT}. */
  get(address: number): number {
    const slot = this.#find(address);
    return this.#addresses[slot] === address ? this.#blocks[slot]! : ABSENT;
  }

  /** Enters a number, from 0 on, under an address. */
  set(address: number, block: number): void {
    if (2 * (this.#count + 1) > this.#mask) this.#grow();
    const slot = this.#find(address);
    if (this.#addresses[slot] === EMPTY) this.#count++;
    this.#addresses[slot] = address;
    this.#blocks[slot] = block;
  }

  /** Removes the entry of an address; does nothing without one. */
  delete(address: number): void {
    let hole = this.#find(address);
    if (this.#addresses[hole] !== address) return;
    this.#count--;
    let slot = hole;
    for (;;) {
      slot = (slot + 1) & this.#mask;
      const other = this.#addresses[slot]!;
      if (other === EMPTY) break;
      // An entry may move back to the hole unless its home lies behind it (cyclically).
      const distanceFromHome = (slot - this.#home(other)) & this.#mask;
      if (distanceFromHome >= ((slot - hole) & this.#mask)) {
        this.#addresses[hole] = other;
        this.#blocks[hole] = this.#blocks[slot]!;
        hole = slot;
      }
    }
    this.#addresses[hole] = EMPTY;
  }

  /** The slot of `address`, or the empty one where it would go. Null is never asked for. */
  #find(address: number): number {
    let slot = this.#home(address);
    for (;;) {
      const found = this.#addresses[slot]!;
      if (found === address || found === EMPTY) return slot;
      slot = (slot + 1) & this.#mask;
    }
  }

  #home(address: number): number {
    const high = (address / 4294967296) | 0;
    const low = (address - high * 4294967296) | 0;
    const mixed = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1);
    return (mixed ^ (mixed >>> 15)) & this.#mask;
  }

  #grow(): void {
    const addresses = this.#addresses;
    const blocks = this.#blocks;
    this.#addresses = new Float64Array(addresses.length * 2);
    this.#blocks = new Int32Array(addresses.length * 2);
    this.#mask = addresses.length * 2 - 1;
    for (let i = 0; i < addresses.length; i++) {
      if (addresses[i] === EMPTY) continue;
      const slot = this.#find(addresses[i]!);
      this.#addresses[slot] = addresses[i]!;
      this.#blocks[slot] = blocks[i]!;
    }
  }
}
