import { LevelMoments, type Spread } from './level-moments.js';

/** How many buckets the ages of blocks fall into: two for each doubling, up to 2^32 events. */
export const AGE_BUCKETS = 64;
const MOST_AGE = 2 ** 32 - 1;

/** The bucket of an age in events. Those of even numbers begin at a power of two, the others at one and a half times it. */
export function ageBucket(events: number): number {
  const age = Math.min(Math.max(1, events), MOST_AGE) >>> 0;
  const power = 31 - Math.clz32(age);
  return power === 0 ? 0 : 2 * power + ((age >>> (power - 1)) & 1);
}

/** The blocks of one group that are live at the end of a trace, by the bucket of their age. */
export interface Survivors {
  readonly blocks: Float64Array;
  readonly bytes: Float64Array;
  /** The sums of the squares of their bytes. */
  readonly squares: Float64Array;
}

/** The parts of a trace over which the number of live blocks is followed: the events at which they begin. */
export interface Windows {
  older: number;
  newer: number;
}

/**
 * The lives of the blocks of one group, in constant memory: how old those got that were freed, those that are live at the
 * end, and how much their number strays.
 */
export class BlockLives {
  /** Blocks that were freed, by the bucket of their age; undefined before the first one. */
  freed: Uint32Array | undefined;
  /** Undefined where no block is live at the end. */
  survivors: Survivors | undefined;
  /** The smallest and the largest block of the survivors. */
  leastBytes = Number.POSITIVE_INFINITY;
  mostBytes = 0;
  /** When the oldest survivor was allocated, in nanoseconds of the trace. */
  oldestNs = Number.POSITIVE_INFINITY;
  #live = 0;
  readonly #older = new LevelMoments();
  readonly #newer = new LevelMoments();
  /** Of the groups that were added to this one. */
  #others: Spread = { mean: 0, variance: 0 };

  /** @param windows - where the present windows of the trace begin: there was no block before now */
  constructor(windows: Windows = { older: 0, newer: 0 }) {
    this.#older.begin(windows.older);
    this.#older.add(0, windows.newer);
    this.#newer.begin(windows.newer);
  }

  /** Counts a block that is allocated at an event. */
  alloc(event: number): void {
    this.#newer.add(this.#live++, event);
  }

  /** Counts a block that is freed at an event, at an age in events. */
  free(event: number, age: number): void {
    this.#newer.add(this.#live--, event);
    this.freed ??= new Uint32Array(AGE_BUCKETS);
    this.freed[ageBucket(age)]!++;
  }

  /** Counts a block that is live at the end. */
  survive(age: number, bytes: number, bornNs: number): void {
    const survivors = (this.survivors ??= noSurvivors());
    const bucket = ageBucket(age);
    survivors.blocks[bucket]!++;
    survivors.bytes[bucket]! += bytes;
    survivors.squares[bucket]! += bytes * bytes;
    this.leastBytes = Math.min(this.leastBytes, bytes);
    this.mostBytes = Math.max(this.mostBytes, bytes);
    this.oldestNs = Math.min(this.oldestNs, bornNs);
  }

  /** Begins a new window at an event, and forgets the one before the last. */
  turn(event: number): void {
    this.#newer.add(this.#live, event);
    this.#older.take(this.#newer, event);
  }

  /** Ends the last window. */
  end(event: number): void {
    this.#newer.add(this.#live, event);
  }

  /** Adds the lives of another group. */
  add(other: BlockLives): void {
    if (other.freed !== undefined) addTo((this.freed ??= new Uint32Array(AGE_BUCKETS)), other.freed);
    if (other.survivors !== undefined) {
      const mine = (this.survivors ??= noSurvivors());
      addTo(mine.blocks, other.survivors.blocks);
      addTo(mine.bytes, other.survivors.bytes);
      addTo(mine.squares, other.survivors.squares);
    }
    this.leastBytes = Math.min(this.leastBytes, other.leastBytes);
    this.mostBytes = Math.max(this.mostBytes, other.mostBytes);
    this.oldestNs = Math.min(this.oldestNs, other.oldestNs);
    this.#others = both(this.#others, other.#spread);
  }

  /**
   * The variance of the number of live blocks around its trend, over their mean; at least 1. It is 1 for blocks that come and go
   * each on its own, and more where they do so together.
   */
  get dispersion(): number {
    const { mean, variance } = this.#spread;
    return mean > 0 ? Math.max(1, variance / mean) : 1;
  }

  /** The standard deviation of a change of the number of live blocks from one moment to another, without its trend. */
  get strays(): number {
    return Math.sqrt(2 * this.#spread.variance);
  }

  get #spread(): Spread {
    return both(this.#others, this.#older.spreadWith(this.#newer));
  }
}

/** The spread of the sum of two levels that do not depend on each other. */
function both(one: Spread, other: Spread): Spread {
  return { mean: one.mean + other.mean, variance: one.variance + other.variance };
}

function noSurvivors(): Survivors {
  const column = () => new Float64Array(AGE_BUCKETS);
  return { blocks: column(), bytes: column(), squares: column() };
}

function addTo<T extends Uint32Array | Float64Array>(target: T, values: T): void {
  for (let i = 0; i < target.length; i++) target[i]! += values[i]!;
}
