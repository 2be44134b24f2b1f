/** What a level had on average over some time, and how far it strayed from its trend. */
export interface Spread {
  readonly mean: number;
  /** The mean square of the distance from the straight line that fits best. */
  readonly variance: number;
}

/** The sums from which the {@link Spread} of a level over time is found, in constant memory. */
export class LevelMoments {
  #from = 0;
  #length = 0;
  #levels = 0;
  #squares = 0;
  /** The sum of the level times the time since `#from`. */
  #products = 0;

  /** @param from - when the time begins */
  begin(from: number): void {
    this.#from = from;
    this.#length = 0;
    this.#levels = 0;
    this.#squares = 0;
    this.#products = 0;
  }

  /** Adds a level that was held to a point in time, since the last one. */
  add(level: number, until: number): void {
    const start = this.#length;
    const end = until - this.#from;
    this.#length = end;
    if (level === 0) return;
    const held = end - start;
    this.#levels += level * held;
    this.#squares += level * level * held;
    this.#products += (level * held * (start + end)) / 2;
  }

  /** Takes what another one has, and leaves that empty from a point in time on. */
  take(other: LevelMoments, from: number): void {
    this.#from = other.#from;
    this.#length = other.#length;
    this.#levels = other.#levels;
    this.#squares = other.#squares;
    this.#products = other.#products;
    other.begin(from);
  }

  /** The spread over this time and the time of another one, which follows it. */
  spreadWith(next: LevelMoments): Spread {
    const length = this.#length + next.#length;
    if (length === 0) return { mean: 0, variance: 0 };
    const mean = (this.#levels + next.#levels) / length;
    const square = (this.#squares + next.#squares) / length - mean * mean;
    const product = (this.#products + next.#products + next.#levels * this.#length) / length - (mean * length) / 2;
    const slope = (12 * product) / (length * length);
    return { mean, variance: Math.max(0, square - slope * product) };
  }
}
