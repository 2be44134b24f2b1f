import { processState, type Reclaimable } from '../../src/core/process-state.js';

/**
 * Counts the buffers over a range of native memory, so that its addresses go back when the garbage collector has found
 * that none of them is left, and not before: an array that outlives its memory never crashes the process.
 *
 * What ends the range must not refer to the buffers: the registry keeps it alive as long as they live.
 */
export class HeldAddresses implements Reclaimable {
  #buffers = 0;
  #release: (() => void) | undefined;

  add(buffer: ArrayBuffer): void {
    this.#buffers++;
    processState().droppedHandles.register(buffer, this);
  }

  /** Ends the memory: `release` runs when no buffer is left, which may be now. */
  end(release: () => void): void {
    this.#release = release;
    this.#releaseUnheld();
  }

  /** Takes {@link end} back: the addresses have another use. */
  resume(): void {
    this.#release = undefined;
  }

  /** One of the buffers was collected. */
  reclaim(): void {
    this.#buffers--;
    this.#releaseUnheld();
  }

  #releaseUnheld(): void {
    if (this.#buffers > 0 || this.#release === undefined) return;
    const release = this.#release;
    this.#release = undefined;
    release();
  }
}
