import { MemoryError } from '../../core/errors.js';
import type { Journal } from './journal.js';
import { GENERATION, GRANULE_WORDS, KIND_SHIFT, LAST_GENERATION, LIVE, REFERENCE, REFERENCES, STATE } from './layout.js';
import type { PageHeaders } from './page-headers.js';
import type { PageHeap } from './page-heap.js';
import type { RegionWords } from './region-words.js';

// The payload of a reference page: fields behind its header.
const TARGET = GRANULE_WORDS;
const TARGET_GENERATION = GRANULE_WORDS + 1;
const PAYLOAD_GRANULES = 2;

/**
 * References to pages that several threads use. Each is a page of its own, held by the thread that counts it, so that those
 * of a thread that died can be found and dropped. `references(page) == count(reference pages that name it)`.
 *
 * Every method is one operation of the journal, to be committed or rolled back by the caller, who holds the lock.
 */
export class PageReferences {
  readonly #words: RegionWords;
  readonly #headers: PageHeaders;
  readonly #heap: PageHeap;
  readonly #journal: Journal;

  constructor(words: RegionWords, headers: PageHeaders, heap: PageHeap, journal: Journal) {
    this.#words = words;
    this.#headers = headers;
    this.#heap = heap;
    this.#journal = journal;
  }

  /** The generation of a live page; a page that is shared for the first time gets one. Never 0. */
  generationOf(page: number): number {
    const known = this.#words.load(page, GENERATION);
    if (known !== 0) return known;
    const generation = (this.#words.near[LAST_GENERATION]! + 1) | 0 || 1;
    this.#journal.write(0, LAST_GENERATION, generation);
    this.#journal.write(page, GENERATION, generation);
    return generation;
  }

  /** Tells whether a page is live, and shared under that generation. */
  isShared(page: number, generation: number): boolean {
    return this.#headers.kindOf(page) === LIVE && generation !== 0 && this.#words.load(page, GENERATION) === generation;
  }

  /** Counts a reference of the holder to a page that {@link isShared}. @returns the reference, or 0 when there is no room for it */
  add(page: number, generation: number, holder: number): number {
    const words = this.#words;
    const reference = this.#heap.allocate(PAYLOAD_GRANULES, (REFERENCE << KIND_SHIFT) | holder);
    if (reference === 0) return 0;
    words.store(reference, TARGET, page);
    words.store(reference, TARGET_GENERATION, generation);
    this.#journal.write(page, REFERENCES, words.load(page, REFERENCES) + 1);
    return reference;
  }

  /**
   * Makes the reference the holder's own that another one has counted.
   *
   * @returns whether it was there, names that page, and is not in the hands of a third
   */
  adopt(reference: number, page: number, from: number, holder: number): boolean {
    if (!this.#headers.isPage(reference)) return false;
    if (this.#words.load(reference, STATE) !== ((REFERENCE << KIND_SHIFT) | from)) return false;
    if (this.#words.load(reference, TARGET) !== page) return false;
    this.#journal.write(reference, STATE, (REFERENCE << KIND_SHIFT) | holder);
    return true;
  }

  /**
   * Drops a reference; the page goes back with its last one.
   *
   * @returns the bytes of the page's payload if it went back, else 0
   * @throws ERR_MEM_DISPOSED for what is no reference of the holder
   * @throws ERR_MEM_REGION_DAMAGED
   */
  drop(reference: number, holder: number): number {
    const words = this.#words;
    const headers = this.#headers;
    if (!headers.isPage(reference) || words.load(reference, STATE) !== ((REFERENCE << KIND_SHIFT) | holder)) {
      throw new MemoryError('ERR_MEM_DISPOSED', { what: 'shared reference' });
    }
    const page = words.load(reference, TARGET);
    const generation = words.load(reference, TARGET_GENERATION);
    this.#heap.free(reference);
    if (!headers.isPage(page) || !this.isShared(page, generation)) headers.refuse(reference, 'a reference names no shared page');
    const count = words.load(page, REFERENCES);
    if (count < 1) headers.refuse(page, `it counts ${count} references, and there is one`);
    this.#journal.write(page, REFERENCES, count - 1);
    if (count > 1) return 0;
    const bytes = headers.payloadBytesOf(page);
    this.#heap.free(page);
    return bytes;
  }

  /** The page that a reference names. */
  targetOf(reference: number): number {
    return this.#words.load(reference, TARGET);
  }
}
