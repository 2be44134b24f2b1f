import { widened } from '../../src/blocks/widened.js';

const INITIAL_CAPACITY = 64;

/** A number for each row, 0 until it is set. Reads and writes are O(1), amortised where the column grows. */
export class NumberColumn {
  #values = new Float64Array(INITIAL_CAPACITY);

  get(row: number): number {
    return row < this.#values.length ? this.#values[row]! : 0;
  }

  set(row: number, value: number): void {
    if (row >= this.#values.length) {
      this.#values = widened(this.#values, new Float64Array(Math.max(2 * this.#values.length, row + 1)));
    }
    this.#values[row] = value;
  }
}
