import { trimNativeHeap } from '../../adapters/os/native-heap.js';

/** Fewer are not worth a call, which walks all free blocks: about 1 ms for 8000 of them. */
const WORTH_A_CALL_BYTES = 1024 * 1024;
/** Of a small limit, a smaller share is. */
const WORTH_A_CALL = 1 / 64;

/**
 * Counts what members have freed and the C library may keep. glibc gives few freed pages back to the system by itself: those between
 * blocks that live stay in memory, where a container's limit counts them.
 */
export class FreedMemory {
  readonly #trim: () => unknown;
  #bytes = 0;

  /** @param trim - has the C library give back what it keeps */
  constructor(trim: () => unknown = trimNativeHeap) {
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

  /** Has the system get them, where there are enough. */
  giveBackMuch(limitBytes: number): void {
    if (this.#bytes < Math.min(WORTH_A_CALL_BYTES, WORTH_A_CALL * limitBytes)) return;
    this.#bytes = 0;
    this.#trim();
  }
}
