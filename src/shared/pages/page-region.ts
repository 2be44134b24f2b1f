import { MemoryError } from '../../core/errors.js';
import type { SharedRegion } from '../shared-region.js';
import { attachRegion } from './format.js';
import { Journal } from './journal.js';
import { CACHED, GRANULE_BYTES, KIND_SHIFT, LIVE, USED_GRANULES } from './layout.js';
import { PageCache } from './page-cache.js';
import { PageHeaders } from './page-headers.js';
import { PageHeap } from './page-heap.js';
import { PageReclaimer } from './page-reclaimer.js';
import { PageReferences } from './page-references.js';
import { Participants } from './participants.js';
import { RegionLock } from './region-lock.js';
import { RegionWords } from './region-words.js';
import type { ThreadWatch } from './thread-watch.js';

/** How a region of pages is opened. */
export interface PageRegionOptions {
  readonly typeCode: number;
  readonly timeoutMs: number;
  readonly watch: ThreadWatch;
}

/**
 * A region of pages as one thread sees it: all its parts, and the operations that take the lock, do one thing to the pages,
 * and let it go. Each is done whole or, when it throws or its thread dies, not at all.
 */
export class PageRegion {
  readonly region: SharedRegion;
  readonly words: RegionWords;
  readonly headers: PageHeaders;
  readonly participants: Participants;
  readonly journal: Journal;
  readonly heap: PageHeap;
  readonly cache: PageCache;
  readonly references: PageReferences;
  readonly reclaimer: PageReclaimer;
  readonly lock: RegionLock;
  readonly #timeoutMs: number;

  /** @throws ERR_MEM_REGION_DAMAGED unless the region was formatted for that type */
  constructor(region: SharedRegion, options: PageRegionOptions) {
    attachRegion(region, options.typeCode);
    this.region = region;
    this.#timeoutMs = options.timeoutMs;
    this.words = new RegionWords(region);
    this.headers = new PageHeaders(this.words);
    this.participants = new Participants(this.words, options.watch);
    this.journal = new Journal(this.words);
    this.heap = new PageHeap(this.words, this.headers, this.journal);
    this.cache = new PageCache(this.words, this.headers, this.participants);
    this.references = new PageReferences(this.words, this.headers, this.heap, this.journal);
    this.lock = new RegionLock(this.words, this.participants, this.journal);
    this.reclaimer = new PageReclaimer(this, options.timeoutMs);
  }

  get capacityBytes(): number {
    return (this.headers.end - this.headers.first) * GRANULE_BYTES;
  }

  get usedBytes(): number {
    return this.words.near[USED_GRANULES]! * GRANULE_BYTES;
  }

  /** The index of a holder's record. */
  recordOf(holder: number): number {
    return this.participants.recordOf(this.participants.slotOf(holder));
  }

  /** Does `work` with the lock held, as one operation. @throws what it throws; nothing has changed then */
  locked<T>(holder: number, work: () => T): T {
    this.lock.acquire(holder, this.#timeoutMs);
    return this.#finish(work);
  }

  /** As {@link locked}; the event loop runs on while another thread has the lock. */
  lockedAsync<T>(holder: number, work: () => T): Promise<T> {
    return this.lock.acquireAsync(holder, this.#timeoutMs, () => this.#finish(work));
  }

  /**
   * Allocates a page for the holder.
   *
   * @param alignment - granules; 1 for none
   * @returns 0 when there is none large enough
   */
  allocate(holder: number, payload: number, alignment: number): number {
    this.lock.acquire(holder, this.#timeoutMs);
    try {
      const page = this.allocateHeld(holder, payload, alignment);
      this.journal.commit();
      return page;
    } catch (error) {
      this.journal.rollback();
      throw error;
    } finally {
      this.lock.release();
    }
  }

  /** As {@link allocate}, inside an operation. */
  allocateHeld(holder: number, payload: number, alignment: number): number {
    const state = (LIVE << KIND_SHIFT) | holder;
    if (alignment <= 1) return this.heap.allocate(payload, state);
    return this.heap.allocateAligned(payload, alignment, (this.region.base / GRANULE_BYTES) % alignment, state);
  }

  /** Frees the block at `offset` to the heap, whoever holds it. @throws as {@link PageHeaders.blockAt} */
  free(holder: number, offset: number): void {
    this.lock.acquire(holder, this.#timeoutMs);
    try {
      this.heap.free(this.headers.blockAt(offset));
      this.journal.commit();
    } catch (error) {
      this.journal.rollback();
      throw error;
    } finally {
      this.lock.release();
    }
  }

  /**
   * Allocates a page, and as many more as there are, up to `extra`, into the holder's cache: one turn of the lock.
   *
   * @returns the page, or 0 when there was none at all
   */
  refill(holder: number, payload: number, extra: number): number {
    const record = this.recordOf(holder);
    return this.locked(holder, () => {
      const page = this.allocateHeld(holder, payload, 1);
      this.journal.commit();
      for (let n = 0; n < extra && page !== 0; n++) {
        const more = this.heap.allocate(payload, (CACHED << KIND_SHIFT) | holder);
        this.journal.commit();
        if (more === 0) break;
        this.cache.put(record, more);
      }
      return page;
    });
  }

  /** Gives pages of the holder's cache back to the heap until `keepGranules` are left. */
  flush(holder: number, keepGranules: number): void {
    const record = this.recordOf(holder);
    if (this.cache.cachedGranules(record) <= keepGranules) return;
    this.locked(holder, () => {
      while (this.cache.cachedGranules(record) > keepGranules) {
        this.heap.free(this.cache.takeLargest(record));
        this.journal.commit();
      }
    });
  }

  /** Gives back what nobody can use any more. @returns whether there may have been anything */
  sweep(holder: number): boolean {
    if (!this.reclaimer.canSweep()) return false;
    this.locked(holder, () => this.reclaimer.sweep());
    return true;
  }

  /** Takes a slot for this thread; where there is none left, those of threads that have ended are emptied first. @throws ERR_MEM_OUT_OF_MEMORY */
  enter(): number {
    const { participants } = this;
    let holder = participants.enter();
    if (holder === 0) {
      this.#retireDead();
      holder = participants.enter();
    }
    if (holder !== 0) return holder;
    throw this.outOfMemory(0, `${participants.count - 1} threads in the region`);
  }

  /** Ends a slot of this thread: its cache goes back to the heap. */
  leave(holder: number): void {
    const slot = this.participants.slotOf(holder);
    this.locked(holder, () => this.reclaimer.retire(slot, false));
    // It names the owner of the lock until here.
    this.participants.leave(slot);
  }

  /** Gives back what ended threads of a process held. @returns bytes. @throws ERR_MEM_OWNER_ALIVE */
  reclaim(holder: number, pid: number): number {
    const { participants } = this;
    return this.locked(holder, () => {
      const slots = this.#slots().filter((slot) => participants.pidOf(slot) === pid);
      const ended = slots.filter((slot) => !participants.isSlotAlive(slot));
      // Of this process, threads that have ended can be reclaimed while others run.
      if (ended.length < slots.length && pid !== participants.watch.pid) throw new MemoryError('ERR_MEM_OWNER_ALIVE', { pid });
      let bytes = 0;
      for (const slot of ended) {
        bytes += this.reclaimer.retire(slot, true);
        participants.leave(slot);
      }
      this.reclaimer.sweep();
      return bytes;
    });
  }

  outOfMemory(requestedBytes: number, quota?: string): MemoryError {
    return new MemoryError('ERR_MEM_OUT_OF_MEMORY', {
      requestedBytes,
      allocatedBytes: this.usedBytes,
      reservedBytes: this.capacityBytes,
      capacityBytes: this.capacityBytes,
      device: 0,
      ...(quota === undefined ? {} : { quota }),
    });
  }

  #slots(): number[] {
    return Array.from({ length: this.participants.used }, (_, slot) => slot).filter((slot) => this.participants.isTaken(slot));
  }

  #finish<T>(work: () => T): T {
    try {
      const result = work();
      this.journal.commit();
      return result;
    } catch (error) {
      this.journal.rollback();
      throw error;
    } finally {
      this.lock.release();
    }
  }

  /** Empties the slots of ended threads. Blocks that they held stay, and are nobody's. */
  #retireDead(): void {
    const { participants } = this;
    const rescue = participants.enterRescue();
    if (rescue === 0) return;
    try {
      this.locked(rescue, () => {
        for (const slot of this.#slots().filter((taken) => !participants.isSlotAlive(taken))) {
          this.reclaimer.retire(slot, false);
          participants.leave(slot);
        }
      });
    } finally {
      participants.leave(participants.slotOf(rescue));
    }
  }
}
