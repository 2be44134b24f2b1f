type Numbers = Float64Array | Int32Array;

/** A property that many sources lack. It takes memory from the first event on that has it; the events before have 0. */
export class EventColumn<T extends Numbers> {
  /** The value of the events that come next. */
  next = 0;
  readonly #make: (length: number) => T;
  #values: T | undefined;

  constructor(make: (length: number) => T) {
    this.#make = make;
  }

  /** Writes the next event's value. @param capacity - of the columns that always exist; `at` lies below it */
  write(at: number, capacity: number): void {
    if (this.#values === undefined) {
      if (this.next === 0) return;
      this.#values = this.#make(capacity);
    } else if (at >= this.#values.length) {
      const larger = this.#make(capacity);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[at] = this.next;
  }

  /** Writes another value than {@link next}. */
  writeValue(at: number, capacity: number, value: number): void {
    const next = this.next;
    this.next = value;
    this.write(at, capacity);
    this.next = next;
  }

  /** The value of an event, 0 where there is none. */
  get(at: number): number {
    return this.#values?.[at] ?? 0;
  }

  /** The first values, shared; undefined when there are none. */
  part(length: number): T | undefined {
    return this.#values?.subarray(0, length) as T | undefined;
  }

  /** The first values, copied; undefined when there are none. */
  copy(length: number): T | undefined {
    return this.#values?.slice(0, length) as T | undefined;
  }
}

export const numbersColumn = (): EventColumn<Float64Array> => new EventColumn((length) => new Float64Array(length));
export const idsColumn = (): EventColumn<Int32Array> => new EventColumn((length) => new Int32Array(length));
