import { moveBytes } from '../../../adapters/os/bytes.js';
import { orUndo } from '../../core/attempt.js';
import { checkUsable, MemoryError } from '../../core/errors.js';
import { INSPECT, inspected } from '../../core/inspect.js';
import { checkAlignment, checkBytes, type DevicePtr } from '../../core/units.js';
import { checkCache, checkPages } from '../pages/check-pages.js';
import { formatRegion, type PageAllocatorInit, type PageAllocatorOptions } from '../pages/format.js';
import { Control, GRANULE_BYTES, Kind } from '../pages/layout.js';
import { PageRegion } from '../pages/page-region.js';
import { RegionReferences } from '../pages/region-references.js';
import type { SharedRegion } from '../shared-region.js';
import {
  type AllocatorId,
  allocatorFacts,
  checkNewContext,
  DEFAULT_MEM_CONTEXT,
  type FullPointer,
  fullPointerOf,
  type MemContext,
  NULL_OFFSET,
  NULL_TID,
  type OffsetPointer,
  type SharedAllocator,
} from './shared-allocator.js';

/** A type of page allocator: a class. */
export interface PageAllocatorClass {
  readonly typeCode: number;
  new (region: SharedRegion, options: PageAllocatorOptions): PageAllocator;
}

/**
 * An allocator whose whole state lies in its region: pages in lists by size class behind one lock, and the threads that use
 * them. Every thread has an object of its own for it.
 *
 * A thread that dies inside a call, killed at any point, leaves the region as if the call had not been made or had been
 * finished: the next owner of the lock restores it. What the thread held can be given back by {@link reclaim}. A process
 * that ends without {@link detach} is like one that was killed.
 */
export abstract class PageAllocator implements SharedAllocator {
  /** What a region's control words call this type of allocator. @internal */
  static readonly typeCode: number;
  abstract readonly type: string;
  readonly id: AllocatorId;
  /** Counts references on blocks that several threads use. */
  readonly references: RegionReferences;
  protected readonly pages: PageRegion;
  #self = 0;
  readonly #storages = new Set<number>();
  #detached = false;

  /** Opens a region that was formatted for this type. @throws ERR_MEM_REGION_DAMAGED @internal */
  constructor(
    readonly region: SharedRegion,
    options: PageAllocatorOptions,
  ) {
    this.pages = new PageRegion(region, new.target.typeCode, options);
    this.id = { major: region.int32[Control.idMajor]!, minor: region.int32[Control.idMinor]! };
    this.references = new RegionReferences(this.pages, () => this.enter(DEFAULT_MEM_CONTEXT));
  }

  /** Makes an allocator in a region that holds none. @throws ERR_MEM_INVALID_ARGUMENT */
  static shmInit<C extends PageAllocatorClass>(this: C, region: SharedRegion, init: PageAllocatorInit): InstanceType<C> {
    // biome-ignore lint/complexity/noThisInStatic: it is the subclass that was asked
    formatRegion(region, this.typeCode, init);
    return new this(region, init) as InstanceType<C>;
  }

  /** Opens the allocator that another thread has made in the region. @throws ERR_MEM_REGION_DAMAGED when there is none such */
  static shmDeserialize<C extends PageAllocatorClass>(
    this: C,
    region: SharedRegion,
    options: PageAllocatorOptions = {},
  ): InstanceType<C> {
    return new this(region, options) as InstanceType<C>;
  }

  get capacityBytes(): number {
    return this.pages.capacityBytes;
  }

  get allocatedBytes(): number {
    return this.pages.usedBytes;
  }

  get detached(): boolean {
    return this.#detached;
  }

  /** The pid of each thread that uses the region; of ended ones, too, until they are reclaimed. */
  pids(): number[] {
    return this.pages.participants.taken().map((slot) => this.pages.participants.pidOf(slot));
  }

  allocateOffset(ctx: MemContext, bytes: number): OffsetPointer {
    return this.fromHeap(this.enter(ctx), bytes, this.payloadOf(bytes), 1);
  }

  freeOffset(ctx: MemContext, offset: OffsetPointer): void {
    const holder = this.enter(ctx);
    if (offset !== NULL_OFFSET) this.pages.free(holder, offset);
  }

  alignedAllocateOffset(ctx: MemContext, bytes: number, alignment: number): OffsetPointer {
    const step = this.#alignmentGranules(alignment);
    return step === 1 ? this.allocateOffset(ctx, bytes) : this.fromHeap(this.enter(ctx), bytes, this.payloadOf(bytes), step);
  }

  /** As {@link alignedAllocateOffset}; the event loop runs on while another thread has the lock. */
  async allocateOffsetAsync(ctx: MemContext, bytes: number, alignment = 0): Promise<OffsetPointer> {
    const step = this.#alignmentGranules(alignment);
    const payload = this.payloadOf(bytes);
    const holder = this.enter(ctx);
    if (payload === 0) return NULL_OFFSET;
    const page = await this.pages.lockedAsync(holder, () => this.pages.allocateHeld(holder, payload, step));
    return page === 0 ? this.fromHeap(holder, bytes, payload, step) : (this.pages.headers.offsetOf(page) as OffsetPointer);
  }

  /** As {@link freeOffset}; the event loop runs on while another thread has the lock. */
  async freeOffsetAsync(ctx: MemContext, offset: OffsetPointer): Promise<void> {
    const holder = this.enter(ctx);
    if (offset === NULL_OFFSET) return;
    await this.pages.lockedAsync(holder, () => this.pages.heap.free(this.pages.headers.blockAt(offset)));
  }

  reallocateOffset(ctx: MemContext, offset: OffsetPointer, bytes: number): OffsetPointer {
    checkBytes(bytes);
    if (offset === NULL_OFFSET) return this.allocateOffset(ctx, bytes);
    if (bytes === 0) {
      this.freeOffset(ctx, offset);
      return NULL_OFFSET;
    }
    this.enter(ctx);
    const { headers } = this.pages;
    const had = headers.payloadBytesOf(headers.blockAt(offset));
    // A block moves when it would leave more than half of itself unused; the smallest pages cannot shrink.
    if (bytes <= had && (2 * bytes >= had || had <= 4 * GRANULE_BYTES)) return offset;
    const moved = this.allocateOffset(ctx, bytes);
    moveBytes(this.region.base + moved, this.region.base + offset, Math.min(had, bytes));
    orUndo(
      () => this.freeOffset(ctx, offset),
      () => this.freeOffset(ctx, moved),
    );
    return moved;
  }

  sizeOf(offset: OffsetPointer): number {
    if (this.#detached || this.region.closed) return 0;
    const { headers } = this.pages;
    const page = headers.pageAt(offset);
    return page !== 0 && headers.kindOf(page) === Kind.live ? headers.payloadBytesOf(page) : 0;
  }

  createTls(ctx: MemContext): void {
    this.#checkOpen();
    checkNewContext(ctx);
    ctx.tid = this.pages.enter();
    this.#storages.add(ctx.tid);
  }

  freeTls(ctx: MemContext): void {
    this.#checkOpen();
    this.pages.participants.checkOwn(ctx.tid);
    this.#leave(ctx.tid);
    ctx.tid = NULL_TID;
  }

  addressOf(offset: OffsetPointer): DevicePtr {
    return (offset === NULL_OFFSET ? 0 : this.region.base + offset) as DevicePtr;
  }

  offsetOf(ptr: DevicePtr): OffsetPointer {
    const offset = ptr - this.region.base;
    return (offset >= 0 && offset < this.region.bytes ? offset : NULL_OFFSET) as OffsetPointer;
  }

  fullPointer(offset: OffsetPointer): FullPointer {
    return fullPointerOf(this, offset);
  }

  /**
   * Gives back what the ended threads of a process held: blocks that it had allocated and on which nobody else counts a
   * reference, its references, and its caches. Do it when no other process uses such a block by its mere offset. O(pages)
   *
   * @returns the bytes of the blocks
   * @throws ERR_MEM_OWNER_ALIVE when a thread of that process runs; nothing has changed then
   * @throws ERR_MEM_LOCK_TIMEOUT
   */
  reclaim(pid: number): number {
    return this.pages.reclaim(this.enter(DEFAULT_MEM_CONTEXT), pid);
  }

  detach(): void {
    if (this.#detached) return;
    if (!this.region.closed) {
      for (const tid of [...this.#storages]) this.#leave(tid);
      if (this.#self !== 0) this.#leave(this.#self);
    }
    this.#detached = true;
  }

  dispose(): void {
    this.detach();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** `ThreadLocalAllocator { 1.0, 1.00 MiB allocated of 63.00 MiB }`, `ThreadLocalAllocator { 1.0, detached }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => allocatorFacts(this, this.#detached || this.region.closed));
  }

  checkInvariants(): void {
    this.pages.locked(this.enter(DEFAULT_MEM_CONTEXT), () => {
      checkPages(this.pages);
      for (const holder of [this.#self, ...this.#storages]) checkCache(this.pages, holder);
    });
  }

  /** The holder of a call, and whether it may be made. Cost: a few loads; a slot is taken at a thread's first call. */
  protected enter(ctx: MemContext): number {
    if (this.#detached || this.region.closed) this.#checkOpen();
    if (ctx.tid !== NULL_TID) {
      this.pages.participants.checkOwn(ctx.tid);
      return ctx.tid;
    }
    if (this.#self === 0) this.#self = this.pages.enter();
    return this.#self;
  }

  /** The granules of a payload; 0 for 0 bytes. @throws ERR_MEM_INVALID_SIZE, ERR_MEM_OUT_OF_MEMORY beyond the region */
  protected payloadOf(bytes: number): number {
    if (!(Number.isSafeInteger(bytes) && bytes >= 0)) checkBytes(bytes);
    const granules = Math.ceil(bytes / GRANULE_BYTES);
    if (granules >= this.pages.headers.end - this.pages.headers.first) throw this.pages.outOfMemory(bytes);
    return granules;
  }

  /** Allocates from the heap; makes room and tries again when there is none. @throws ERR_MEM_OUT_OF_MEMORY */
  protected fromHeap(holder: number, bytes: number, payload: number, alignment: number): OffsetPointer {
    if (payload === 0) return NULL_OFFSET;
    let page = this.pages.allocate(holder, payload, alignment);
    if (page === 0 && this.pages.makeRoom(holder)) page = this.pages.allocate(holder, payload, alignment);
    if (page === 0) throw this.pages.outOfMemory(bytes);
    return this.pages.headers.offsetOf(page) as OffsetPointer;
  }

  #leave(tid: number): void {
    this.pages.leave(tid);
    this.#storages.delete(tid);
    if (tid === this.#self) this.#self = 0;
  }

  /** @throws ERR_MEM_INVALID_ALIGNMENT for no alignment, and for one that the region's address has no part in */
  #alignmentGranules(alignment: number): number {
    checkAlignment(alignment);
    if (alignment !== 0 && this.region.base % Math.min(alignment, GRANULE_BYTES) !== 0) {
      throw new MemoryError('ERR_MEM_INVALID_ALIGNMENT', { alignmentBytes: alignment });
    }
    return Math.max(1, alignment / GRANULE_BYTES);
  }

  #checkOpen(): void {
    this.region.checkOpen();
    checkUsable(!this.#detached, this.constructor.name);
  }
}

/**
 * One table of page lists for all threads, behind the region's lock. What is freed is there for everybody at once and joins
 * its neighbours; every call takes the lock.
 */
export class ScalablePageAllocator extends PageAllocator {
  static readonly type = 'scalable-page';
  /** @internal */
  static override readonly typeCode = 1;
  readonly type = ScalablePageAllocator.type;
}

/** Gives an allocator as one whose blocks other processes can use. @throws ERR_MEM_UNSUPPORTED_PLATFORM for one that cannot share */
export function checkSharing(allocator: SharedAllocator): PageAllocator {
  if (allocator instanceof PageAllocator) return allocator;
  throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'sharing blocks', platform: `a ${allocator.type} allocator` });
}
