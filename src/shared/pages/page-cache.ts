import {
  CACHE_GRANULES,
  CACHE_HEADS,
  CACHED,
  CACHED_GRANULES,
  DRAINING,
  EPISODE,
  FREEING,
  GENERATION,
  HOLDER_MASK,
  KIND_SHIFT,
  LIVE,
  NEXT,
  PRESSURE,
  REMOTE,
  REMOTE_HEAD,
  SEEN_PRESSURE,
  STATE,
} from './layout.js';
import type { PageHeaders } from './page-headers.js';
import type { Participants } from './participants.js';
import { binOf, classOf } from './size-classes.js';

/** Larger payloads are not cached: 32 KiB, in granules. */
export const MAX_CACHED_PAYLOAD = 1024;
const CACHE_BINS = binOf(MAX_CACHED_PAYLOAD) + 1;

/** What became of a page that was freed. */
export const DONE = 0;
/** Done; the cache is over its limit. */
export const DONE_AND_FULL = 1;
/** Somebody else has freed it first. */
export const WAS_FREE = 2;
/** Nobody owns it any more: it is the heap's to take. */
export const NOBODYS = 3;

/**
 * The free pages that each thread keeps for itself, in lists of their own for each size class, and the lists of pages that
 * other threads have freed for it. The owner takes and gives without any lock; others push with one compare-and-swap.
 *
 * Every page says itself whose it is. When a thread dies, at whatever point, its pages are found by that, and its lists are
 * forgotten: so nothing here needs a journal. A record's words are written by its thread alone but for the remote head.
 */
export class PageCache {
  /** The most granules that a cache keeps. */
  readonly limitGranules: number;
  readonly #headers: PageHeaders;
  readonly #participants: Participants;

  constructor(headers: PageHeaders, participants: Participants) {
    this.#headers = headers;
    this.#participants = participants;
    this.limitGranules = headers.near[CACHE_GRANULES]!;
  }

  /** Takes a page of at least `payload` granules from the holder's cache. @returns 0 when it has none */
  take(holder: number, record: number, payload: number): number {
    const headers = this.#headers;
    const near = headers.near;
    const head = record + CACHE_HEADS + binOf(classOf(payload));
    let page = near[head]!;
    if (page === 0) {
      if (near[record + REMOTE_HEAD] === 0) return 0;
      this.drain(holder, record);
      page = near[head]!;
      if (page === 0) return 0;
    }
    this.#check(page, (CACHED << KIND_SHIFT) | holder);
    near[head] = headers.load(page, NEXT);
    near[record + CACHED_GRANULES]! -= headers.granulesOf(page);
    headers.store(page, EPISODE, (headers.load(page, EPISODE) + 1) | 0);
    headers.store(page, GENERATION, 0);
    headers.store(page, STATE, (LIVE << KIND_SHIFT) | holder);
    return page;
  }

  /** Puts a page into the holder's cache whose state says already that it is there. */
  put(record: number, page: number): void {
    const headers = this.#headers;
    const near = headers.near;
    const granules = headers.granulesOf(page);
    const head = record + CACHE_HEADS + binOf(granules - 1);
    headers.store(page, NEXT, near[head]!);
    near[head] = page;
    near[record + CACHED_GRANULES]! += granules;
  }

  /**
   * Frees a live page of up to {@link MAX_CACHED_PAYLOAD}: to the holder's own cache, or to the list of the thread that has
   * allocated it.
   *
   * @param state - as it was read before
   * @returns what became of it
   */
  free(holder: number, record: number, page: number, state: number): number {
    const headers = this.#headers;
    const near = headers.near;
    const owner = state & HOLDER_MASK;
    if (state >>> KIND_SHIFT !== LIVE) return WAS_FREE;
    if (owner === holder) {
      if (!headers.replace(page, STATE, state, (CACHED << KIND_SHIFT) | holder)) return WAS_FREE;
      this.put(record, page);
      return near[record + CACHED_GRANULES]! > this.limitGranules ? DONE_AND_FULL : DONE;
    }
    // Whoever closes the owner's record waits for those that were here before; see PageReclaimer.
    Atomics.store(near, record + FREEING, page);
    const outcome = this.#freeRemotely(page, state, owner);
    Atomics.store(near, record + FREEING, 0);
    return outcome;
  }

  /** Moves what others have freed for the holder into its cache. O(pages) */
  drain(holder: number, record: number): void {
    const headers = this.#headers;
    const near = headers.near;
    Atomics.store(near, record + DRAINING, 1);
    try {
      let page = Atomics.exchange(near, record + REMOTE_HEAD, 0);
      while (page !== 0) {
        const next = this.#remoteAfter(page);
        headers.store(page, STATE, (CACHED << KIND_SHIFT) | holder);
        this.put(record, page);
        page = next;
      }
    } finally {
      Atomics.store(near, record + DRAINING, 0);
    }
  }

  /**
   * Takes a whole list of remote pages, of any record. The caller holds the lock and frees them.
   * Should it die meanwhile, {@link PageReclaimer} finds them.
   */
  stealRemote(record: number): ReadonlySet<number> {
    const pages = new Set<number>();
    let page = Atomics.exchange(this.#headers.near, record + REMOTE_HEAD, 0);
    for (; page !== 0; page = this.#remoteAfter(page)) this.#addOnce(pages, page);
    return pages;
  }

  /** Takes one of the largest pages out of a cache that has some. The caller holds the lock and frees it. @throws ERR_MEM_REGION_DAMAGED */
  takeLargest(record: number): number {
    const near = this.#headers.near;
    for (let bin = CACHE_BINS - 1; bin >= 0; bin--) {
      const page = near[record + CACHE_HEADS + bin]!;
      if (page === 0) continue;
      this.#headers.checkKind(page, CACHED);
      near[record + CACHE_HEADS + bin] = this.#headers.load(page, NEXT);
      near[record + CACHED_GRANULES]! -= this.#headers.granulesOf(page);
      return page;
    }
    return this.#headers.refuse(0, `a cache that holds ${near[record + CACHED_GRANULES]} granules has no page`);
  }

  /** Granules in a record's cache. */
  cachedGranules(record: number): number {
    return this.#headers.near[record + CACHED_GRANULES]!;
  }

  /** The pages in a record's cache. Only its own thread may ask. */
  *pagesOf(record: number): IterableIterator<number> {
    const seen = new Set<number>();
    for (let bin = 0; bin < CACHE_BINS; bin++) {
      for (let page = this.#headers.near[record + CACHE_HEADS + bin]!; page !== 0; page = this.#headers.load(page, NEXT)) {
        this.#addOnce(seen, page);
        yield page;
      }
    }
  }

  /** Tells whether an allocation has failed somewhere since the record's thread gave its cache back last. */
  isPressed(record: number): boolean {
    return this.#headers.near[PRESSURE] !== this.#headers.near[record + SEEN_PRESSURE];
  }

  /** Says that the record's thread has given its cache back. */
  answerPressure(record: number): void {
    this.#headers.near[record + SEEN_PRESSURE] = this.#headers.near[PRESSURE]!;
  }

  /** Asks every thread for its cache. */
  raisePressure(): void {
    Atomics.add(this.#headers.near, PRESSURE, 1);
  }

  /** Forgets the lists of a record: its pages are elsewhere. */
  forget(record: number): void {
    this.#headers.near.fill(0, record + CACHE_HEADS, record + CACHE_HEADS + CACHE_BINS);
    this.#headers.near[record + CACHED_GRANULES] = 0;
    this.#headers.near[record + DRAINING] = 0;
  }

  #freeRemotely(page: number, state: number, owner: number): number {
    const headers = this.#headers;
    if (!this.#participants.isCurrent(owner)) return NOBODYS;
    if (!headers.replace(page, STATE, state, (REMOTE << KIND_SHIFT) | owner)) return WAS_FREE;
    const head = this.#participants.recordOf(this.#participants.slotOf(owner)) + REMOTE_HEAD;
    for (;;) {
      const next = Atomics.load(headers.near, head);
      headers.store(page, NEXT, next);
      if (Atomics.compareExchange(headers.near, head, next, page) === next) return DONE;
    }
  }

  #remoteAfter(page: number): number {
    this.#headers.checkKind(page, REMOTE);
    return this.#headers.load(page, NEXT);
  }

  /** @throws ERR_MEM_REGION_DAMAGED when a list comes back to a page: it would have no end */
  #addOnce(pages: Set<number>, page: number): void {
    this.#headers.check(page);
    if (pages.has(page)) this.#headers.refuse(page, 'it is in a list twice');
    pages.add(page);
  }

  #check(page: number, state: number): void {
    this.#headers.check(page);
    if (this.#headers.load(page, STATE) !== state) this.#headers.refuse(page, 'it is in the cache of another thread');
  }
}
