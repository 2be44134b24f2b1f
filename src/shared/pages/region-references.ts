import { MemoryError } from '../../core/errors.js';
import type { OffsetPointer } from '../offset-pointer.js';
import { GRANULE_BYTES, REFERENCES } from './layout.js';
import type { PageRegion } from './page-region.js';

/** A reference that a thread counts on a block. */
export interface CountedReference {
  /** The reference's own place. */
  readonly reference: OffsetPointer;
  /** Tells this sharing of a block from the next one at the same place. */
  readonly generation: number;
}

/** What references need of the allocator that they belong to. */
export interface ReferenceHost {
  /** The holder of this thread. */
  enter(): number;
  /** Makes room after a failed allocation. */
  makeRoom(holder: number): boolean;
}

/** Counts references of this thread on blocks that several threads use; the last one frees the block. */
export class RegionReferences {
  readonly #pages: PageRegion;
  readonly #host: ReferenceHost;

  constructor(pages: PageRegion, host: ReferenceHost) {
    this.#pages = pages;
    this.#host = host;
  }

  /** The number by which this thread holds its references. */
  get holder(): number {
    return this.#host.enter();
  }

  /**
   * Counts the first reference on a block of one's own, or one more.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_DOUBLE_FREE, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_LOCK_TIMEOUT
   */
  share(offset: OffsetPointer): CountedReference {
    return this.#add(() => this.#pages.headers.liveAt(offset));
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
   * Makes a reference this thread's own that another one has counted and handed over.
   *
   * @param from - the holder that handed it over
   * @throws ERR_MEM_STALE_TOKEN when it was dropped, or was taken already
   */
  adopt(offset: OffsetPointer, counted: CountedReference, from: number): CountedReference {
    const pages = this.#pages;
    const holder = this.#host.enter();
    return pages.locked(holder, () => {
      const page = this.#sharedPage(offset, counted.generation);
      const reference = pages.headers.pageAt(counted.reference);
      if (!pages.references.adopt(reference, page, from, holder)) throw staleToken(offset, counted.generation);
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
    const pages = this.#pages;
    const holder = this.#host.enter();
    return pages.locked(holder, () => pages.references.drop(pages.headers.pageAt(reference), holder) > 0);
  }

  /** The references on a live block; 0 for anything else. */
  count(offset: OffsetPointer): number {
    const page = this.#pages.headers.pageAt(offset);
    return page === 0 ? 0 : this.#pages.words.load(page, REFERENCES);
  }

  #add(find: () => number): CountedReference {
    const pages = this.#pages;
    const holder = this.#host.enter();
    const attempt = () =>
      pages.locked(holder, () => {
        const page = find();
        const generation = pages.references.generationOf(page);
        const reference = pages.references.add(page, generation, holder);
        return reference === 0 ? undefined : { reference: pages.headers.offsetOf(reference) as OffsetPointer, generation };
      });
    const counted = attempt() ?? (this.#host.makeRoom(holder) ? attempt() : undefined);
    if (counted === undefined) throw pages.outOfMemory(2 * GRANULE_BYTES);
    return counted;
  }

  #sharedPage(offset: OffsetPointer, generation: number): number {
    const page = this.#pages.headers.pageAt(offset);
    if (page === 0 || !this.#pages.references.isShared(page, generation)) throw staleToken(offset, generation);
    return page;
  }
}

function staleToken(offset: number, generation: number): MemoryError {
  return new MemoryError('ERR_MEM_STALE_TOKEN', { offset, generation });
}
