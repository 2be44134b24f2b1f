import { checkBytes } from '../core/units.js';

/** A budget that is full asks its listeners for memory. */
export class Pressure {
  /** How many bytes are missing. */
  readonly neededBytes: number;
  /** Who asks. */
  readonly asking: string;
  /** Tenants that have more than their minimum, those first that are to give way first. */
  readonly givesWay: readonly string[];
  #gaveUpBytes = 0;
  readonly #wait: (promise: Promise<unknown>) => void;

  /** @internal */
  constructor(facts: {
    readonly neededBytes: number;
    readonly asking: string;
    readonly givesWay: readonly string[];
    readonly wait: (promise: Promise<unknown>) => void;
  }) {
    this.neededBytes = facts.neededBytes;
    this.asking = facts.asking;
    this.givesWay = facts.givesWay;
    this.#wait = facts.wait;
  }

  /** What listeners said that they have freed. */
  get gaveUpBytes(): number {
    return this.#gaveUpBytes;
  }

  /**
   * Says that a listener has freed so many bytes. What it freed in blocks of members is given back by their managers, if need be.
   *
   * @throws ERR_MEM_INVALID_SIZE
   */
  gaveUp(bytes: number): void {
    checkBytes(bytes);
    this.#gaveUpBytes += bytes;
  }

  /**
   * Says that a listener frees memory in its own time. `runtime.allocateAsync` waits for that, at most 10 s, and
   * tries again, as the line of `budget.reserveAsync` does; a request that cannot wait is refused.
   */
  waitUntil(promise: Promise<unknown>): void {
    this.#wait(promise);
  }
}
