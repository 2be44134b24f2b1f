import { trimHeap } from '../../adapters/os/trim-heap.js';

/** Fewer are not worth a call every 100 ms. */
const WORTH_A_CALL_BYTES = 1024 * 1024;

/**
 * Counts what members have freed and the C library may keep. glibc gives few freed pages back to the system by itself: those between
 * blocks that live stay in memory, where a container's limit counts them.
 */
export class FreedMemory {
  readonly #trim: () => void;
  #bytes = 0;

  /** @param trim - has the C library give back what it keeps */
  constructor(trim: () => void = trimHeap) {
    this.#trim = trim;
  }

  /** At most so many bytes are free and in memory. Other blocks may use some of them already. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Counts bytes that were freed. */
  freed(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Has the system get them. */
  giveBack(): void {
    this.#bytes = 0;
    this.#trim();
  }

  /** As {@link giveBack}, where there is enough. */
  giveBackMuch(): void {
    if (this.#bytes >= WORTH_A_CALL_BYTES) this.giveBack();
  }
}
