import { libc } from '../../adapters/os/libc.js';
import type { BenchEvents } from './event-file.js';
import type { ColdFacts, Subject, WarmFacts } from './subject.js';

type Malloc = (bytes: number) => number;
type Free = (ptr: number) => void;

/** Peer (d): malloc and free of the C library, each event one call through koffi. */
export class KoffiSubject implements Subject {
  readonly #events: BenchEvents;
  readonly #pointers: Float64Array;
  readonly #malloc = libc().func<Malloc>('malloc', 'uintptr_t', ['size_t']);
  readonly #free = libc().func<Free>('free', 'void', ['uintptr_t']);

  constructor(events: BenchEvents) {
    this.#events = events;
    this.#pointers = new Float64Array(events.slotCount);
  }

  cold(): ColdFacts {
    this.replay();
    this.drain();
    return { nativeCalls: null, peakReservedBytes: null };
  }

  replay(): void {
    const { slots, bytes, length } = this.#events;
    const pointers = this.#pointers;
    const malloc = this.#malloc;
    const free = this.#free;
    for (let i = 0; i < length; i++) {
      const code = slots[i]!;
      if (code >= 0) {
        pointers[code] = malloc(bytes[i]!);
      } else {
        free(pointers[~code]!);
        pointers[~code] = 0;
      }
    }
  }

  drain(): void {
    for (let i = 0; i < this.#pointers.length; i++) {
      this.#free(this.#pointers[i]!);
      this.#pointers[i] = 0;
    }
  }

  warmFacts(): WarmFacts {
    return { peakReservedBytes: null };
  }

  fits(): null {
    return null;
  }
}
