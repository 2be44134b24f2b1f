import type { EventBuilder } from '../event-builder.js';
import { LivePointers } from './live-pointers.js';

/**
 * Turns allocations and frees by address into events by slot, for recordings that may have begun in the middle and may have
 * missed frees. Addresses are told apart by space.
 */
export class BlockTracker {
  readonly #spaces = new Map<number, Space>();
  /** The live blocks of the present space. */
  space!: Space;

  constructor(readonly events: EventBuilder) {
    this.keepApart(0);
  }

  /** Sets the space of the calls that follow. @param id - of its name */
  enter(id: number): void {
    this.events.space = id;
    this.keepApart(id);
  }

  /** Tells addresses apart by a number, as a space does, without naming it in the events: devices say it already. */
  keepApart(key: number): void {
    this.space = this.#spaces.get(key) ?? new Space();
    this.#spaces.set(key, this.space);
  }

  /** Adds an allocation. A block that is live at the address was freed unseen: its free comes first. @returns its slot */
  alloc(pointer: number, bytes: number, line: number): number {
    if (pointer !== 0 && this.space.slotOf(pointer) !== undefined) this.free(pointer, line);
    const slot = this.events.alloc(bytes, line, pointer);
    if (pointer === 0) this.space.atNull.push(slot);
    else this.space.add(pointer, slot);
    return slot;
  }

  /**
   * Adds a free; one of a block that was there before the recording began is counted only. One of the null pointer without an
   * empty block frees nothing, in any allocator.
   */
  free(pointer: number, line: number): void {
    const slot = pointer === 0 ? this.space.atNull.pop() : this.space.slotOf(pointer);
    if (slot !== undefined) {
      if (pointer !== 0) this.space.free(pointer);
      this.events.free(slot, line);
    } else if (pointer !== 0) this.events.unknownFrees++;
  }
}

/** The live blocks of one space, by address. */
class Space extends LivePointers {
  /** Live blocks at the null pointer, all of 0 bytes: one is as good as another. */
  readonly atNull: number[] = [];
}
