import { MemPool } from '@thi.ng/malloc';
import { GiB, MiB } from '../../src/core/units.js';
import type { BenchEvents } from './event-file.js';
import type { ColdFacts, Subject, WarmFacts } from './subject.js';

/** Its addresses are 32 bits wide. */
const MAX_POOL_BYTES = 4 * GiB - 8;

/** Peer (e): @thi.ng/malloc in one ArrayBuffer that is large enough, with its default settings. */
export class ThingSubject implements Subject {
  readonly #events: BenchEvents;
  readonly #pointers: Float64Array;
  readonly #pool: MemPool;
  #peakBytes = 0;

  constructor(events: BenchEvents) {
    this.#events = events;
    this.#pointers = new Float64Array(events.slotCount);
    this.#pool = new MemPool({ size: Math.min(MAX_POOL_BYTES, 16 * MiB + 4 * events.peakLiveBytes) });
  }

  /** Its native memory is the one buffer. Where the last byte comes to lie does not depend on how large that is. */
  cold(): ColdFacts {
    const { slots, bytes, length } = this.#events;
    for (let i = 0; i < length; i++) {
      const code = slots[i]!;
      if (code >= 0) {
        const ptr = this.#pool.malloc(bytes[i]!);
        if (ptr === 0 && bytes[i]! > 0) throw new Error(`no room for ${bytes[i]} bytes`);
        this.#pointers[code] = ptr;
        this.#peakBytes = Math.max(this.#peakBytes, ptr + bytes[i]!);
      } else this.#take(~code);
    }
    this.drain();
    return { nativeCalls: 1, peakReservedBytes: this.#peakBytes, minCapacityBytes: this.#peakBytes };
  }

  replay(): void {
    const { slots, bytes, length } = this.#events;
    const pointers = this.#pointers;
    const pool = this.#pool;
    for (let i = 0; i < length; i++) {
      const code = slots[i]!;
      if (code >= 0) {
        pointers[code] = pool.malloc(bytes[i]!);
      } else {
        pool.free(pointers[~code]!);
        pointers[~code] = 0;
      }
    }
  }

  drain(): void {
    for (let slot = 0; slot < this.#pointers.length; slot++) if (this.#pointers[slot] !== 0) this.#take(slot);
  }

  warmFacts(): WarmFacts {
    return { peakReservedBytes: null };
  }

  fits(): null {
    return null;
  }

  #take(slot: number): void {
    this.#pool.free(this.#pointers[slot]!);
    this.#pointers[slot] = 0;
  }
}
