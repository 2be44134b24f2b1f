import { MemoryError } from '../../core/errors.js';
import { Header } from '../pages/layout.js';
import { DONE, DONE_AND_FULL, MAX_CACHED_PAYLOAD, UNOWNED } from '../pages/page-cache.js';
import { PageAllocator } from './page-allocator.js';
import { type MemContext, NULL_OFFSET, type OffsetPointer } from './shared-allocator.js';

// How much one refill of a cache takes beside the page that was asked for: up to 2 KiB, in up to 16 pages.
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
  /** @internal */
  static override readonly typeCode = 2;
  readonly type = ThreadLocalAllocator.type;

  override allocateOffset(ctx: MemContext, bytes: number): OffsetPointer {
    const { pages } = this;
    const holder = this.enter(ctx);
    const payload = this.payloadOf(bytes);
    if (payload === 0 || payload > MAX_CACHED_PAYLOAD) return this.fromHeap(holder, bytes, payload, 1);
    const record = pages.recordOf(holder);
    if (pages.cache.isPressed(record)) pages.giveBack(holder);
    const page =
      pages.cache.take(holder, record, payload) ||
      pages.refill(holder, payload, Math.min(REFILL_PAGES, Math.floor(REFILL_GRANULES / (payload + 1))));
    return page === 0 ? this.fromHeap(holder, bytes, payload, 1) : (pages.headers.offsetOf(page) as OffsetPointer);
  }

  override freeOffset(ctx: MemContext, offset: OffsetPointer): void {
    const { pages } = this;
    const holder = this.enter(ctx);
    if (offset === NULL_OFFSET) return;
    const record = pages.recordOf(holder);
    if (pages.cache.isPressed(record)) pages.giveBack(holder);
    const page = pages.headers.blockAt(offset);
    if (pages.headers.granulesOf(page) - 1 > MAX_CACHED_PAYLOAD) {
      pages.free(holder, offset);
      return;
    }
    const outcome = pages.cache.free(holder, record, page, pages.headers.load(page, Header.state));
    if (outcome === DONE) return;
    if (outcome === DONE_AND_FULL) pages.flush(holder, Math.floor(pages.cache.limitGranules / 2));
    else if (outcome === UNOWNED) pages.free(holder, offset);
    else throw new MemoryError('ERR_MEM_DOUBLE_FREE', { pointer: offset });
  }
}
