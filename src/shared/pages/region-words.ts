import { MemoryError } from '../../core/errors.js';
import type { SharedRegion } from '../shared-region.js';
import { Control, GRANULE_BYTES, GRANULE_WORDS, JOURNAL_ENTRIES } from './layout.js';

// Granules in the first 4 GiB: their words are in the region's first window.
const NEAR_PAGES = 2 ** 27;
const ENTRY_WORDS = 3;

/**
 * The words of a region, by page and field, and the journal of their changes. Page 0 is the region's start: its fields are
 * the control words.
 *
 * The journal is the region's undo record: what words held before the operation that is under way changed them. Whoever
 * has the region's lock owns it. An operation changes words by {@link write} alone and ends with {@link commit}, or with
 * {@link rollback}. When its process dies between any two stores, the next owner of the lock rolls back, and the operation
 * has not happened. That holds without barriers: a process that was killed has done a prefix of its stores.
 */
export class RegionWords {
  /** The words of the first 4 GiB. */
  readonly near: Int32Array;

  constructor(readonly region: SharedRegion) {
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

  /** Whether an operation has neither been committed nor rolled back. */
  get pending(): boolean {
    return this.near[Control.journal] !== 0;
  }

  /** Stores `value`, and what was there before in the journal. Cost: four stores. */
  write(page: number, field: number, value: number): void {
    const near = this.near;
    const count = near[Control.journal]!;
    if (count >= JOURNAL_ENTRIES) throw new MemoryError('ERR_MEM_INVARIANT', { invariant: 'an operation fits the journal' });
    const entry = Control.journal + 1 + count * ENTRY_WORDS;
    near[entry] = page;
    near[entry + 1] = field;
    near[entry + 2] = this.load(page, field);
    near[Control.journal] = count + 1;
    this.store(page, field, value);
  }

  /** Makes the changes final. */
  commit(): void {
    this.near[Control.journal] = 0;
  }

  /**
   * Takes the changes back, the last one first. May itself be broken off and done again.
   *
   * @throws ERR_MEM_REGION_DAMAGED when the journal makes no sense; nothing has changed then
   */
  rollback(): void {
    const entries = this.#entries();
    for (const [page, field, value] of entries.reverse()) this.store(page, field, value);
    this.commit();
  }

  /** What the journal says: page, field and former value of each change. */
  #entries(): [number, number, number][] {
    const count = this.near[Control.journal]!;
    const entries: [number, number, number][] = [];
    let sound = count >= 0 && count <= JOURNAL_ENTRIES;
    for (let n = 0; sound && n < count; n++) {
      const entry = Control.journal + 1 + n * ENTRY_WORDS;
      const [page = -1, field = -1, value = 0] = this.near.subarray(entry, entry + ENTRY_WORDS);
      const isField = page >= 0 && field >= 0 && (page === 0 || field < GRANULE_WORDS);
      sound = isField && (page * GRANULE_WORDS + field) * 4 + 4 <= this.region.bytes;
      entries.push([page, field, value]);
    }
    if (!sound)
      throw new MemoryError('ERR_MEM_REGION_DAMAGED', { offset: Control.journal * 4, reason: 'its journal makes no sense' });
    return entries;
  }

  #far(page: number): Int32Array {
    return this.region.words(page * GRANULE_BYTES);
  }
}
