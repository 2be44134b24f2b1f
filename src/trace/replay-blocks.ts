import type { Device } from '../core/device.js';
import type { ManagerSlot } from '../core/manager-slot.js';
import { type DevicePtr, NULL_PTR } from '../core/units.js';
import { BlockVerifier } from './block-verifier.js';
import { NO_SLOT, type TraceEvents } from './trace-events.js';

/** The blocks of a running replay: which event comes next, and the pointer in each slot of the trace. */
export class ReplayBlocks {
  /** Events done; the one that failed after a throw of {@link run}. */
  event = 0;
  readonly total: number;
  readonly #events: TraceEvents;
  readonly #slot: ManagerSlot;
  readonly #pointers: Float64Array;
  readonly #verifier: BlockVerifier | undefined;

  /** @param device - where the blocks' bytes can be seen; left out, nothing is verified */
  constructor(events: TraceEvents, slot: ManagerSlot, device: Device | undefined) {
    this.#events = events;
    this.#slot = slot;
    this.#pointers = new Float64Array(events.slotCount);
    this.#verifier = device && new BlockVerifier(device, events.slotCount);
    this.total = events.length;
  }

  /** Blocks that are live now, those of 0 bytes left out. Cost: O(slots). */
  get live(): number {
    return this.#pointers.reduce((count, ptr) => (ptr === NULL_PTR ? count : count + 1), 0);
  }

  /** Blocks whose bytes were checked. */
  get verified(): number {
    return this.#verifier?.checked ?? 0;
  }

  /** Replays the allocations and frees up to event `end`. Allocates no objects unless it verifies. */
  run(end: number): void {
    if (this.#verifier === undefined) this.#runPlain(end);
    else this.#runVerified(end, this.#verifier);
  }

  /** Frees what is live, the bytes checked when verifying. */
  freeAll(): void {
    for (let i = 0; i < this.#pointers.length; i++) {
      const ptr = this.#pointers[i] as DevicePtr;
      if (ptr === NULL_PTR) continue;
      this.#verifier?.check(i);
      this.#pointers[i] = NULL_PTR;
      this.#slot.unlock(ptr, true);
    }
  }

  /** Frees what is live, unchecked, whatever fails. @returns the failures */
  abandon(): unknown[] {
    const failures: unknown[] = [];
    for (let i = 0; i < this.#pointers.length; i++) {
      const ptr = this.#pointers[i] as DevicePtr;
      if (ptr === NULL_PTR) continue;
      this.#pointers[i] = NULL_PTR;
      try {
        this.#slot.unlock(ptr, true);
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }

  // Two loops, so that the one whose time is measured asks nothing about verifying.
  #runPlain(end: number): void {
    const { slots, bytes } = this.#events;
    const pointers = this.#pointers;
    const slot = this.#slot;
    let i = this.event;
    try {
      for (; i < end; i++) {
        const code = slots[i]!;
        if (code >= 0) {
          pointers[code] = slot.alloc(bytes[i]!, true);
        } else if (code !== NO_SLOT) {
          const ptr = pointers[~code] as DevicePtr;
          pointers[~code] = NULL_PTR;
          slot.unlock(ptr, true);
        }
      }
    } finally {
      this.event = i;
    }
  }

  #runVerified(end: number, verifier: BlockVerifier): void {
    const { slots, bytes } = this.#events;
    const pointers = this.#pointers;
    const slot = this.#slot;
    let i = this.event;
    try {
      for (; i < end; i++) {
        const code = slots[i]!;
        if (code >= 0) {
          const ptr = slot.alloc(bytes[i]!, true);
          pointers[code] = ptr;
          verifier.write(code, ptr, bytes[i]!);
        } else if (code !== NO_SLOT) {
          verifier.check(~code);
          const ptr = pointers[~code] as DevicePtr;
          pointers[~code] = NULL_PTR;
          slot.unlock(ptr, true);
        }
      }
    } finally {
      this.event = i;
    }
  }
}
