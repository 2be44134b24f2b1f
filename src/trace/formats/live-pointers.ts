const FREED = -1;
const SLACK = 1024;

/** A number for each live pointer, such as the slot of its block. Cost: O(1) amortised. */
export class LivePointers {
  /** How many pointers are live. */
  live = 0;
  // Entries are overwritten, never deleted, and dropped by copying: see NativeLedger.
  #slots = new Map<number, number>();

  /** The number of a live pointer, undefined for any other. */
  slotOf(ptr: number): number | undefined {
    const slot = this.#slots.get(ptr);
    return slot === FREED ? undefined : slot;
  }

  /** Tells whether a pointer was freed recently; one that was freed long ago is forgotten. */
  wasFreed(ptr: number): boolean {
    return this.#slots.get(ptr) === FREED;
  }

  add(ptr: number, slot: number): void {
    this.#slots.set(ptr, slot);
    this.live++;
  }

  /** Drops a live pointer. */
  free(ptr: number): void {
    this.#slots.set(ptr, FREED);
    this.live--;
    if (this.#slots.size <= 2 * this.live + SLACK) return;
    const live = new Map<number, number>();
    for (const [other, slot] of this.#slots) {
      if (slot !== FREED) live.set(other, slot);
    }
    this.#slots = live;
  }
}
