import { ensure } from '../../blocks/ensure.js';
import { MemoryError } from '../../core/errors.js';
import type { SharedRegion } from '../shared-region.js';
import { Control, GRANULE_BYTES, GRANULE_WORDS, Header, JOURNAL_ENTRIES, KIND_SHIFT, Kind, MIN_PAGE_GRANULES } from './layout.js';

// Granules in the first 4 GiB: their words are in the region's first window.
const NEAR_PAGES = 2 ** 27;
const ENTRY_WORDS = 3;

/**
 * The words of a region, by page and field, and the journal of their changes. Page 0 is the region's start: its fields are
 * the control words.
 *
 * The journal is the region's undo record: what words held before the operation that is under way changed them. The
 * owner of the region's lock owns it. An operation changes words by {@link write} alone and ends with {@link commit}, or with
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
    ensure(count < JOURNAL_ENTRIES, 'an operation fits the journal');
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
   * Takes the changes back, the last one first. It can be interrupted and done again.
   *
   * @throws ERR_MEM_REGION_DAMAGED when the journal is not valid; nothing has changed then
   */
  rollback(): void {
    for (const [page, field, value] of this.#entries().reverse()) this.store(page, field, value);
    this.commit();
  }

  /** What the journal says: page, field and former value of each change. */
  #entries(): [number, number, number][] {
    const count = this.near[Control.journal]!;
    const isCount = count >= 0 && count <= JOURNAL_ENTRIES;
    const entries = Array.from({ length: isCount ? count : 0 }, (_, n) => {
      const entry = Control.journal + 1 + n * ENTRY_WORDS;
      return [...this.near.subarray(entry, entry + ENTRY_WORDS)] as [number, number, number];
    });
    if (!isCount || !entries.every(([page, field]) => this.#isWord(page, field)))
      throw new MemoryError('ERR_MEM_REGION_DAMAGED', { offset: Control.journal * 4, reason: 'its journal is not valid' });
    return entries;
  }

  /** Tells whether a page's field, of which anything may be wrong, lies in the region. */
  #isWord(page: number, field: number): boolean {
    const isField = page >= 0 && field >= 0 && (page === 0 || field < GRANULE_WORDS);
    return isField && (page * GRANULE_WORDS + field) * 4 + 4 <= this.region.bytes;
  }

  #far(page: number): Int32Array {
    return this.region.words(page * GRANULE_BYTES);
  }
}

const FREED: readonly number[] = [Kind.free, Kind.cached, Kind.remote];

/**
 * The words of a region as headers of pages. Tells a page from anything else: a number outside the pages, an offset inside a
 * payload, a header that was overwritten. No header is used before {@link isPage} or {@link check} has passed it.
 */
export class PageHeaders extends RegionWords {
  /** The first page. */
  readonly first: number;
  /** Behind the last page. */
  readonly end: number;
  readonly #salt: number;

  /** @param region - one that was formatted */
  constructor(region: SharedRegion) {
    super(region);
    this.first = this.near[Control.firstPage]!;
    this.end = this.near[Control.endPage]!;
    this.#salt = this.near[Control.salt]!;
  }

  kindOf(page: number): number {
    return this.load(page, Header.state) >>> KIND_SHIFT;
  }

  granulesOf(page: number): number {
    return this.load(page, Header.granules);
  }

  payloadBytesOf(page: number): number {
    return (this.granulesOf(page) - 1) * GRANULE_BYTES;
  }

  /** The page in front, or 0. */
  pageBefore(page: number): number {
    const granules = this.load(page, Header.previousGranules);
    return granules === 0 ? 0 : page - granules;
  }

  /** The digest of a page's place and granules; never 0. */
  checkOf(page: number, granules: number): number {
    const mixed = Math.imul(page ^ this.#salt, 0x9e3779b1) ^ Math.imul(granules + this.#salt, 0x85ebca6b);
    return (mixed ^ (mixed >>> 15)) | 1;
  }

  /** Tells whether a page begins at this granule. Takes any number. */
  isPage(page: number): boolean {
    if (!(page >= this.first && page <= this.end - MIN_PAGE_GRANULES)) return false;
    const granules = this.load(page, Header.granules);
    if (!(granules >= MIN_PAGE_GRANULES && granules <= this.end - page)) return false;
    return this.load(page, Header.check) === this.checkOf(page, granules);
  }

  /** @throws ERR_MEM_REGION_DAMAGED unless a page begins there */
  check(page: number): void {
    this.require(this.isPage(page), page, 'no page header is there: it was written over');
  }

  /** @throws ERR_MEM_REGION_DAMAGED unless the header of a page of that kind is there */
  checkKind(page: number, kind: number): void {
    this.check(page);
    if (this.kindOf(page) !== kind) this.refuse(page, `a page of kind ${kind} is of kind ${this.kindOf(page)}`);
  }

  /** @throws ERR_MEM_REGION_DAMAGED unless `ok` */
  require(ok: boolean, page: number, reason: string): void {
    if (!ok) this.refuse(page, reason);
  }

  refuse(page: number, reason: string): never {
    throw new MemoryError('ERR_MEM_REGION_DAMAGED', { offset: page * GRANULE_BYTES, reason });
  }

  /** The page whose payload begins at this offset, or 0. Takes any number. */
  pageAt(offset: number): number {
    const page = offset / GRANULE_BYTES - 1;
    // isPage would take a fraction for the integer below it.
    return Number.isInteger(page) && this.isPage(page) ? page : 0;
  }

  /**
   * The page of a live block that can be freed: no references are counted on it.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER when no block begins at `offset`, ERR_MEM_DOUBLE_FREE when it is free
   * @throws ERR_MEM_STILL_SHARED
   */
  blockAt(offset: number): number {
    const page = this.liveAt(offset);
    const references = this.load(page, Header.references);
    if (references !== 0) throw new MemoryError('ERR_MEM_STILL_SHARED', { offset, references });
    return page;
  }

  /** The page of a live block. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_DOUBLE_FREE */
  liveAt(offset: number): number {
    const page = this.pageAt(offset);
    const kind = page === 0 ? 0 : this.kindOf(page);
    if (kind === Kind.live) return page;
    throw new MemoryError(FREED.includes(kind) ? 'ERR_MEM_DOUBLE_FREE' : 'ERR_MEM_UNKNOWN_POINTER', { pointer: offset });
  }

  /** The offset of a page's payload. */
  offsetOf(page: number): number {
    return (page + 1) * GRANULE_BYTES;
  }

  /** All pages in the order of their places. The lock must be held. @throws ERR_MEM_REGION_DAMAGED */
  *[Symbol.iterator](): IterableIterator<number> {
    for (let page = this.first; page < this.end; page += this.granulesOf(page)) {
      this.check(page);
      yield page;
    }
  }
}
