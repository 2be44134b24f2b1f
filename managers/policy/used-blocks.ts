import type { DeviceHeap } from '../../src/blocks/device-heap.js';
import type { DeviceStreams } from './device-streams.js';

/** A block that was freed while streams that were recorded as its users may work on it. */
interface UsedBlock {
  readonly block: number;
  /** One of each user, recorded at the free. */
  readonly events: number[];
  readonly age: number;
}

/**
 * Blocks that streams use beside the one that they were allocated on. Such a block is free when an event of each user, recorded
 * when it was freed, is done.
 */
export class UsedBlocks {
  readonly #heap: DeviceHeap;
  readonly #streams: DeviceStreams;
  readonly #retire: (block: number) => void;
  readonly #users = new Map<number, Set<number>>();
  /** Oldest first. */
  #waiting: UsedBlock[] = [];

  /** @param retire - takes a block back that nobody uses any more */
  constructor(heap: DeviceHeap, streams: DeviceStreams, retire: (block: number) => void) {
    this.#heap = heap;
    this.#streams = streams;
    this.#retire = retire;
  }

  /** Tells whether blocks were freed that streams may still use. */
  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** When the block that waits longest was freed, as {@link giveBack} was told; Infinity when none waits. */
  get oldestAge(): number {
    return this.#waiting[0]?.age ?? Number.POSITIVE_INFINITY;
  }

  /** Tells whether the block that waits longest can be waited for: not while its users' work is captured. */
  get canWait(): boolean {
    return !(this.#waiting[0]?.events ?? []).some((event) => this.#streams.isCaptured(event));
  }

  /** Marks one more stream that uses a live block, other than its own. */
  add(block: number, stream: number): void {
    const users = this.#users.get(block);
    if (users === undefined) this.#users.set(block, new Set([stream]));
    else users.add(stream);
    this.#heap.setUsed(block);
  }

  /** Takes a block back that was freed: it is free when all of its users are done. Nothing has changed when it throws. */
  giveBack(block: number, age: number): void {
    const events: number[] = [];
    try {
      for (const stream of this.#users.get(block) ?? []) {
        const event = this.#streams.record(stream);
        if (event !== undefined) events.push(event);
      }
    } catch (error) {
      for (const event of events) this.#streams.operations.destroy(event);
      throw error;
    }
    if (this.#users.delete(block)) this.#waiting.push({ block, events, age });
    else this.#retire(block);
  }

  /** Makes free what is done. @returns whether anything is */
  collect(): boolean {
    const waiting = this.#waiting;
    this.#waiting = [];
    return leaveDone(
      waiting,
      ({ block, events }) => {
        if (!this.#areDone(events)) return false;
        this.#retire(block);
        return true;
      },
      (left) => (this.#waiting = left.concat(this.#waiting)),
    );
  }

  /** Waits for the users of the block that waits longest. */
  waitForOldest(): void {
    const oldest = this.#waiting.shift()!;
    const { block, events } = oldest;
    const { operations } = this.#streams;
    try {
      while (events.length > 0) {
        operations.synchronize(events.at(-1)!);
        operations.destroy(events.pop()!);
      }
    } catch (error) {
      this.#waiting.unshift(oldest);
      throw error;
    }
    this.#retire(block);
  }

  /** Destroys events that are done, up to one that is not. */
  #areDone(events: number[]): boolean {
    const { operations } = this.#streams;
    while (events.length > 0) {
      if (!operations.query(events.at(-1)!)) return false;
      operations.destroy(events.pop()!);
    }
    return true;
  }
}

/**
 * Looks at items once each. A look may fail, which leaves the rest as it is; it may come back with another one of this kind, which
 * must not find these items: the caller has put them aside.
 *
 * @param isDone - sees to an item that is done
 * @param keep - takes back what is not, also after a failure
 * @returns whether any was done
 */
export function leaveDone<T>(items: readonly T[], isDone: (item: T) => boolean, keep: (left: T[]) => void): boolean {
  const left: T[] = [];
  let looked = 0;
  try {
    for (; looked < items.length; looked++) if (!isDone(items[looked]!)) left.push(items[looked]!);
  } finally {
    keep(left.concat(items.slice(looked)));
  }
  return left.length < items.length;
}
