import type { MemoryPart, MemoryPieces, VirtualMemory } from '../../src/core/device-interface.js';
import { badArgument, MemoryError } from '../../src/core/errors.js';
import { checkBytes, type DevicePtr } from '../../src/core/units.js';

/** An address range that was reserved, and which of its pages are backed. */
export interface Reservation {
  readonly base: DevicePtr;
  readonly bytes: number;
  readonly pages: PageStates;
}

/** Reserve and commit of a device: checks each call; the device makes the native calls. */
export abstract class PagedMemory<R extends Reservation> implements VirtualMemory {
  readonly granularityBytes: number;
  readonly pieces: MemoryPieces | undefined;
  #committedBytes = 0;

  /** @param hasPieces - whether memory is taken away in the pieces that it was committed in, and not in pages */
  constructor(granularityBytes: number, hasPieces = false) {
    this.granularityBytes = granularityBytes;
    this.pieces = hasPieces
      ? {
          wholeIn: (ptr, bytes) => this.#wholePieces(ptr, bytes),
          reusing: (action, unitBytes = granularityBytes) => {
            this.#checkUnit('unitBytes', unitBytes);
            return this.reusing(action, unitBytes);
          },
        }
      : undefined;
  }

  /** Reserves addresses on the active device. @param bytes - granular @returns 0 when none are left, and for 0 bytes */
  protected abstract reserveRange(bytes: number): DevicePtr;
  /** Gives a range back, with what is still committed. */
  protected abstract releaseRange(range: R): void;
  /** The range that `ptr` heads. @throws ERR_MEM_UNKNOWN_POINTER */
  protected abstract rangeAt(ptr: DevicePtr): R;
  /** The range that `ptr` lies in. @throws ERR_MEM_UNKNOWN_POINTER */
  protected abstract rangeOf(ptr: DevicePtr): R;
  /** Backs pages, none of which is committed, in pieces. @returns false when there is no memory left */
  protected abstract commitPages(range: R, offset: number, bytes: number, pieceBytes: number): boolean;
  /** Takes the memory of committed pages away. @param isIdle - whether no stream works on them any more */
  protected abstract decommitPages(range: R, offset: number, bytes: number, isIdle: boolean): void;

  get decommitStops(): boolean {
    return false;
  }

  /** How large the piece is that was committed at an offset. @param wantedBytes - what was asked for */
  protected pieceBytesAt(_range: R, _offset: number, wantedBytes: number): number {
    return wantedBytes;
  }

  /** What {@link MemoryPieces.reusing} does. */
  protected reusing<T>(action: () => T, _unitBytes: number): T {
    return action();
  }

  /** Bytes that are committed now, on all devices. */
  get committedBytes(): number {
    return this.#committedBytes;
  }

  /**
   * Reserves an address range on the active device.
   *
   * @returns 0 when no such range is left, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT when the size is not granular; ERR_MEM_NATIVE
   */
  reserve(bytes: number): DevicePtr {
    this.#checkGranular('bytes', bytes);
    return this.reserveRange(bytes);
  }

  /**
   * Gives a whole range back; the null pointer is ignored.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE unless it is a whole one, ERR_MEM_NATIVE
   * @throws ERR_MEM_DOUBLE_FREE where the device can tell
   */
  release(ptr: DevicePtr, bytes: number): void {
    if (ptr === 0 && bytes === 0) return;
    const range = this.rangeAt(ptr);
    if (bytes !== range.bytes) throw outOfRange(range, 0, bytes);
    this.releaseRange(range);
    this.#committedBytes -= range.pages.committedBytes;
  }

  /**
   * Backs pages with memory. Cost: O(log n + pages).
   *
   * @param pieceBytes - of a device with {@link pieces}. @defaultValue pages
   * @returns false when there is no memory left
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_SIZE, ERR_MEM_NATIVE
   * @throws ERR_MEM_INVALID_ARGUMENT when a page is committed already, or the part is not granular
   */
  commit(ptr: DevicePtr, bytes: number, pieceBytes = this.granularityBytes): boolean {
    const range = this.rangeOf(ptr);
    const offset = this.#offsetIn(range, ptr, bytes);
    this.#checkUnit('pieceBytes', pieceBytes);
    if (range.pages.anyCommitted(offset, bytes)) {
      throw badArgument('pages', `${bytes} bytes at offset ${offset}`, 'not committed yet');
    }
    if (!this.commitPages(range, offset, bytes, pieceBytes)) return false;
    range.pages.commit(offset, bytes);
    this.#committedBytes += bytes;
    if (this.pieces === undefined) return true;
    for (let at = offset; at < offset + bytes; ) {
      const piece = Math.min(this.pieceBytesAt(range, at, pieceBytes), offset + bytes - at);
      range.pages.joinPiece(at, piece);
      at += piece;
    }
    return true;
  }

  /**
   * Takes the memory of pages away. Cost: O(log n + pages).
   *
   * @param isIdle - true when no stream works on the pages any more. @defaultValue false
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_SIZE, ERR_MEM_NATIVE
   * @throws ERR_MEM_INVALID_ARGUMENT when a page is not committed, or the part is not granular, or cuts one of the {@link pieces}
   */
  decommit(ptr: DevicePtr, bytes: number, isIdle = false): void {
    const range = this.rangeOf(ptr);
    const offset = this.#offsetIn(range, ptr, bytes);
    if (!range.pages.allCommitted(offset, bytes)) {
      throw badArgument('pages', `${bytes} bytes at offset ${offset}`, 'committed');
    }
    if (range.pages.cutsPiece(offset, bytes)) {
      throw badArgument('pages', `${bytes} bytes at offset ${offset}`, 'whole pieces, as they were committed');
    }
    this.decommitPages(range, offset, bytes, isIdle);
    this.markDecommitted(range, offset, bytes);
  }

  /** Counts pages as decommitted. */
  protected markDecommitted(range: R, offset: number, bytes: number): void {
    range.pages.decommit(offset, bytes);
    this.#committedBytes -= bytes;
  }

  #wholePieces(ptr: DevicePtr, bytes: number): MemoryPart {
    const range = this.rangeOf(ptr);
    checkBytes(bytes);
    const offset = ptr - range.base;
    if (offset + bytes > range.bytes) throw outOfRange(range, offset, bytes);
    const [first, end] = range.pages.wholePieces(offset, bytes);
    return { ptr: (range.base + first) as DevicePtr, bytes: end - first };
  }

  #offsetIn(range: R, ptr: DevicePtr, bytes: number): number {
    const offset = ptr - range.base;
    this.#checkGranular('bytes', bytes);
    this.#checkGranular('offset', offset);
    if (offset + bytes > range.bytes) throw outOfRange(range, offset, bytes);
    return offset;
  }

  #checkUnit(name: string, bytes: number): void {
    this.#checkGranular(name, bytes);
    if (bytes === 0) throw badArgument(name, bytes, 'a positive number of bytes');
  }

  #checkGranular(name: string, bytes: number): void {
    checkBytes(bytes);
    if (bytes % this.granularityBytes !== 0) throw badArgument(name, bytes, `a multiple of ${this.granularityBytes} bytes`);
  }
}

function outOfRange({ bytes: blockBytes }: Reservation, offsetBytes: number, bytes: number): MemoryError<'ERR_MEM_OUT_OF_RANGE'> {
  return new MemoryError('ERR_MEM_OUT_OF_RANGE', { offsetBytes, bytes, blockBytes });
}

/** Which pages of a reserved range are backed, and which of them go back as one: one byte a page. */
export class PageStates {
  /** Reserved, never backed. */
  static readonly fresh = 0;
  /** Backed: a piece of its own, or the first page of one. */
  static readonly committed = 1;
  /** Backed once, and given back. */
  static readonly decommitted = 2;
  /** Backed: a later page of a piece. */
  static readonly joined = 3;

  // Of the pages up to the last one that was ever committed, as ranges are reserved far larger than what is used of them.
  #states = new Uint8Array(0);
  readonly #count: number;
  readonly granularityBytes: number;
  committedBytes = 0;

  constructor(bytes: number, granularityBytes: number) {
    this.#count = bytes / granularityBytes;
    this.granularityBytes = granularityBytes;
  }

  /** Tells whether any page that the bytes touch is in this state. Cost: O(pages). */
  any(state: number, offset: number, bytes: number): boolean {
    return (state === PageStates.fresh && this.#endsInFresh(offset, bytes)) || this.#pages(offset, bytes).includes(state);
  }

  /** Tells whether any page that the bytes touch is committed. Cost: O(pages). */
  anyCommitted(offset: number, bytes: number): boolean {
    return this.any(PageStates.committed, offset, bytes) || this.any(PageStates.joined, offset, bytes);
  }

  /** Tells whether every page that the bytes touch is committed. Cost: O(pages). */
  allCommitted(offset: number, bytes: number): boolean {
    if (this.#endsInFresh(offset, bytes)) return false;
    const pages = this.#pages(offset, bytes);
    return !pages.includes(PageStates.fresh) && !pages.includes(PageStates.decommitted);
  }

  /** Throws unless the bytes are committed. @throws ERR_MEM_OUT_OF_RANGE */
  checkUsable(offset: number, bytes: number): void {
    if (!this.allCommitted(offset, bytes)) {
      throw new MemoryError('ERR_MEM_OUT_OF_RANGE', { offsetBytes: offset, bytes, blockBytes: this.committedBytes });
    }
  }

  commit(offset: number, bytes: number): void {
    this.#cover(this.#endOf(offset, bytes));
    this.#pages(offset, bytes).fill(PageStates.committed);
    this.committedBytes += bytes;
  }

  /** Makes committed pages one piece. */
  joinPiece(offset: number, bytes: number): void {
    this.#pages(offset, bytes).fill(PageStates.joined, 1);
  }

  /** Tells whether the bytes, whole pages, begin or end within a piece. Cost: O(1). */
  cutsPiece(offset: number, bytes: number): boolean {
    return bytes > 0 && (this.#isJoined(offset) || this.#isJoined(offset + bytes));
  }

  /** The whole pieces in a committed part, as the offsets where they begin and end. Cost: O(pages of a piece). */
  wholePieces(offset: number, bytes: number): readonly [first: number, end: number] {
    const page = this.granularityBytes;
    const end = this.pieceStart(offset + bytes);
    let first = Math.ceil(offset / page) * page;
    while (first < end && this.#isJoined(first)) first += page;
    return [first, Math.max(first, end)];
  }

  decommit(offset: number, bytes: number): void {
    this.#pages(offset, bytes).fill(PageStates.decommitted);
    this.committedBytes -= bytes;
  }

  /** Where the piece begins that an offset lies in. Cost: O(pages of a piece). */
  pieceStart(offset: number): number {
    const page = this.granularityBytes;
    let start = Math.floor(offset / page) * page;
    while (this.#isJoined(start)) start -= page;
    return start;
  }

  /** @param offset - of a page, or the end of the range */
  #isJoined(offset: number): boolean {
    return this.#states[offset / this.granularityBytes] === PageStates.joined;
  }

  /** Makes states for all pages up to one. Amortised O(1) a page. */
  #cover(end: number): void {
    const { length } = this.#states;
    if (end <= length) return;
    const states = new Uint8Array(Math.min(this.#count, Math.max(end, 2 * length)));
    states.set(this.#states);
    this.#states = states;
  }

  /** Tells whether the bytes touch a page behind all that have states. */
  #endsInFresh(offset: number, bytes: number): boolean {
    return bytes > 0 && this.#endOf(offset, bytes) > this.#states.length;
  }

  /** The page behind the last one that the bytes touch. */
  #endOf(offset: number, bytes: number): number {
    return Math.ceil((offset + bytes) / this.granularityBytes);
  }

  #pages(offset: number, bytes: number): Uint8Array {
    return this.#states.subarray(Math.floor(offset / this.granularityBytes), this.#endOf(offset, bytes));
  }
}
