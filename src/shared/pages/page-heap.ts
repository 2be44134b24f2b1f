import { binOf, Control, classOf, Header, KIND_SHIFT, Kind, LARGE_BIN, MIN_PAGE_GRANULES } from './layout.js';
import type { PageHeaders } from './region-words.js';

const BIT_WORDS = 5;
// Pages behind a list's first one that are looked at.
const LOOK_AHEAD = 8;
const FREE_STATE = Kind.free << KIND_SHIFT;

/**
 * The free pages of a region, in a list for each size class; the pages of a request are cut from the smallest class that
 * has one, and join their free neighbours when they come back. So no two free pages are neighbours.
 *
 * Every method is one operation of the journal, to be committed or rolled back by the caller, who holds the lock.
 * Cost: O(1), but O(large pages) for what only a page above 16 MiB, or the class below, can serve.
 */
export class PageHeap {
  constructor(readonly headers: PageHeaders) {}

  /** Makes one free page of all memory: for a new region. */
  format(): void {
    const { first, end } = this.headers;
    this.#writeFresh(first, end - first, 0);
    this.#insert(first);
  }

  /**
   * Takes a page.
   *
   * @param payload - granules, above 0
   * @param state - what it becomes
   * @returns the page, or 0 when no free page is large enough
   * @throws ERR_MEM_REGION_DAMAGED
   */
  allocate(payload: number, state: number): number {
    const page = this.#find(payload);
    if (page === 0) return 0;
    this.#remove(page);
    return this.#take(page, payload, state);
  }

  /**
   * Takes a page whose payload is aligned. As {@link allocate}.
   *
   * @param alignment - granules, a power of two above 1
   * @param bias - granules from an aligned address to the region's start
   */
  allocateAligned(payload: number, alignment: number, bias: number, state: number): number {
    // A gap in front is a page of its own: where it would be too small, the payload moves on by one alignment.
    const found = this.#find(payload + alignment + MIN_PAGE_GRANULES - 1);
    if (found === 0) return 0;
    this.#remove(found);
    let gap = (alignment - ((found + 1 + bias) % alignment)) % alignment;
    while (gap > 0 && gap < MIN_PAGE_GRANULES) gap += alignment;
    const page = found + gap;
    if (gap > 0) {
      const rest = this.headers.granulesOf(found) - gap;
      this.#resize(found, gap);
      this.#insert(found);
      this.#writeFresh(page, rest, gap);
      this.#tellNext(page, rest);
    }
    return this.#take(page, payload, state);
  }

  /**
   * Takes a page back and joins it with its free neighbours.
   *
   * @param page - one that is in no list
   * @returns the free page that it is part of now
   * @throws ERR_MEM_REGION_DAMAGED
   */
  free(page: number): number {
    const { headers } = this;
    let granules = headers.granulesOf(page);
    let merged = page;
    headers.write(0, Control.usedGranules, headers.near[Control.usedGranules]! - granules);
    const next = page + granules;
    if (next < headers.end) {
      headers.check(next);
      headers.require(headers.load(next, Header.previousGranules) === granules, next, 'it does not know the page in front of it');
      if (headers.kindOf(next) === Kind.free) {
        this.#remove(next);
        granules += headers.granulesOf(next);
        headers.write(next, Header.check, 0);
      }
    }
    const before = headers.pageBefore(page);
    if (before !== 0) {
      headers.check(before);
      headers.require(before + headers.granulesOf(before) === page, before, 'it does not reach to the page behind it');
      if (headers.kindOf(before) === Kind.free) {
        this.#remove(before);
        granules += headers.granulesOf(before);
        headers.write(page, Header.check, 0);
        merged = before;
      }
    }
    this.#resize(merged, granules);
    headers.write(merged, Header.state, FREE_STATE);
    this.#tellNext(merged, granules);
    this.#insert(merged);
    return merged;
  }

  /** The first page of a bin, or 0. */
  headOf(bin: number): number {
    return this.headers.near[Control.binHeads + bin]!;
  }

  /** The next page in a bin, or 0. */
  nextInBin(page: number): number {
    return this.headers.load(page, Header.next);
  }

  /** The first bin from `bin` on that is not empty, or -1. */
  filledBin(bin: number): number {
    let word = bin >>> 5;
    let bits = this.headers.near[Control.binBits + word]! & (-1 << (bin & 31));
    while (bits === 0) {
      word++;
      if (word === BIT_WORDS) return -1;
      bits = this.headers.near[Control.binBits + word]!;
    }
    return (word << 5) + 31 - Math.clz32(bits & -bits);
  }

  #find(payload: number): number {
    const wanted = classOf(payload);
    const filled = this.filledBin(binOf(wanted));
    let page = 0;
    if (filled === LARGE_BIN) page = this.#bestFit(LARGE_BIN, wanted);
    else if (filled !== -1) page = this.#lowestOf(filled);
    // All that is left may be a page of the class below that is larger than its class.
    if (page === 0 && wanted > payload) page = this.#bestFit(binOf(payload), payload);
    if (page !== 0) this.headers.checkKind(page, Kind.free);
    return page;
  }

  /**
   * The page with the lowest place among the first ones of a bin. That keeps the high end free for large pages: of two
   * million requests of up to 128 KiB at nine tenths in use, 21 are refused, where taking the first page refuses 1649.
   */
  #lowestOf(bin: number): number {
    let lowest = this.headOf(bin);
    let page = this.nextInBin(lowest);
    for (let n = 0; n < LOOK_AHEAD && page !== 0; n++) {
      this.headers.checkKind(page, Kind.free);
      if (page < lowest) lowest = page;
      page = this.nextInBin(page);
    }
    return lowest;
  }

  #bestFit(bin: number, payload: number): number {
    let best = 0;
    let bestGranules = Number.POSITIVE_INFINITY;
    let previous = 0;
    for (let page = this.headOf(bin); page !== 0; page = this.nextInBin(page)) {
      this.headers.checkKind(page, Kind.free);
      // A damaged list might be a ring.
      this.headers.require(
        this.headers.load(page, Header.previous) === previous,
        page,
        'it does not know the page before it in its list',
      );
      previous = page;
      const granules = this.headers.granulesOf(page);
      if (granules > payload && granules < bestGranules) {
        best = page;
        bestGranules = granules;
      }
    }
    return best;
  }

  /** Cuts a page that is in no list to the class of a payload and gives it its state. @returns the page */
  #take(page: number, payload: number, state: number): number {
    const whole = this.headers.granulesOf(page);
    let granules = Math.min(classOf(payload) + 1, whole);
    const rest = whole - granules;
    if (rest < MIN_PAGE_GRANULES) granules = whole;
    else {
      this.#resize(page, granules);
      this.#writeFresh(page + granules, rest, granules);
      this.#tellNext(page + granules, rest);
      this.#insert(page + granules);
    }
    const episode = (this.headers.near[Control.lastEpisode]! + 1) | 0;
    this.headers.write(0, Control.lastEpisode, episode);
    this.headers.write(0, Control.usedGranules, this.headers.near[Control.usedGranules]! + granules);
    this.headers.write(page, Header.episode, episode);
    this.headers.write(page, Header.generation, 0);
    this.headers.write(page, Header.references, 0);
    this.headers.write(page, Header.state, state);
    return page;
  }

  /** Writes the header of a free page where none was. What it overwrites is free memory: the check alone is undone. */
  #writeFresh(page: number, granules: number, previousGranules: number): void {
    this.headers.store(page, Header.state, FREE_STATE);
    this.headers.store(page, Header.granules, granules);
    this.headers.store(page, Header.previousGranules, previousGranules);
    this.headers.write(page, Header.check, this.headers.checkOf(page, granules));
  }

  #resize(page: number, granules: number): void {
    this.headers.write(page, Header.granules, granules);
    this.headers.write(page, Header.check, this.headers.checkOf(page, granules));
  }

  /** Tells the page behind how large the one in front of it is. */
  #tellNext(page: number, granules: number): void {
    const next = page + granules;
    if (next >= this.headers.end) return;
    this.headers.check(next);
    this.headers.write(next, Header.previousGranules, granules);
  }

  #insert(page: number): void {
    const bin = binOf(this.headers.granulesOf(page) - 1);
    const head = this.headers.near[Control.binHeads + bin]!;
    this.headers.write(page, Header.next, head);
    this.headers.write(page, Header.previous, 0);
    if (head !== 0) {
      this.headers.checkKind(head, Kind.free);
      this.headers.write(head, Header.previous, page);
    } else {
      const word = Control.binBits + (bin >>> 5);
      this.headers.write(0, word, this.headers.near[word]! | (1 << (bin & 31)));
    }
    this.headers.write(0, Control.binHeads + bin, page);
  }

  #remove(page: number): void {
    const { headers } = this;
    const bin = binOf(headers.granulesOf(page) - 1);
    const next = headers.load(page, Header.next);
    const previous = headers.load(page, Header.previous);
    if (next !== 0) {
      headers.checkKind(next, Kind.free);
      headers.require(headers.load(next, Header.previous) === page, next, 'it does not know the page before it in its list');
      headers.write(next, Header.previous, previous);
    }
    if (previous !== 0) {
      headers.checkKind(previous, Kind.free);
      headers.require(headers.load(previous, Header.next) === page, previous, 'it does not know the page behind it in its list');
      headers.write(previous, Header.next, next);
      return;
    }
    headers.require(headers.near[Control.binHeads + bin] === page, page, 'it is in no list');
    headers.write(0, Control.binHeads + bin, next);
    if (next !== 0) return;
    const word = Control.binBits + (bin >>> 5);
    headers.write(0, word, headers.near[word]! & ~(1 << (bin & 31)));
  }
}
