import type { Lifetime } from './block-rows.js';
import { COUNTERS } from './kernel-interface.js';

const COUNT = Object.keys(COUNTERS).length;

/**
 * The counters of one heap. They can be read when the heap is closed, too: they are then what they were at its end.
 */
export class HeapCounters {
  /** Where each counter is in {@link values}. */
  readonly columns = COUNTERS;
  readonly #lifetime: Lifetime;
  readonly #heap: number;
  readonly #address: number;
  #values: Float64Array;

  /** @param heap - its address in the kernel's memory @internal */
  constructor(lifetime: Lifetime, heap: number) {
    const { kernel } = lifetime;
    this.#lifetime = lifetime;
    this.#heap = heap;
    // Unsigned: the upper half of the kernel's memory has negative places as the kernel answers them.
    this.#address = kernel.statisticsOf(heap) >>> 0;
    this.#values = new Float64Array(kernel.memory.buffer, this.#address, COUNT);
  }

  /** What the counters are now: an array that may be another one each time, since the kernel's memory moves when it grows. */
  get values(): Float64Array {
    if (this.#values.length === 0) this.#values = new Float64Array(this.#lifetime.kernel.memory.buffer, this.#address, COUNT);
    return this.#values;
  }

  /** Counts native memory that was got, or given back: its bytes are negative. @throws ERR_MEM_DISPOSED */
  countReserved(bytes: number): void {
    this.#lifetime.kernel.countReserved(this.#heap, bytes);
  }

  /** Keeps the counters as they are, before the heap is closed. */
  keep(): void {
    this.#values = this.values.slice();
  }
}
