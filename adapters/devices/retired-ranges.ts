import type { DevicePtr } from '../../src/core/units.js';
import type { HeldAddresses } from '../os/held-addresses.js';

/** A range that was freed while JavaScript held arrays over it. */
export interface RetiredRange {
  readonly base: DevicePtr;
  readonly held: HeldAddresses;
}

/**
 * Ranges that were freed and wait until the garbage collector has found their arrays. When many bytes wait, the oldest
 * serve again: an array that is still there shows the data of the new owner then.
 */
export class RetiredRanges {
  readonly #byKey = new Map<string, Set<RetiredRange>>();
  readonly #limitBytes: number;
  #bytes = 0;

  /** @param limitBytes - above it waiting ranges are used again */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes a range in.
   *
   * @param key - of ranges that can stand for one another
   * @param release - gives the addresses back when no array over them is left, which may be now
   */
  put({ base, held }: RetiredRange, key: string, bytes: number, release: (base: DevicePtr) => void): void {
    const range = { base, held };
    const ranges = this.#byKey.get(key) ?? new Set();
    this.#byKey.set(key, ranges.add(range));
    this.#bytes += bytes;
    held.end(() => {
      this.#remove(range, key, bytes);
      release(base);
    });
  }

  /** Gives a range that can be used again, the oldest first. */
  take(key: string, bytes: number): RetiredRange | undefined {
    if (this.#bytes <= this.#limitBytes) return undefined;
    for (const range of this.#byKey.get(key) ?? []) {
      this.#remove(range, key, bytes);
      return range;
    }
    return undefined;
  }

  #remove(range: RetiredRange, key: string, bytes: number): void {
    const ranges = this.#byKey.get(key) as Set<RetiredRange>;
    ranges.delete(range);
    if (ranges.size === 0) this.#byKey.delete(key);
    this.#bytes -= bytes;
  }
}
