import { ensure } from '../../blocks/ensure.js';
import { BIN_COUNT, binOf, Control, Header, KIND_SHIFT, Kind } from './layout.js';
import type { PageRegion } from './page-region.js';

/**
 * Checks all pages and lists of a region, in O(pages). The lock must be held.
 *
 * @throws ERR_MEM_INVARIANT, ERR_MEM_REGION_DAMAGED
 */
export function checkPages(pages: PageRegion): void {
  ensure(!pages.headers.pending, 'the journal is empty while nothing is under way');
  const { headers } = pages;
  const free = new Set<number>();
  const counted = new Map<number, number>();
  let used = 0;
  let previous = 0;
  let wasFree = false;
  for (const page of headers) {
    const granules = headers.granulesOf(page);
    const kind = headers.kindOf(page);
    ensure(kind >= Kind.free && kind <= Kind.reference, () => `page ${page} is of a known kind`);
    ensure(
      headers.load(page, Header.previousGranules) === previous,
      () => `page ${page} knows the size of the page in front of it`,
    );
    ensure(!(wasFree && kind === Kind.free), () => `free pages at ${page} are one`);
    wasFree = kind === Kind.free;
    previous = granules;
    if (kind === Kind.free) free.add(page);
    else used += granules;
    const target = headers.load(page, Header.target);
    if (kind === Kind.reference) counted.set(target, (counted.get(target) ?? 0) + 1);
  }
  ensure(
    used === headers.near[Control.usedGranules],
    () => `used granules ${headers.near[Control.usedGranules]} == sum of pages in use ${used}`,
  );
  for (const page of headers) {
    if (headers.kindOf(page) !== Kind.live) continue;
    ensure(
      headers.load(page, Header.references) === (counted.get(page) ?? 0),
      () => `references of page ${page} == pages that name it`,
    );
    counted.delete(page);
  }
  ensure(counted.size === 0, 'every reference names a live page');
  checkBins(pages, free);
}

/** Checks that the holder's cache is made of its own pages. Only its thread may ask, with the lock held. @throws ERR_MEM_INVARIANT */
export function checkCache(pages: PageRegion, holder: number): void {
  const record = pages.recordOf(holder);
  let granules = 0;
  for (const page of pages.cache.pagesOf(record)) {
    pages.headers.check(page);
    ensure(
      pages.headers.load(page, Header.state) === ((Kind.cached << KIND_SHIFT) | holder),
      () => `page ${page} in a cache is its holder's`,
    );
    granules += pages.headers.granulesOf(page);
  }
  ensure(granules === pages.cache.cachedGranules(record), 'cached granules == sum of cached pages');
}

function checkBins(pages: PageRegion, free: Set<number>): void {
  const { heap, headers } = pages;
  for (let bin = 0; bin < BIN_COUNT; bin++) {
    const isFilled = ((headers.near[Control.binBits + (bin >>> 5)]! >>> (bin & 31)) & 1) === 1;
    ensure(isFilled === (heap.headOf(bin) !== 0), () => `the bit of bin ${bin} tells whether it holds pages`);
    let before = 0;
    for (let page = heap.headOf(bin); page !== 0; page = heap.nextInBin(page)) {
      ensure(free.delete(page), () => `page ${page} in bin ${bin} is free and in no other list`);
      ensure(binOf(headers.granulesOf(page) - 1) === bin, () => `page ${page} is in the bin of its size`);
      ensure(headers.load(page, Header.previous) === before, () => `page ${page} knows the page before it`);
      before = page;
    }
  }
  ensure(free.size === 0, 'every free page is in a list');
}
