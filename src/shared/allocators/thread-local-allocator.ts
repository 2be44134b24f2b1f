import { MemoryError } from '../../core/errors.js';
import { NULL_OFFSET, type OffsetPointer } from '../offset-pointer.js';
import { formatRegion, type PageAllocatorInit, type PageAllocatorOptions } from '../pages/format.js';
import { Header } from '../pages/layout.js';
import { DONE, DONE_AND_FULL, MAX_CACHED_PAYLOAD, NOBODYS } from '../pages/page-cache.js';
import type { SharedRegion } from '../shared-region.js';
import { PageAllocator } from './page-allocator.js';
import type { MemContext } from './shared-allocator.js';

const TYPE_CODE = 2;
// What one turn of the lock brings into a cache beside the page that was asked for: up to 2 KiB, in up to 16 pages.
const REFILL_GRANULES = 64;
const REFILL_PAGES = 16;

/**
 * Caches pages of up to 32 KiB for each thread, who takes and gives them without the region's lock. A block that another
 * thread frees goes to its owner's list by one compare-and-swap, and the owner collects it when its cache has run out.
 *
 * A cache keeps `cacheBytes` at most. When an allocation fails, every thread gives its cache back at its next call.
 */
export class ThreadLocalAllocator extends PageAllocator {
  static readonly type = 'thread-local';
  readonly type = ThreadLocalAllocator.type;

  private constructor(region: SharedRegion, options: PageAllocatorOptions) {
    super(region, TYPE_CODE, options);
  }

  /** Makes an allocator in a region that holds none. @throws ERR_MEM_INVALID_ARGUMENT */
  static shmInit(region: SharedRegion, init: PageAllocatorInit): ThreadLocalAllocator {
    formatRegion(region, TYPE_CODE, init);
    return new ThreadLocalAllocator(region, init);
  }

  /** Opens the allocator that another thread has made in the region. @throws ERR_MEM_REGION_DAMAGED when there is none such */
  static shmDeserialize(region: SharedRegion, options: PageAllocatorOptions = {}): ThreadLocalAllocator {
    return new ThreadLocalAllocator(region, options);
  }

  override allocateOffset(ctx: MemContext, bytes: number): OffsetPointer {
    const { pages } = this;
    const holder = this.enter(ctx);
    const payload = this.payloadOf(bytes);
    if (payload === 0 || payload > MAX_CACHED_PAYLOAD) return this.fromHeap(holder, bytes, payload, 1);
    const record = pages.recordOf(holder);
    if (pages.cache.isPressed(record)) this.#giveBack(holder, record);
    let page = pages.cache.take(holder, record, payload);
    if (page === 0) page = pages.refill(holder, payload, Math.min(REFILL_PAGES, Math.floor(REFILL_GRANULES / (payload + 1))));
    return page === 0 ? this.fromHeap(holder, bytes, payload, 1) : (pages.headers.offsetOf(page) as OffsetPointer);
  }

  override freeOffset(ctx: MemContext, offset: OffsetPointer): void {
    const { pages } = this;
    const holder = this.enter(ctx);
    if (offset === NULL_OFFSET) return;
    const record = pages.recordOf(holder);
    if (pages.cache.isPressed(record)) this.#giveBack(holder, record);
    const page = pages.headers.blockAt(offset);
    if (pages.headers.granulesOf(page) - 1 > MAX_CACHED_PAYLOAD) {
      pages.free(holder, offset);
      return;
    }
    const outcome = pages.cache.free(holder, record, page, pages.headers.load(page, Header.state));
    if (outcome === DONE) return;
    if (outcome === DONE_AND_FULL) pages.flush(holder, Math.floor(pages.cache.limitGranules / 2));
    else if (outcome === NOBODYS) pages.free(holder, offset);
    else throw new MemoryError('ERR_MEM_DOUBLE_FREE', { pointer: offset });
  }

  /** Gives this thread's cache back, asks the others for theirs, and collects what ended threads have left. */
  protected override makeRoom(holder: number): boolean {
    const { cache } = this.pages;
    const record = this.pages.recordOf(holder);
    cache.raisePressure();
    const had = this.#giveBack(holder, record);
    return super.makeRoom(holder) || had;
  }

  /** @returns whether there was anything to give */
  #giveBack(holder: number, record: number): boolean {
    const { cache } = this.pages;
    cache.answerPressure(record);
    cache.drain(holder, record);
    const had = cache.cachedGranules(record) > 0;
    this.pages.flush(holder, 0);
    return had;
  }
}
