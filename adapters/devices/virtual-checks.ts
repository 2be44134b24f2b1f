import { MemoryError } from '../../src/core/errors.js';
import { checkBytes } from '../../src/core/units.js';
import type { AddressRange } from './address-tree.js';

/** Throws unless `bytes` is a size and a multiple of the granularity. @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT */
export function checkGranular(name: string, bytes: number, granularityBytes: number): void {
  checkBytes(bytes);
  if (bytes % granularityBytes !== 0) {
    throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
      name,
      value: `${bytes}`,
      expected: `a multiple of ${granularityBytes} bytes`,
    });
  }
}

/**
 * Where a granular part of a reserved range begins in it.
 *
 * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT when the part is not granular, ERR_MEM_OUT_OF_RANGE when it leaves the range
 */
export function granularOffset(range: AddressRange, part: AddressRange, granularityBytes: number): number {
  const offset = part.base - range.base;
  checkGranular('bytes', part.bytes, granularityBytes);
  checkGranular('offset', offset, granularityBytes);
  if (offset + part.bytes > range.bytes) {
    throw new MemoryError('ERR_MEM_OUT_OF_RANGE', { offsetBytes: offset, bytes: part.bytes, blockBytes: range.bytes });
  }
  return offset;
}

/** Throws unless `bytes` is all of a range. @throws ERR_MEM_OUT_OF_RANGE */
export function checkWhole(range: AddressRange, bytes: number): void {
  if (bytes !== range.bytes) throw new MemoryError('ERR_MEM_OUT_OF_RANGE', { offsetBytes: 0, bytes, blockBytes: range.bytes });
}

/** Which pages of a reserved range are backed: one byte a page. */
export class PageStates {
  /** Reserved, never backed. */
  static readonly fresh = 0;
  static readonly committed = 1;
  /** Backed once, and given back. */
  static readonly decommitted = 2;

  readonly #states: Uint8Array;
  readonly #granularityBytes: number;
  #committedBytes = 0;

  constructor(bytes: number, granularityBytes: number) {
    this.#states = new Uint8Array(bytes / granularityBytes);
    this.#granularityBytes = granularityBytes;
  }

  get committedBytes(): number {
    return this.#committedBytes;
  }

  /** Tells whether any page that the bytes touch is in this state. Cost: O(pages). */
  any(state: number, offset: number, bytes: number): boolean {
    return this.#pages(offset, bytes).includes(state);
  }

  /** Tells whether every page that the bytes touch is committed. Cost: O(pages). */
  allCommitted(offset: number, bytes: number): boolean {
    const pages = this.#pages(offset, bytes);
    return !pages.includes(PageStates.fresh) && !pages.includes(PageStates.decommitted);
  }

  /** Throws unless the bytes are committed. @throws ERR_MEM_OUT_OF_RANGE */
  checkUsable(offset: number, bytes: number): void {
    if (!this.allCommitted(offset, bytes)) {
      throw new MemoryError('ERR_MEM_OUT_OF_RANGE', { offsetBytes: offset, bytes, blockBytes: this.committedBytes });
    }
  }

  /** Throws unless none of these pages is committed. @throws ERR_MEM_INVALID_ARGUMENT */
  checkCommit(offset: number, bytes: number): void {
    if (this.any(PageStates.committed, offset, bytes)) throw badPages(offset, bytes, 'not committed yet');
  }

  /** Throws unless all of these pages are committed. @throws ERR_MEM_INVALID_ARGUMENT */
  checkDecommit(offset: number, bytes: number): void {
    if (!this.allCommitted(offset, bytes)) throw badPages(offset, bytes, 'committed');
  }

  commit(offset: number, bytes: number): void {
    this.#pages(offset, bytes).fill(PageStates.committed);
    this.#committedBytes += bytes;
  }

  decommit(offset: number, bytes: number): void {
    this.#pages(offset, bytes).fill(PageStates.decommitted);
    this.#committedBytes -= bytes;
  }

  #pages(offset: number, bytes: number): Uint8Array {
    const first = Math.floor(offset / this.#granularityBytes);
    return this.#states.subarray(first, Math.ceil((offset + bytes) / this.#granularityBytes));
  }
}

function badPages(offset: number, bytes: number, expected: string): MemoryError<'ERR_MEM_INVALID_ARGUMENT'> {
  return new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'pages', value: `${bytes} bytes at offset ${offset}`, expected });
}
