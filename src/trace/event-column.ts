type Numbers = Uint8Array | Int32Array | Uint32Array | Float64Array;

const INITIAL_VALUES = 1024;

/** A property of events, or of slots, that many sources lack. It takes no memory before the first value that is not 0. */
export class EventColumn<T extends Numbers> {
  #values: T | undefined;

  constructor(readonly make: (length: number) => T) {}

  /** Sets a value. Cost: O(1), amortised over the growth of the column. */
  set(at: number, value: number): void {
    if (this.#values === undefined) {
      if (value === 0) return;
      this.#values = this.make(Math.max(INITIAL_VALUES, at + 1));
    } else if (at >= this.#values.length) this.#values = grown(this.#values, Math.max(at + 1, 2 * this.#values.length));
    this.#values[at] = value;
  }

  /** The value there, 0 where there is none. */
  get(at: number): number {
    return this.#values?.[at] ?? 0;
  }

  /** The first values, shared (`subarray`) or copied (`slice`); undefined when all are 0. */
  first(length: number, how: 'subarray' | 'slice'): T | undefined {
    return this.#values?.[how](0, length) as T | undefined;
  }
}

/** Copies values into a longer array; the new ones are 0. */
export function grown<T extends Numbers>(values: T, length: number): T {
  const larger = new (values.constructor as new (size: number) => T)(length);
  larger.set(values);
  return larger;
}

export const numbersColumn = (): EventColumn<Float64Array> => new EventColumn((length) => new Float64Array(length));
export const idsColumn = (): EventColumn<Int32Array> => new EventColumn((length) => new Int32Array(length));
