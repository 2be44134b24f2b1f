import { MemoryError } from '../../core/errors.js';
import type { SharedRegion } from '../shared-region.js';
import { attachRegion, type PageAllocatorOptions } from './format.js';
import { Control, GRANULE_BYTES, KIND_SHIFT, Kind } from './layout.js';
import { PageCache } from './page-cache.js';
import { PageHeap } from './page-heap.js';
import { PageReclaimer } from './page-reclaimer.js';
import { Participants, systemWatch } from './participants.js';
import { RegionLock } from './region-lock.js';
import { PageHeaders } from './region-words.js';

const LOCK_TIMEOUT_MS = 1000;

/**
 * A region of pages as one thread sees it: its parts, and the operations on its pages under the lock. An operation takes
 * effect as a whole or, when it throws or its thread dies, not at all.
 */
export class PageRegion {
  readonly headers: PageHeaders;
  readonly participants: Participants;
  readonly heap: PageHeap;
  readonly cache: PageCache;
  readonly #reclaimer: PageReclaimer;
  readonly #lock: RegionLock;

  /** @throws ERR_MEM_REGION_DAMAGED unless the region was formatted for that type */
  constructor(
    region: SharedRegion,
    typeCode: number,
    { lockTimeoutMs = LOCK_TIMEOUT_MS, watch = systemWatch() }: PageAllocatorOptions,
  ) {
    attachRegion(region, typeCode);
    this.headers = new PageHeaders(region);
    this.participants = new Participants(this.headers, watch);
    this.heap = new PageHeap(this.headers);
    this.cache = new PageCache(this.headers, this.participants);
    this.#lock = new RegionLock(this.headers, this.participants, lockTimeoutMs);
    this.#reclaimer = new PageReclaimer(this, lockTimeoutMs);
  }

  get capacityBytes(): number {
    return (this.headers.end - this.headers.first) * GRANULE_BYTES;
  }

  get usedBytes(): number {
    return this.headers.near[Control.usedGranules]! * GRANULE_BYTES;
  }

  /** The index of a holder's record. */
  recordOf(holder: number): number {
    return this.participants.recordOf(this.participants.slotOf(holder));
  }

  /** Does `work` with the lock held, as one operation. @throws what it throws; nothing has changed then */
  locked<T>(holder: number, work: () => T): T {
    this.#lock.acquire(holder);
    return this.#finish(work);
  }

  /** As {@link locked}; the event loop runs on while another thread has the lock. */
  lockedAsync<T>(holder: number, work: () => T): Promise<T> {
    return this.#lock.acquireAsync(holder, () => this.#finish(work));
  }

  /**
   * Allocates a page for the holder.
   *
   * @param alignment - granules; 1 for none
   * @returns 0 when there is none large enough
   */
  allocate(holder: number, payload: number, alignment: number): number {
    this.#lock.acquire(holder);
    try {
      const page = this.allocateHeld(holder, payload, alignment);
      this.headers.commit();
      return page;
    } finally {
      this.#lock.release();
    }
  }

  /** As {@link allocate}, inside an operation. */
  allocateHeld(holder: number, payload: number, alignment: number): number {
    const state = (Kind.live << KIND_SHIFT) | holder;
    if (alignment <= 1) return this.heap.allocate(payload, state);
    return this.heap.allocateAligned(payload, alignment, (this.headers.region.base / GRANULE_BYTES) % alignment, state);
  }

  /** Frees the block at `offset` to the heap, whichever thread holds it. @throws as {@link PageHeaders.blockAt} */
  free(holder: number, offset: number): void {
    this.#lock.acquire(holder);
    try {
      this.heap.free(this.headers.blockAt(offset));
      this.headers.commit();
    } finally {
      this.#lock.release();
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
      this.headers.commit();
      for (let n = 0; n < extra && page !== 0; n++) {
        const more = this.heap.allocate(payload, (Kind.cached << KIND_SHIFT) | holder);
        this.headers.commit();
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
        this.headers.commit();
      }
    });
  }

  /**
   * Makes room after a failed allocation: gives the holder's cache back, asks the other threads for theirs, and collects what
   * ended threads have left.
   *
   * @returns whether it is worth another try
   */
  makeRoom(holder: number): boolean {
    this.cache.raisePressure();
    const had = this.giveBack(holder);
    const canSweep = this.#reclaimer.canSweep();
    if (canSweep) this.locked(holder, () => this.#reclaimer.sweep());
    return canSweep || had;
  }

  /** Gives the holder's whole cache back, which answers a request for it. @returns whether there was anything in it */
  giveBack(holder: number): boolean {
    const record = this.recordOf(holder);
    this.cache.answerPressure(record);
    this.cache.drain(holder, record);
    const had = this.cache.cachedGranules(record) > 0;
    this.flush(holder, 0);
    return had;
  }

  /** Takes a slot for this thread; where there is none left, those of threads that have ended are emptied first. @throws ERR_MEM_OUT_OF_MEMORY */
  enter(): number {
    const holder = this.participants.enter() || this.#enterForEnded();
    if (holder === 0) throw this.outOfMemory(0, `${this.participants.count - 1} threads in the region`);
    return holder;
  }

  /** Ends a slot of this thread: its cache goes back to the heap. */
  leave(holder: number): void {
    const slot = this.participants.slotOf(holder);
    this.locked(holder, () => this.#reclaimer.retire(slot, false));
    // It names the owner of the lock until here.
    this.participants.leave(slot);
  }

  /** Gives back what ended threads of a process held. @returns bytes. @throws ERR_MEM_OWNER_ALIVE */
  reclaim(holder: number, pid: number): number {
    const { participants } = this;
    return this.locked(holder, () => {
      const slots = participants.taken().filter((slot) => participants.pidOf(slot) === pid);
      const ended = slots.filter((slot) => !participants.isSlotAlive(slot));
      // Of this process, threads that have ended can be reclaimed while others run.
      if (ended.length < slots.length && pid !== participants.watch.pid) throw new MemoryError('ERR_MEM_OWNER_ALIVE', { pid });
      const bytes = this.#retireAll(ended, true);
      this.#reclaimer.sweep();
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

  #finish<T>(work: () => T): T {
    try {
      const result = work();
      this.headers.commit();
      return result;
    } finally {
      this.#lock.release();
    }
  }

  /** Empties the slots of ended threads and takes one. Blocks that they held stay, without an owner. @returns 0 when there is none */
  #enterForEnded(): number {
    const { participants } = this;
    const rescue = participants.enterRescue();
    if (rescue === 0) return participants.enter();
    try {
      const ended = () => participants.taken().filter((slot) => !participants.isSlotAlive(slot));
      this.locked(rescue, () => this.#retireAll(ended(), false));
    } finally {
      participants.leave(participants.slotOf(rescue));
    }
    return participants.enter();
  }

  /** Empties slots of ended threads, inside an operation. @returns as {@link PageReclaimer.retire} */
  #retireAll(slots: readonly number[], freeHeld: boolean): number {
    let bytes = 0;
    for (const slot of slots) {
      bytes += this.#reclaimer.retire(slot, freeHeld);
      this.participants.leave(slot);
    }
    return bytes;
  }
}
