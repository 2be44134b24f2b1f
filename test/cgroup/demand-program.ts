import { MemoryError } from '../../src/core/errors.js';
import { MiB } from '../../src/core/units.js';
import { SQLITE_NOMEM, SqliteError } from '../hosts/sqlite.js';
import type { Demand } from './demand.js';

/** After the first of each. */
const MORE_PEAKS = 2;
const SQUEEZES = 2;
/** What a demand asks for at a time. A refusal of the largest comes when at least 95 % of 400 MiB are used. */
const LEAST_PIECE_BYTES = MiB / 4;
const MOST_PIECE_BYTES = 16 * MiB;
/** What a demand keeps of its most, at most. */
const MOST_KEPT = 0.25;
const TRIES = 50;

export interface DemandProgramOptions {
  readonly demands: readonly Demand[];
  /** From 0 to below 1. */
  readonly random: () => number;
  /** What all demands want together at their most. */
  readonly totalBytes: number;
  /** Whether anybody refuses memory. */
  readonly canBeRefused: boolean;
  /** Called after each step. */
  readonly onStep: () => void;
}

/**
 * Demands that come and go: in random order, one after the other grows to its share of the total, is checked, and keeps a part. What it
 * dropped lies in its manager's cache while the next one grows. Twice in between one of them grows until it is refused.
 */
export class DemandProgram {
  /** Who was refused, time after time. */
  readonly refused: string[] = [];
  readonly shares: ReadonlyMap<Demand, number>;
  readonly #options: DemandProgramOptions;
  /** How often all that a demand holds was found right. */
  checks = 0;

  constructor(options: DemandProgramOptions) {
    this.#options = options;
    const { demands, random, totalBytes } = options;
    const weights = demands.map(({ weight }) => weight * (0.7 + 0.6 * random()));
    const sum = weights.reduce((a, b) => a + b, 0);
    this.shares = new Map(demands.map((demand, i) => [demand, (totalBytes * weights[i]!) / sum]));
  }

  async run(): Promise<void> {
    const { demands, canBeRefused } = this.#options;
    const order = [...this.#shuffled(demands), ...this.#shuffled(demands).slice(0, MORE_PEAKS)];
    const squeezed = new Set(this.#shuffled([...order.keys()]).slice(0, SQUEEZES));
    for (const [i, demand] of order.entries()) {
      await this.#peak(demand);
      if (canBeRefused && squeezed.has(i)) await this.#squeeze();
    }
    for (const demand of demands) {
      await this.#check(demand);
      await demand.close();
      this.#options.onStep();
    }
  }

  /** Makes room for one that cannot be refused: has others drop what they hold. @returns how many bytes */
  giveUp(asking: string, bytes: number): number {
    let left = bytes;
    for (const demand of this.#options.demands) {
      if (left <= 0 || demand.name === asking) continue;
      const before = demand.liveBytes;
      demand.shrink(Math.max(0, before - left));
      left -= before - demand.liveBytes;
    }
    return bytes - left;
  }

  async #peak(demand: Demand): Promise<void> {
    const { random } = this.#options;
    const share = this.shares.get(demand)!;
    if (demand.growsWhole) {
      await this.#grow(demand, share * random());
      await this.#grow(demand, share);
    } else {
      while (demand.liveBytes < share) await this.#grow(demand, this.#piece());
    }
    await this.#check(demand);
    demand.shrink(share * MOST_KEPT * random());
    this.#options.onStep();
  }

  /** Has one demand grow until it is refused. */
  async #squeeze(): Promise<void> {
    const { demands, random } = this.#options;
    const growing = this.#shuffled(demands.filter(({ growsWhole }) => !growsWhole));
    const before = this.refused.length;
    const demand = growing[0]!;
    while (this.refused.length === before) await this.#attempt(demand, () => demand.grow(this.#piece()));
    for (const each of growing) await this.#check(each);
    demand.shrink(this.shares.get(demand)! * MOST_KEPT * random());
  }

  /** Grows, and where that is refused has the other that holds most drop half of it. */
  #grow(demand: Demand, bytes: number): Promise<void> {
    return this.#insist(demand, () => demand.grow(bytes));
  }

  async #check(demand: Demand): Promise<void> {
    await this.#insist(demand, () => demand.check());
    this.checks++;
  }

  async #insist(demand: Demand, work: () => void | Promise<void>): Promise<void> {
    for (let tries = 1; !(await this.#attempt(demand, work)); tries++) {
      const [largest] = this.#options.demands.filter((other) => other !== demand).sort((a, b) => b.liveBytes - a.liveBytes);
      if (tries === TRIES || largest!.liveBytes === 0)
        throw new Error(`${demand.name} is refused although no other holds anything`);
      largest!.shrink(largest!.liveBytes / 2);
    }
  }

  /** @returns false when it is refused */
  async #attempt(demand: Demand, work: () => void | Promise<void>): Promise<boolean> {
    const { onStep } = this.#options;
    try {
      await work();
      onStep();
      return true;
    } catch (error) {
      if (!isRefusal(error)) throw error;
      this.refused.push(demand.name);
      onStep();
      return false;
    }
  }

  #piece(): number {
    return LEAST_PIECE_BYTES + (MOST_PIECE_BYTES - LEAST_PIECE_BYTES) * this.#options.random();
  }

  #shuffled<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = Math.floor(this.#options.random() * (i + 1));
      [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
    }
    return shuffled;
  }
}

/** Whether there was no memory: a program goes on after that. */
function isRefusal(error: unknown): boolean {
  return MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY') || (error instanceof SqliteError && error.status === SQLITE_NOMEM);
}
