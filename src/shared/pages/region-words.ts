import type { SharedRegion } from '../shared-region.js';
import { GRANULE_BYTES } from './layout.js';

// Granules in the first 4 GiB: their words are in the region's first window.
const NEAR_PAGES = 2 ** 27;

/** The words of a region, by page and field. Page 0 is the region's start: its fields are the control words. */
export class RegionWords {
  readonly region: SharedRegion;
  /** The words of the first 4 GiB. */
  readonly near: Int32Array;

  constructor(region: SharedRegion) {
    this.region = region;
    this.near = region.int32;
  }

  load(page: number, field: number): number {
    if (page < NEAR_PAGES) return this.near[(page << 3) + field]!;
    return this.#far(page)[((page & (NEAR_PAGES - 1)) << 3) + field]!;
  }

  store(page: number, field: number, value: number): void {
    if (page < NEAR_PAGES) this.near[(page << 3) + field] = value;
    else this.#far(page)[((page & (NEAR_PAGES - 1)) << 3) + field] = value;
  }

  /** Stores `value` where `expected` is; atomic. @returns whether it did */
  replace(page: number, field: number, expected: number, value: number): boolean {
    if (page < NEAR_PAGES) return Atomics.compareExchange(this.near, (page << 3) + field, expected, value) === expected;
    const index = ((page & (NEAR_PAGES - 1)) << 3) + field;
    return Atomics.compareExchange(this.#far(page), index, expected, value) === expected;
  }

  #far(page: number): Int32Array {
    return this.region.words(page * GRANULE_BYTES);
  }
}
