import { yieldThread } from '../../../adapters/os/scheduling.js';
import { MemoryError } from '../../core/errors.js';
import { Header, HOLDER_MASK, KIND_SHIFT, Kind, Participant } from './layout.js';
import type { PageRegion } from './page-region.js';
import { dropReference } from './region-references.js';

const NO_SLOT = -1;

/**
 * Gives pages back to the heap that belong to threads which have ended, or are in no list because a thread died
 * while it moved them. The caller holds the lock for the whole of a method, and each page is an operation of its own:
 * a method that was interrupted can be done again.
 *
 * Pages are found by walking all of them: O(pages). The words of a live thread's pages change meanwhile, by these rules.
 * A thread announces a page in its record (Participant.freeing) before it frees it to another's list and takes that back when it is in
 * the list. It checks that the owner is current after the announcement; so who has closed an owner and sees no announcement
 * has seen the last push.
 */
export class PageReclaimer {
  constructor(
    readonly pages: PageRegion,
    readonly timeoutMs: number,
  ) {}

  /**
   * Closes a slot and gives its cached pages back. It can be taken again when the caller lets it go: `participants.leave`.
   *
   * @param freeHeld - whether what its thread held goes back, too: blocks on which no reference is counted, and its references
   * @returns the bytes of blocks that were given back
   * @throws ERR_MEM_LOCK_TIMEOUT when another thread is stopped in the middle of a free; done again later, it goes on
   */
  retire(slot: number, freeHeld: boolean): number {
    const { participants, cache, headers } = this.pages;
    const holder = participants.close(slot);
    const record = participants.recordOf(slot);
    let bytes = freeHeld ? this.#dropReferences(holder) : 0;
    do {
      Atomics.exchange(headers.near, record + Participant.remoteHead, 0);
      bytes += this.#takePages(holder, freeHeld);
    } while (this.#isPushedTo(holder) || Atomics.load(headers.near, record + Participant.remoteHead) !== 0);
    cache.forget(record);
    return bytes;
  }

  /**
   * Gives back what no thread can use any more, and takes nothing from live threads: the caches of threads that have ended,
   * the lists of remote pages, and pages that a thread was moving when it died.
   */
  sweep(): void {
    const { participants, headers } = this.pages;
    const dead = new Set(participants.taken().filter((slot) => !participants.isSlotAlive(slot)));
    // Of a live owner, a remote page is lost if it is seen twice in the same episode, while no thread is about to push it
    // and the owner's list, and what it was just draining, did not have it in between.
    const suspects = [];
    for (let page = headers.first; page < headers.end; page += headers.granulesOf(page)) {
      headers.check(page);
      const state = headers.load(page, Header.state);
      const kind = state >>> KIND_SHIFT;
      if (kind !== Kind.cached && kind !== Kind.remote) continue;
      const holder = state & HOLDER_MASK;
      const isGone = !participants.isCurrent(holder) || dead.has(participants.slotOf(holder));
      if (isGone && this.#announcerOf(page) === NO_SLOT) page = this.#free(page);
      else if (kind === Kind.remote) suspects.push({ page, state, episode: headers.load(page, Header.episode) });
    }
    const announced = new Set(this.#announced().flatMap(({ slot, page }) => (dead.has(slot) ? [] : page)));
    for (const slot of participants.taken()) if (!dead.has(slot)) this.#emptyRemote(slot);
    for (const { page, state, episode } of suspects) {
      if (announced.has(page) || !headers.isPage(page)) continue;
      if (headers.load(page, Header.state) === state && headers.load(page, Header.episode) === episode) this.#free(page);
    }
  }

  /** Tells whether {@link sweep} may find something. Cost: a file read for each other thread. */
  canSweep(): boolean {
    const { participants, headers } = this.pages;
    const hasRemote = (slot: number) => headers.near[participants.recordOf(slot) + Participant.remoteHead] !== 0;
    return participants.taken().some((slot) => hasRemote(slot) || !participants.isSlotAlive(slot));
  }

  /** Frees every page of a closed holder; with `freeHeld` also its blocks. @returns the bytes of those */
  #takePages(holder: number, freeHeld: boolean): number {
    const { headers } = this.pages;
    let bytes = 0;
    for (let page = headers.first; page < headers.end; page += headers.granulesOf(page)) {
      headers.check(page);
      let state = headers.load(page, Header.state);
      if ((state & HOLDER_MASK) !== holder) continue;
      const isHeld = state >>> KIND_SHIFT === Kind.live;
      if (isHeld && !(freeHeld && headers.load(page, Header.references) === 0)) continue;
      this.#waitForFree(page);
      if (isHeld) {
        // Another thread may have freed it meanwhile; it is a remote page of the holder then.
        const remote = (Kind.remote << KIND_SHIFT) | holder;
        if (headers.replace(page, Header.state, state, remote)) bytes += headers.payloadBytesOf(page);
        state = headers.load(page, Header.state);
      }
      const kind = state >>> KIND_SHIFT;
      if ((state & HOLDER_MASK) === holder && (kind === Kind.cached || kind === Kind.remote)) page = this.#free(page);
    }
    return bytes;
  }

  /** Drops every reference that the holder counts. @returns the bytes of the blocks whose last one it was */
  #dropReferences(holder: number): number {
    const { headers } = this.pages;
    const own = [...headers].filter((page) => headers.load(page, Header.state) === ((Kind.reference << KIND_SHIFT) | holder));
    let bytes = 0;
    for (const page of own) {
      bytes += dropReference(this.pages, page, holder);
      headers.commit();
    }
    return bytes;
  }

  /** Takes a live thread's list of remote pages and waits until it has moved those that it is draining. */
  #emptyRemote(slot: number): void {
    const { participants, cache, headers } = this.pages;
    const record = participants.recordOf(slot);
    for (const page of cache.stealRemote(record)) this.#free(page);
    const start = performance.now();
    while (Atomics.load(headers.near, record + Participant.draining) !== 0 && participants.isSlotAlive(slot))
      this.#pause(start, slot);
  }

  #free(page: number): number {
    const merged = this.pages.heap.free(page);
    this.pages.headers.commit();
    return merged;
  }

  /** Waits for the live threads that are about to push a page to the closed holder's list. @returns whether there were any */
  #isPushedTo(holder: number): boolean {
    const { participants, headers } = this.pages;
    const pushed = this.#announced().filter(
      ({ slot, page }) =>
        headers.isPage(page) && (headers.load(page, Header.state) & HOLDER_MASK) === holder && participants.isSlotAlive(slot),
    );
    for (const { page } of pushed) this.#waitForFree(page);
    return pushed.length > 0;
  }

  /** Waits until no live thread is about to push the page. */
  #waitForFree(page: number): void {
    const start = performance.now();
    for (let slot = this.#announcerOf(page); slot !== NO_SLOT; slot = this.#announcerOf(page)) this.#pause(start, slot);
  }

  /** The slot of a live thread that has announced the page, or NO_SLOT. Allocates no objects: it is called for every page. */
  #announcerOf(page: number): number {
    const { participants } = this.pages;
    for (let slot = 0; slot < participants.used; slot++) {
      if (this.#freeing(slot) === page && participants.isSlotAlive(slot)) return slot;
    }
    return NO_SLOT;
  }

  /** The pages that threads are freeing to another's list. A dead thread's stays there for ever. */
  #announced() {
    const slots = Array.from({ length: this.pages.participants.used }, (_, slot) => ({ slot, page: this.#freeing(slot) }));
    return slots.filter(({ page }) => page !== 0);
  }

  #freeing(slot: number): number {
    return Atomics.load(this.pages.headers.near, this.pages.participants.recordOf(slot) + Participant.freeing);
  }

  /** Lets another thread run. @throws ERR_MEM_LOCK_TIMEOUT when that one was waited for too long */
  #pause(start: number, slot: number): void {
    const waitedMs = performance.now() - start;
    if (waitedMs > this.timeoutMs) {
      throw new MemoryError('ERR_MEM_LOCK_TIMEOUT', {
        ownerPid: this.pages.participants.pidOf(slot),
        waitedMs: Math.round(waitedMs),
      });
    }
    yieldThread();
  }
}
