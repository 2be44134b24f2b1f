import { widened } from '../../src/blocks/widened.js';
import type { MemoryStat } from '../../src/core/memory-statistics.js';

/** What is counted of allocations. */
export interface Counters {
  /** Bytes that were asked for. */
  readonly bytes: MemoryStat;
  /** Blocks. */
  readonly blocks: MemoryStat;
}

const CURRENT = 0;
const PEAK = 1;
const TOTAL = 2;
const BYTES = 0;
const BLOCKS = 3;
const STRIDE = 6;

/**
 * Counters of one nesting level, for each tag (a small integer). All begin at 0; one is negative when more was freed
 * than allocated while the level was on top.
 */
export class CounterFrame {
  #values = new Float64Array(STRIDE);

  /** Counts a block that was allocated. O(1), amortised. */
  add(tag: number, bytes: number): void {
    this.#reserve(tag);
    this.#increase(tag * STRIDE + BYTES, bytes, bytes, bytes);
    this.#increase(tag * STRIDE + BLOCKS, 1, 1, 1);
  }

  /** Counts bytes that a block has more than before; fewer ones are negative. O(1), amortised. */
  resize(tag: number, bytes: number): void {
    this.#reserve(tag);
    this.#increase(tag * STRIDE + BYTES, bytes, bytes, Math.max(bytes, 0));
  }

  /** Counts a block that was freed. O(1), amortised. */
  subtract(tag: number, bytes: number): void {
    this.#reserve(tag);
    this.#values[tag * STRIDE + BYTES + CURRENT]! -= bytes;
    this.#values[tag * STRIDE + BLOCKS + CURRENT]! -= 1;
  }

  /** Folds in a level that was above this one, in O(tags). @see Source: RMM, statistics_resource_adaptor::counter::add_counters_from_tracked_sub_block */
  fold(above: CounterFrame): void {
    const other = above.#values;
    this.#reserve(other.length / STRIDE - 1);
    for (let at = 0; at < other.length; at += 3) {
      this.#increase(at, other[at + CURRENT]!, other[at + PEAK]!, other[at + TOTAL]!);
    }
  }

  counters(tag: number): Counters {
    return { bytes: this.#counter(tag * STRIDE + BYTES), blocks: this.#counter(tag * STRIDE + BLOCKS) };
  }

  #counter(at: number): MemoryStat {
    const values = this.#values;
    return { current: values[at + CURRENT] ?? 0, peak: values[at + PEAK] ?? 0, total: values[at + TOTAL] ?? 0 };
  }

  /** Adds a change: the peak within it counts from what was before it. */
  #increase(at: number, change: number, peak: number, total: number): void {
    const values = this.#values;
    const before = values[at + CURRENT]!;
    if (before + peak > values[at + PEAK]!) values[at + PEAK] = before + peak;
    values[at + CURRENT] = before + change;
    values[at + TOTAL]! += total;
  }

  /** Makes room for a tag. */
  #reserve(tag: number): void {
    const needed = (tag + 1) * STRIDE;
    if (needed <= this.#values.length) return;
    this.#values = widened(this.#values, new Float64Array(Math.max(2 * this.#values.length, needed)));
  }
}
