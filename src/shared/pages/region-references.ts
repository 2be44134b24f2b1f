import { checkUsable, MemoryError } from '../../core/errors.js';
import { INSPECT, inspected } from '../../core/inspect.js';
import type { OffsetPointer } from '../allocators/shared-allocator.js';
import { Control, GRANULE_BYTES, Header, KIND_SHIFT, Kind } from './layout.js';
import type { PageRegion } from './page-region.js';

const PAYLOAD_GRANULES = 2;

/** A reference that a thread counts on a block. */
export interface CountedReference {
  /** The reference's own offset. */
  readonly reference: OffsetPointer;
  /** Tells this sharing of a block from the next one at the same offset. */
  readonly generation: number;
}

/**
 * Counts references of this thread on blocks that several threads use; the last one frees the block.
 *
 * Each reference is a page of its own, held by the thread that counts it, so that those of a thread that died can be found
 * and dropped. `references(page) == count(reference pages that name it)`. Every method is one operation of the journal.
 */
export class RegionReferences {
  /** @param enter - gives the holder of this thread @internal */
  constructor(
    /** @internal */
    protected readonly pages: PageRegion,
    protected readonly enter: () => number,
  ) {}

  /** Its parts are the allocator's. @internal */
  [INSPECT](): string {
    return inspected(this, () => []);
  }

  /** The number by which this thread holds its references. */
  get holder(): number {
    return this.enter();
  }

  /**
   * Counts the first reference on a block, or one more.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_DOUBLE_FREE, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_LOCK_TIMEOUT
   */
  share(offset: OffsetPointer): CountedReference {
    return this.#add(() => this.pages.headers.liveAt(offset));
  }

  /**
   * Counts one more reference on a block that another thread shares.
   *
   * @throws ERR_MEM_STALE_TOKEN when the block is no longer shared under that generation
   * @throws ERR_MEM_OUT_OF_MEMORY, ERR_MEM_LOCK_TIMEOUT
   */
  retain(offset: OffsetPointer, generation: number): CountedReference {
    return this.#add(() => this.#sharedPage(offset, generation));
  }

  /**
   * Takes over a reference that another thread has counted and handed over.
   *
   * @param from - the holder that handed it over
   * @throws ERR_MEM_STALE_TOKEN when it was dropped, or was taken already
   */
  adopt(offset: OffsetPointer, counted: CountedReference, from: number): CountedReference {
    const { headers } = this.pages;
    const { holder } = this;
    return this.pages.locked(holder, () => {
      const page = this.#sharedPage(offset, counted.generation);
      const reference = headers.pageAt(counted.reference);
      const isHandedOver = reference !== 0 && headers.load(reference, Header.state) === ((Kind.reference << KIND_SHIFT) | from);
      if (!isHandedOver || headers.load(reference, Header.target) !== page) throw staleToken(offset, counted.generation);
      headers.write(reference, Header.state, (Kind.reference << KIND_SHIFT) | holder);
      return counted;
    });
  }

  /**
   * Drops a reference of this thread; the last one frees the block.
   *
   * @returns whether it was the last one
   * @throws ERR_MEM_DISPOSED when it is none of this thread's, ERR_MEM_LOCK_TIMEOUT
   */
  drop(reference: OffsetPointer): boolean {
    const { pages } = this;
    const { holder } = this;
    return pages.locked(holder, () => dropReference(pages, pages.headers.pageAt(reference), holder) > 0);
  }

  /** The references on a live block; 0 for anything else. */
  count(offset: OffsetPointer): number {
    const { headers } = this.pages;
    const page = headers.pageAt(offset);
    return page === 0 ? 0 : headers.load(page, Header.references);
  }

  #add(find: () => number): CountedReference {
    const { pages } = this;
    const { headers } = pages;
    const { holder } = this;
    const attempt = () =>
      pages.locked(holder, () => {
        const page = find();
        const generation = this.#generationOf(page);
        const reference = pages.heap.allocate(PAYLOAD_GRANULES, (Kind.reference << KIND_SHIFT) | holder);
        if (reference === 0) return undefined;
        headers.store(reference, Header.target, page);
        headers.store(reference, Header.targetGeneration, generation);
        headers.write(page, Header.references, headers.load(page, Header.references) + 1);
        return { reference: headers.offsetOf(reference) as OffsetPointer, generation };
      });
    const counted = attempt() ?? (pages.makeRoom(holder) ? attempt() : undefined);
    if (counted === undefined) throw pages.outOfMemory(2 * GRANULE_BYTES);
    return counted;
  }

  /** The generation of a live page; a page that is shared for the first time gets one. Never 0. */
  #generationOf(page: number): number {
    const { headers } = this.pages;
    const known = headers.load(page, Header.generation);
    if (known !== 0) return known;
    const generation = (headers.near[Control.lastGeneration]! + 1) | 0 || 1;
    headers.write(0, Control.lastGeneration, generation);
    headers.write(page, Header.generation, generation);
    return generation;
  }

  #sharedPage(offset: OffsetPointer, generation: number): number {
    const page = this.pages.headers.pageAt(offset);
    if (page === 0 || !isShared(this.pages.headers, page, generation)) throw staleToken(offset, generation);
    return page;
  }
}

/**
 * Drops a reference, inside an operation. The last reference frees the page that it names.
 *
 * @returns the bytes of that page's payload if it went back, else 0
 * @throws ERR_MEM_DISPOSED for what is no reference of the holder
 * @throws ERR_MEM_REGION_DAMAGED
 */
export function dropReference({ headers, heap }: PageRegion, reference: number, holder: number): number {
  const isOwn = headers.isPage(reference) && headers.load(reference, Header.state) === ((Kind.reference << KIND_SHIFT) | holder);
  checkUsable(isOwn, 'shared reference');
  const page = headers.load(reference, Header.target);
  const generation = headers.load(reference, Header.targetGeneration);
  heap.free(reference);
  const isSound = headers.isPage(page) && isShared(headers, page, generation);
  headers.require(isSound, reference, 'a reference names no shared page');
  const count = headers.load(page, Header.references);
  headers.require(count >= 1, page, `it counts ${count} references, and there is one`);
  headers.write(page, Header.references, count - 1);
  if (count > 1) return 0;
  const bytes = headers.payloadBytesOf(page);
  heap.free(page);
  return bytes;
}

/** Tells whether a page is live, and shared under that generation. */
function isShared(headers: PageRegion['headers'], page: number, generation: number): boolean {
  return headers.kindOf(page) === Kind.live && generation !== 0 && headers.load(page, Header.generation) === generation;
}

function staleToken(offset: number, generation: number): MemoryError {
  return new MemoryError('ERR_MEM_STALE_TOKEN', { offset, generation });
}
