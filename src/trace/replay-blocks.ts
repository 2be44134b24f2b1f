import type { ManagerSlot } from '../core/manager-slot.js';
import { type DevicePtr, NULL_PTR } from '../core/units.js';
import { NO_SLOT, type TraceEvents } from './trace-events.js';

/** Observes every block of a replay, between the calls of the slot. */
export interface ReplayWatcher {
  /** Event `event` has put a block into `slot` of the trace; `ptr` is null for one of 0 bytes. */
  allocated(event: number, slot: number, ptr: DevicePtr, bytes: number): void;
  /** Event `event` is about to free the block in `slot`. */
  freeing?(event: number, slot: number): void;
  /** Event `event` has freed the block that was in `slot`. */
  freed?(event: number, slot: number): void;
}

/** The state of a running replay: the next event, and the pointer in each slot of the trace. */
export class ReplayBlocks {
  /** The number of events done. After {@link run} has thrown, the event that failed. */
  event = 0;
  readonly #pointers: Float64Array;

  /** @param watcher - observes every block */
  constructor(
    readonly events: TraceEvents,
    readonly slot: ManagerSlot,
    readonly watcher?: ReplayWatcher | undefined,
  ) {
    this.#pointers = new Float64Array(events.slotCount);
  }

  /** Blocks that are live now, those of 0 bytes left out. Cost: O(slots). */
  get live(): number {
    return this.#pointers.reduce((count, ptr) => (ptr === NULL_PTR ? count : count + 1), 0);
  }

  /** Replays the allocations and frees up to event `end`. Allocates no objects unless it is watched. */
  run(end: number): void {
    const { slot, watcher } = this;
    const { slots, bytes } = this.events;
    const pointers = this.#pointers;
    let i = this.event;
    try {
      for (; i < end; i++) {
        const code = slots[i]!;
        if (code >= 0) {
          const ptr = slot.alloc(bytes[i]!, true);
          pointers[code] = ptr;
          watcher?.allocated(i, code, ptr, bytes[i]!);
        } else if (code !== NO_SLOT) {
          const ptr = pointers[~code] as DevicePtr;
          watcher?.freeing?.(i, ~code);
          pointers[~code] = NULL_PTR;
          slot.unlock(ptr, true);
          watcher?.freed?.(i, ~code);
        }
      }
    } finally {
      this.event = i;
    }
  }

  /** Frees all live blocks. @param verifier - checks each block before it is freed */
  freeAll(verifier?: Required<Pick<ReplayWatcher, 'freeing'>>): void {
    this.#pointers.forEach((ptr, slot) => {
      if (ptr !== NULL_PTR) verifier?.freeing(this.event, slot);
      this.#free(slot);
    });
  }

  /** Frees all live blocks, unchecked, and goes on after a failure. @returns the failures */
  abandon(): unknown[] {
    const failures: unknown[] = [];
    for (const slot of this.#pointers.keys()) {
      try {
        this.#free(slot);
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }

  #free(slot: number): void {
    const ptr = this.#pointers[slot] as DevicePtr;
    this.#pointers[slot] = NULL_PTR;
    if (ptr !== NULL_PTR) this.slot.unlock(ptr, true);
  }
}
