import { createHash } from 'node:crypto';
import { MemoryError } from '../../core/errors.js';
import { Control, DIGEST_WORDS, Entry, LEDGER_PAGE_BYTES } from './ledger-layout.js';
import type { LedgerWords } from './ledger-words.js';

const MAX_WORD = 2 ** 32 - 1;

/** What identifies a segment: 128 bits of a digest of its url. */
export type SegmentDigest = Int32Array;

export function segmentDigest(url: string): SegmentDigest {
  return new Int32Array(new Uint8Array(createHash('sha256').update(url).digest()).buffer, 0, DIGEST_WORDS);
}

/**
 * The shared segments that a ledger counts: each with a bit for every cell that has attached it. One without bits is free, and has no
 * pages. The caller has the lock.
 */
export class LedgerSegments {
  readonly #words: LedgerWords;
  readonly #int32: Int32Array;

  constructor(words: LedgerWords) {
    this.#words = words;
    this.#int32 = words.int32;
  }

  /** The segment of a digest that somebody has attached, or -1. */
  find(digest: SegmentDigest): number {
    const used = this.#words.usedSegments;
    for (let segment = 0; segment < used; segment++) {
      const at = this.#entryAt(segment) + Entry.digest;
      if (digest.every((word, i) => this.#int32[at + i] === word) && this.#isAttached(segment)) return segment;
    }
    return -1;
  }

  /** The pages that a segment counts for; none for -1. */
  pagesOf(segment: number): number {
    return segment < 0 ? 0 : this.#words.count(this.#words.parts.pages + segment);
  }

  /** Counts a segment that nobody has attached, as one that a cell has. @throws ERR_MEM_OUT_OF_MEMORY when there are too many */
  add(digest: SegmentDigest, cell: number, pages: number): void {
    const segment = this.#freeSegment(pages);
    this.#words.raise(Control.usedSegments, segment + 1);
    const at = this.#entryAt(segment) + Entry.digest;
    for (let i = 0; i < DIGEST_WORDS; i++) Atomics.store(this.#int32, at + i, digest[i]!);
    this.join(segment, cell, pages);
  }

  /** Adds a cell to those that have attached a segment; it counts for so many pages then, or for more. */
  join(segment: number, cell: number, pages: number): void {
    const at = this.#bitsAt(segment, cell);
    Atomics.store(this.#int32, at, this.#int32[at]! | bitOf(cell));
    if (pages > this.pagesOf(segment)) Atomics.store(this.#int32, this.#words.parts.pages + segment, pages);
    this.#sum();
  }

  /** Takes a cell out. @returns the pages that count no more */
  leave(segment: number, cell: number): number {
    const pages = this.#leave(segment, cell);
    this.#sum();
    return pages;
  }

  /** Takes a cell out of all. @returns the pages that count no more */
  leaveAll(cell: number): number {
    let pages = 0;
    for (let segment = 0; segment < this.#words.usedSegments; segment++) pages += this.#leave(segment, cell);
    // Also where there was none: whoever has died may not have come to it.
    this.#sum();
    return pages;
  }

  /** Tells whether a cell has attached any segment; also without the lock, for one's own cell. */
  hasAny(cell: number): boolean {
    for (let segment = 0; segment < this.#words.usedSegments; segment++) if (this.#has(segment, cell)) return true;
    return false;
  }

  #has(segment: number, cell: number): boolean {
    return (this.#int32[this.#bitsAt(segment, cell)]! & bitOf(cell)) !== 0;
  }

  #leave(segment: number, cell: number): number {
    if (!this.#has(segment, cell)) return 0;
    const pages = this.#isAttached(segment, cell) ? 0 : this.pagesOf(segment);
    if (pages > 0) Atomics.store(this.#int32, this.#words.parts.pages + segment, 0);
    const at = this.#bitsAt(segment, cell);
    Atomics.store(this.#int32, at, this.#int32[at]! & ~bitOf(cell));
    return pages;
  }

  /** Writes the sum of all pages. */
  #sum(): void {
    let pages = 0;
    for (let segment = 0; segment < this.#words.usedSegments; segment++) pages += this.pagesOf(segment);
    Atomics.store(this.#int32, Control.segmentPages, Math.min(pages, MAX_WORD));
  }

  /** Tells whether a cell other than `except` has attached a segment. */
  #isAttached(segment: number, except = -1): boolean {
    const bits = this.#entryAt(segment) + Entry.bits;
    const end = this.#entryAt(segment + 1);
    for (let at = bits; at < end; at++) {
      const others = except >= 0 && at === this.#bitsAt(segment, except) ? ~bitOf(except) : -1;
      if ((this.#int32[at]! & others) !== 0) return true;
    }
    return false;
  }

  #freeSegment(pages: number): number {
    for (let segment = 0; segment < this.#words.segments; segment++) if (!this.#isAttached(segment)) return segment;
    const allocatedBytes = this.#words.usedPages() * LEDGER_PAGE_BYTES;
    throw new MemoryError('ERR_MEM_OUT_OF_MEMORY', {
      requestedBytes: pages * LEDGER_PAGE_BYTES,
      allocatedBytes,
      reservedBytes: allocatedBytes,
      capacityBytes: 0,
      device: 0,
      quota: `${this.#words.segments} shared segments in one ledger`,
    });
  }

  #entryAt(segment: number): number {
    return this.#words.parts.entries + segment * this.#words.parts.entryWords;
  }

  #bitsAt(segment: number, cell: number): number {
    return this.#entryAt(segment) + Entry.bits + (cell >>> 5);
  }
}

function bitOf(cell: number): number {
  return 1 << (cell & 31);
}
