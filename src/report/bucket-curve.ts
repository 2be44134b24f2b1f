/** The most buckets of a curve: more than a screen has pixels. */
export const MAX_BUCKETS = 4096;

/** How many events a bucket holds: the least power of two that gives at most so many buckets. */
export function bucketStride(events: number, buckets = MAX_BUCKETS): number {
  let stride = 1;
  while (events / stride > buckets) stride *= 2;
  return stride;
}

/** The positions of the points of all curves over so many events: two a bucket, or one an event if a bucket holds one. */
export function curveX(events: number): Float64Array {
  const stride = bucketStride(events);
  const length = stride === 1 ? events + 1 : 1 + Math.ceil(events / stride) * 2;
  return Float64Array.from({ length }, (_, i) => Math.min(events, i * Math.max(1, stride / 2)));
}

/**
 * A quantity over the events, reduced to the lowest and the highest value of each bucket, in the order in which they came.
 * No peak is lost; a point may be half a bucket away from its event. It begins with the value before the first event.
 */
export class BucketCurve {
  readonly points: Float64Array;
  readonly #stride: number;
  #bucket = -1;
  #low = 0;
  #high = 0;
  #lowFirst = true;
  #last: number;
  #next = 1;

  /** @param before - the value before the first event */
  constructor(events: number, before = 0) {
    this.#stride = bucketStride(events);
    this.points = curveX(events).fill(Number.NaN);
    this.points[0] = before;
    this.#last = before;
  }

  /** Adds the value after event `event`; events come in order, and one that is left out changes nothing. */
  add(event: number, value: number): void {
    const bucket = Math.floor(event / this.#stride);
    if (bucket !== this.#bucket) {
      this.#bucket = bucket;
      this.#low = value;
      this.#high = value;
    } else if (value < this.#low) {
      this.#low = value;
      this.#lowFirst = false;
    } else if (value > this.#high) {
      this.#high = value;
      this.#lowFirst = true;
    }
    const at = 1 + (this.#stride === 1 ? bucket : bucket * 2);
    if (this.#next < at) this.points.fill(this.#last, this.#next, at);
    this.points[at] = this.#lowFirst ? this.#low : this.#high;
    if (this.#stride > 1) this.points[at + 1] = this.#lowFirst ? this.#high : this.#low;
    this.#next = this.#stride > 1 ? at + 2 : at + 1;
    this.#last = value;
  }
}
