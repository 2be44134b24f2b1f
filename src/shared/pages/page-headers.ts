import { MemoryError } from '../../core/errors.js';
import type { SharedRegion } from '../shared-region.js';
import { Control, GRANULE_BYTES, Header, KIND_SHIFT, Kind, MIN_PAGE_GRANULES } from './layout.js';
import { RegionWords } from './region-words.js';

const FREED: readonly number[] = [Kind.free, Kind.cached, Kind.remote];

/**
 * The words of a region as headers of pages: reads them, and tells a page from anything else: a number that is no place, a place inside a payload, a
 * header that somebody wrote over. Nothing of a header is used before {@link isPage} or {@link check} has passed it.
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

  /** Tells whether a page begins at this granule. Any number may be asked. */
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

  /** The page whose payload begins at this offset, or 0: any number may be asked. */
  pageAt(offset: number): number {
    const page = offset / GRANULE_BYTES - 1;
    // isPage would take a fraction for the integer below it.
    return Number.isInteger(page) && this.isPage(page) ? page : 0;
  }

  /**
   * The page of a live block that can be freed: nobody counts references on it.
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
