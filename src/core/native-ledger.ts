import type { NativeCharge } from './native-charge.js';
import type { DevicePtr } from './units.js';

const SLACK = 1024;

/** What the managers of one slot, stopped ones included, got from their device and gave back. */
export class NativeCounters {
  /** Native allocations of every manager that ever sat here. */
  nativeAllocs = 0;
  /** Native frees of every manager that ever sat here. */
  nativeFrees = 0;
  /** Commits of pages by every manager that ever sat here. */
  nativeCommits = 0;
  /** Decommits of pages by every manager that ever sat here. */
  nativeDecommits = 0;
  /** Native memory held by all managers, and what a stopped one could not give back. */
  reservedBytes = 0;
  /** The most native memory that was held at once, since the start or {@link resetPeak}. */
  peakReservedBytes = 0;

  /** Lets the peak start again from what is held now. */
  resetPeak(): void {
    this.peakReservedBytes = this.reservedBytes;
  }
}

/** A native segment, or a reserved range of addresses. */
export interface NativePiece {
  /** The bytes of the segment, or those that are committed in the range. */
  bytes: number;
  /** The addresses of a range; 0 for a segment. */
  readonly rangeBytes: number;
  /** False while it is being given back, and afterwards. */
  isOut: boolean;
  /** Decommits under way. The range is not released meanwhile. */
  decommits: number;
  /** The device whose memory it is, as {@link SlotCharges.deviceOf} counts it. */
  readonly device: number;
  /** Who is charged with the bytes. */
  charge: NativeCharge | undefined;
}

/** What one manager holds natively. The slot's counters follow it. */
export class NativeLedger {
  reservedBytes = 0;
  /** How many pieces are out. */
  live = 0;
  // A piece that was given back stays until another has its address, or many have been: V8 keeps deleted keys in the bucket's
  // chain, so that a Map whose addresses come and go becomes slow. It is one operation of the Map a call, too.
  #pieces = new Map<DevicePtr, NativePiece>();
  /** The range in which pages were committed or decommitted last. */
  #lastRange: [DevicePtr, NativePiece] | undefined;
  readonly #counters: NativeCounters;

  constructor(counters: NativeCounters) {
    this.#counters = counters;
  }

  /** Enters a segment, or a range. Cost: an amortised O(1). */
  add(ptr: DevicePtr, bytes: number, rangeBytes: number, device: number, charge: NativeCharge | undefined): void {
    if (this.#pieces.size > 2 * this.live + SLACK) this.#dropDead();
    const piece = { bytes, rangeBytes, isOut: true, decommits: 0, device, charge };
    this.#pieces.set(ptr, piece);
    this.live++;
    this.#count(bytes);
  }

  /** Takes a piece out, to be given back. @returns undefined when none is out there */
  take(ptr: DevicePtr): NativePiece | undefined {
    const piece = this.#pieces.get(ptr);
    if (piece?.isOut !== true) return undefined;
    piece.isOut = false;
    this.live--;
    this.#count(-piece.bytes);
    return piece;
  }

  /** Enters a piece again that the device refused to take back. */
  putBack(piece: NativePiece): void {
    piece.isOut = true;
    this.live++;
    this.#count(piece.bytes);
  }

  /** The range that the address lies in. Cost: O(1) for that of the call before, else O(pieces). */
  rangeAt(ptr: DevicePtr): NativePiece | undefined {
    const has = ([start, range]: readonly [DevicePtr, NativePiece]) =>
      range.isOut && ptr >= start && ptr < start + range.rangeBytes;
    if (this.#lastRange === undefined || !has(this.#lastRange)) this.#lastRange = [...this.#pieces].find(has);
    return this.#lastRange?.[1];
  }

  /** Counts pages of a range that were committed, or decommitted: their bytes are negative. */
  commit(range: NativePiece, bytes: number): void {
    range.bytes += bytes;
    if (range.isOut) this.#count(bytes);
  }

  /** What can be given back. */
  outstanding(): [DevicePtr, NativePiece][] {
    return [...this.#pieces].filter(([, piece]) => piece.isOut && piece.decommits === 0);
  }

  /** What is out, with its address. */
  all(): [DevicePtr, NativePiece][] {
    return [...this.#pieces].filter(([, piece]) => piece.isOut);
  }

  /** Every piece, those too that were given back not long ago. */
  [Symbol.iterator](): IterableIterator<NativePiece> {
    return this.#pieces.values();
  }

  #dropDead(): void {
    const pieces = new Map<DevicePtr, NativePiece>();
    for (const [ptr, piece] of this.#pieces) if (piece.isOut) pieces.set(ptr, piece);
    this.#pieces = pieces;
  }

  #count(bytes: number): void {
    const counters = this.#counters;
    this.reservedBytes += bytes;
    counters.reservedBytes += bytes;
    if (counters.reservedBytes > counters.peakReservedBytes) counters.peakReservedBytes = counters.reservedBytes;
  }
}
