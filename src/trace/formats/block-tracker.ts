import type { EventBuilder } from '../event-builder.js';
import { LivePointers } from './live-pointers.js';

/** The live blocks of one space, by address. */
interface Space {
  readonly pointers: LivePointers;
  /** Live blocks at the null pointer, all of 0 bytes: one is as good as another. */
  readonly atNull: number[];
}

/**
 * Turns allocations and frees by address into events by slot, for recordings that may have begun in the middle and may have
 * missed frees. Addresses are told apart by space.
 */
export class BlockTracker {
  readonly #events: EventBuilder;
  readonly #spaces = new Map<number, Space>();
  #space: Space;

  constructor(events: EventBuilder) {
    this.#events = events;
    this.#space = this.#spaceOf(0);
  }

  /** Sets the space of the calls that follow. @param id - of its name */
  set space(id: number) {
    this.#events.space = id;
    this.keepApart(id);
  }

  /** Tells addresses apart by a number, as a space does, without naming it in the events: devices say it already. */
  keepApart(key: number): void {
    this.#space = this.#spaceOf(key);
  }

  /** Tells whether a block is live at an address. */
  isLive(pointer: number): boolean {
    return this.#space.pointers.slotOf(pointer) !== undefined;
  }

  /** Adds an allocation. A block that is live at the address was freed unseen: its free comes first. */
  alloc(pointer: number, bytes: number, line: number): void {
    if (pointer === 0) {
      this.#space.atNull.push(this.#events.alloc(bytes, line));
      return;
    }
    const { pointers } = this.#space;
    const before = pointers.slotOf(pointer);
    if (before !== undefined) {
      pointers.free(pointer);
      this.#events.free(before, line);
    }
    pointers.add(pointer, this.#events.alloc(bytes, line, pointer));
  }

  /**
   * Adds a free; one of a block that was there before the recording began is counted only. One of the null pointer without an
   * empty block frees nothing, in any allocator.
   */
  free(pointer: number, line: number): void {
    const { pointers, atNull } = this.#space;
    const slot = pointer === 0 ? atNull.pop() : pointers.slotOf(pointer);
    if (slot === undefined) {
      if (pointer !== 0) this.#events.unknownFrees++;
      return;
    }
    if (pointer !== 0) pointers.free(pointer);
    this.#events.free(slot, line);
  }

  #spaceOf(id: number): Space {
    let space = this.#spaces.get(id);
    if (space === undefined) this.#spaces.set(id, (space = { pointers: new LivePointers(), atNull: [] }));
    return space;
  }
}
