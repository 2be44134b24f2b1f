import { binOf, Control, classOf, Header, HOLDER_MASK, KIND_SHIFT, Kind, Participant } from './layout.js';
import type { Participants } from './participants.js';
import type { PageHeaders } from './region-words.js';

/** Larger payloads are not cached: 32 KiB, in granules. */
export const MAX_CACHED_PAYLOAD = 1024;
const CACHE_BINS = binOf(MAX_CACHED_PAYLOAD) + 1;

/** What became of a page that was freed. */
export const DONE = 0;
/** Done; the cache is over its limit. */
export const DONE_AND_FULL = 1;
/** Another thread freed it first. */
export const WAS_FREE = 2;
/** Its owner has ended: the heap takes it. */
export const UNOWNED = 3;

/**
 * The free pages that each thread keeps for itself, in lists of their own for each size class, and the lists of pages that
 * other threads have freed for it. The owner takes and gives without any lock; others push with one compare-and-swap.
 *
 * The header of each page names its holder. When a thread dies, its pages are found by that and its lists are dropped: so
 * nothing here needs a journal. A record's words are written by its thread alone but for the remote head.
 */
export class PageCache {
  /** The most granules that a cache keeps. */
  readonly limitGranules: number;

  constructor(
    readonly headers: PageHeaders,
    readonly participants: Participants,
  ) {
    this.limitGranules = headers.near[Control.cacheGranules]!;
  }

  /** Takes a page of at least `payload` granules from the holder's cache. @returns 0 when it has none */
  take(holder: number, record: number, payload: number): number {
    const { headers } = this;
    const { near } = headers;
    const head = record + Participant.cacheHeads + binOf(classOf(payload));
    if (near[head] === 0 && near[record + Participant.remoteHead] !== 0) this.drain(holder, record);
    const page = near[head]!;
    if (page === 0) return 0;
    headers.check(page);
    const isOwn = headers.load(page, Header.state) === ((Kind.cached << KIND_SHIFT) | holder);
    headers.require(isOwn, page, 'it is in the cache of another thread');
    near[head] = headers.load(page, Header.next);
    near[record + Participant.cachedGranules]! -= headers.granulesOf(page);
    headers.store(page, Header.episode, (headers.load(page, Header.episode) + 1) | 0);
    headers.store(page, Header.generation, 0);
    headers.store(page, Header.state, (Kind.live << KIND_SHIFT) | holder);
    return page;
  }

  /** Puts a page into the holder's cache. The state of the page says so already. */
  put(record: number, page: number): void {
    const { headers } = this;
    const { near } = headers;
    const granules = headers.granulesOf(page);
    const head = record + Participant.cacheHeads + binOf(granules - 1);
    headers.store(page, Header.next, near[head]!);
    near[head] = page;
    near[record + Participant.cachedGranules]! += granules;
  }

  /**
   * Frees a live page of up to {@link MAX_CACHED_PAYLOAD}: to the holder's own cache, or to the list of the thread that has
   * allocated it.
   *
   * @param state - as it was read before
   * @returns what became of it
   */
  free(holder: number, record: number, page: number, state: number): number {
    const { headers } = this;
    const { near } = headers;
    const owner = state & HOLDER_MASK;
    if (state >>> KIND_SHIFT !== Kind.live) return WAS_FREE;
    if (owner === holder) {
      if (!headers.replace(page, Header.state, state, (Kind.cached << KIND_SHIFT) | holder)) return WAS_FREE;
      this.put(record, page);
      return near[record + Participant.cachedGranules]! > this.limitGranules ? DONE_AND_FULL : DONE;
    }
    // A thread that closes the owner's record waits for this announcement; see PageReclaimer.
    Atomics.store(near, record + Participant.freeing, page);
    const outcome = this.#freeRemotely(page, state, owner);
    Atomics.store(near, record + Participant.freeing, 0);
    return outcome;
  }

  /** Moves what others have freed for the holder into its cache. O(pages) */
  drain(holder: number, record: number): void {
    const { near } = this.headers;
    Atomics.store(near, record + Participant.draining, 1);
    try {
      for (let page = Atomics.exchange(near, record + Participant.remoteHead, 0), next = 0; page !== 0; page = next) {
        next = this.#remoteAfter(page);
        this.headers.store(page, Header.state, (Kind.cached << KIND_SHIFT) | holder);
        this.put(record, page);
      }
    } finally {
      Atomics.store(near, record + Participant.draining, 0);
    }
  }

  /**
   * Takes a whole list of remote pages, of any record. The caller holds the lock and frees them.
   * If it dies before it has, {@link PageReclaimer} finds them.
   */
  stealRemote(record: number): ReadonlySet<number> {
    const pages = new Set<number>();
    let page = Atomics.exchange(this.headers.near, record + Participant.remoteHead, 0);
    for (; page !== 0; page = this.#remoteAfter(page)) this.#addOnce(pages, page);
    return pages;
  }

  /** Takes one of the largest pages out of a cache. The caller holds the lock and frees it. @throws ERR_MEM_REGION_DAMAGED */
  takeLargest(record: number): number {
    const near = this.headers.near;
    for (let bin = CACHE_BINS - 1; bin >= 0; bin--) {
      const page = near[record + Participant.cacheHeads + bin]!;
      if (page === 0) continue;
      this.headers.checkKind(page, Kind.cached);
      near[record + Participant.cacheHeads + bin] = this.headers.load(page, Header.next);
      near[record + Participant.cachedGranules]! -= this.headers.granulesOf(page);
      return page;
    }
    return this.headers.refuse(0, `a cache that holds ${near[record + Participant.cachedGranules]} granules has no page`);
  }

  /** Granules in a record's cache. */
  cachedGranules(record: number): number {
    return this.headers.near[record + Participant.cachedGranules]!;
  }

  /** The pages in a record's cache. Only its own thread may ask. */
  *pagesOf(record: number): IterableIterator<number> {
    const seen = new Set<number>();
    for (let bin = 0; bin < CACHE_BINS; bin++) {
      for (
        let page = this.headers.near[record + Participant.cacheHeads + bin]!;
        page !== 0;
        page = this.headers.load(page, Header.next)
      ) {
        this.#addOnce(seen, page);
        yield page;
      }
    }
  }

  /** Tells whether an allocation has failed somewhere since the record's thread gave its cache back last. */
  isPressed(record: number): boolean {
    return this.headers.near[Control.pressure] !== this.headers.near[record + Participant.seenPressure];
  }

  /** Records that the record's thread has given its cache back. */
  answerPressure(record: number): void {
    this.headers.near[record + Participant.seenPressure] = this.headers.near[Control.pressure]!;
  }

  /** Asks every thread for its cache. */
  raisePressure(): void {
    Atomics.add(this.headers.near, Control.pressure, 1);
  }

  /** Forgets the lists of a record: its pages are elsewhere. */
  forget(record: number): void {
    this.headers.near.fill(0, record + Participant.cacheHeads, record + Participant.cacheHeads + CACHE_BINS);
    this.headers.near[record + Participant.cachedGranules] = 0;
    this.headers.near[record + Participant.draining] = 0;
  }

  #freeRemotely(page: number, state: number, owner: number): number {
    const { headers } = this;
    if (!this.participants.isCurrent(owner)) return UNOWNED;
    if (!headers.replace(page, Header.state, state, (Kind.remote << KIND_SHIFT) | owner)) return WAS_FREE;
    const head = this.participants.recordOf(this.participants.slotOf(owner)) + Participant.remoteHead;
    for (;;) {
      const next = Atomics.load(headers.near, head);
      headers.store(page, Header.next, next);
      if (Atomics.compareExchange(headers.near, head, next, page) === next) return DONE;
    }
  }

  #remoteAfter(page: number): number {
    this.headers.checkKind(page, Kind.remote);
    return this.headers.load(page, Header.next);
  }

  /** @throws ERR_MEM_REGION_DAMAGED when a list comes back to a page: it would have no end */
  #addOnce(pages: Set<number>, page: number): void {
    this.headers.check(page);
    this.headers.require(!pages.has(page), page, 'it is in a list twice');
    pages.add(page);
  }
}
