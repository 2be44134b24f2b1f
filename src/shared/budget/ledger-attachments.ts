import { checkArgument } from '../../core/errors.js';
import type { LedgerChanges } from './ledger-changes.js';
import type { LedgerLock } from './ledger-lock.js';
import { type LedgerSegments, type SegmentDigest, segmentDigest } from './ledger-segments.js';
import type { PageTaker } from './page-taker.js';

/** The shared segments that one member has attached. */
export class LedgerAttachments {
  /** How often, by url. */
  readonly #times = new Map<string, number>();

  constructor(
    readonly cell: number,
    readonly segments: LedgerSegments,
    readonly lock: LedgerLock,
    readonly taker: PageTaker,
    readonly changes: LedgerChanges,
  ) {}

  /** @returns whether it fits @throws ERR_MEM_LOCK_TIMEOUT, ERR_MEM_OUT_OF_MEMORY when there are too many segments */
  attach(url: string, pages: number): boolean {
    const digest = segmentDigest(url);
    // Taken for the member until they are the segment's.
    let taken = 0;
    try {
      for (let missing = this.#join(digest, pages, taken); missing > 0; missing = this.#join(digest, pages, taken)) {
        if (!this.taker.take(missing)) return false;
        taken += missing;
      }
    } finally {
      if (taken > 0) {
        this.taker.give(taken);
        this.changes.announce();
      }
    }
    this.#times.set(url, (this.#times.get(url) ?? 0) + 1);
    return true;
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT for one that is not attached, ERR_MEM_LOCK_TIMEOUT */
  detach(url: string): void {
    const times = this.#times.get(url);
    checkArgument(times !== undefined, 'the url', JSON.stringify(url), 'one of a segment that was attached');
    if (times > 1) {
      this.#times.set(url, times - 1);
      return;
    }
    const digest = segmentDigest(url);
    const pages = this.lock.with(() => {
      const segment = this.segments.find(digest);
      return segment < 0 ? 0 : this.segments.leave(segment, this.cell);
    });
    this.#times.delete(url);
    if (pages > 0) this.changes.announce();
  }

  /** Attaches a segment, once enough pages are taken for it. @returns how many are missing */
  #join(digest: SegmentDigest, pages: number, taken: number): number {
    return this.lock.with(() => {
      const segment = this.segments.find(digest);
      const missing = pages - this.segments.pagesOf(segment) - taken;
      if (missing > 0) return missing;
      if (segment < 0) this.segments.add(digest, this.cell, pages);
      else this.segments.join(segment, this.cell, pages);
      return 0;
    });
  }
}
