import type { NativeFunctions, VirtualMemory } from '../core/device-interface.js';
import { MemoryError } from '../core/errors.js';
import { alignUp, type DevicePtr, GiB, NULL_PTR } from '../core/units.js';
import { lowerBound } from '../trace/formats/address-ranges.js';
import { CardStreams } from './card-streams.js';
import { DriverAddresses, GRANULE_BYTES } from './driver-addresses.js';

/** What an unlimited card says that it has: managers reserve address ranges by it. */
const UNLIMITED_BYTES = 1024 * GiB;
/** What it gives at most: a request beyond that is a mistake of the program. */
const MOST_BYTES = 16 * UNLIMITED_BYTES;
/** Address ranges lie above all segments. */
const FIRST_RANGE = 2 ** 47;

/** A call of a manager that got or gave native memory. */
export interface NativeCall {
  readonly kind: 'alloc' | 'free' | 'commit' | 'decommit';
  readonly address: number;
  readonly bytes: number;
  /** Of the request that the memory was got for. */
  readonly stream: number;
}

/** What a card is made of. */
export interface NumberCardOptions {
  /** Infinity for no limit. */
  readonly capacityBytes: number;
  /** Told of each call that succeeded. */
  readonly onCall?: ((call: NativeCall) => void) | undefined;
  /** Where a segment is put; undefined for where a driver would put it. */
  readonly placeAt?: ((bytes: number) => number | undefined) | undefined;
}

interface Segment {
  readonly bytes: number;
  readonly stream: number;
  /** The addresses that were taken for it: none for one that was placed. */
  readonly start: number;
  readonly room: number;
}

interface Range {
  readonly start: number;
  readonly bytes: number;
  readonly stream: number;
  committed: number;
}

/**
 * A card without memory: it counts. Segments get addresses as a driver's, ranges can be reserved and committed in pages of 2 MiB,
 * and streams are done when the recording says so.
 */
export class NumberCard implements NativeFunctions {
  readonly deviceCount = 1;
  readonly streams = new CardStreams();
  readonly virtual: VirtualMemory;
  reservedBytes = 0;
  peakBytes = 0;
  /** As {@link peakBytes}, since somebody set it. */
  recentPeakBytes = 0;
  nativeAllocs = 0;
  nativeFrees = 0;
  /** The stream of the request under way. */
  stream = 0;
  readonly addresses = new DriverAddresses();
  readonly #options: NumberCardOptions;
  readonly #segments = new Map<number, Segment>();
  readonly #ranges: Range[] = [];
  readonly #starts: number[] = [];
  #threshold = 1;

  constructor(options: NumberCardOptions) {
    this.#options = options;
    this.virtual = {
      granularityBytes: GRANULE_BYTES,
      reserve: (bytes) => this.#reserve(bytes),
      release: (ptr) => this.#release(ptr),
      commit: (ptr, bytes) => this.#commit(ptr, bytes),
      decommit: (ptr, bytes) => this.#decommit(ptr, bytes),
    };
  }

  getActiveDeviceId(): number {
    return 0;
  }

  getMaxMemorySize(): number {
    return Math.min(this.#options.capacityBytes, UNLIMITED_BYTES);
  }

  getMemoryPressureThreshold(): number {
    return this.#threshold;
  }

  setMemoryPressureThreshold(value: number): void {
    this.#threshold = value;
  }

  nativeAlloc(bytes: number, alignment = 0): DevicePtr {
    if (!this.#admits(bytes)) return NULL_PTR;
    const placed = this.#options.placeAt?.(bytes);
    // Granules are aligned to themselves: only larger wishes need more.
    const room = alignment > GRANULE_BYTES ? bytes + alignment : bytes;
    const start = placed ?? this.addresses.take(room);
    if (start === 0) return NULL_PTR;
    this.#take(bytes);
    const address = alignment > GRANULE_BYTES ? alignUp(start, alignment) : start;
    this.#segments.set(address, { bytes, stream: this.stream, start, room: placed === undefined ? room : 0 });
    this.#count('alloc', address, bytes, this.stream);
    return address as DevicePtr;
  }

  nativeFree(ptr: DevicePtr): void {
    const segment = this.#segments.get(ptr);
    if (segment === undefined) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    this.#segments.delete(ptr);
    if (segment.room > 0) this.addresses.give(segment.start, segment.room);
    this.#give(segment.bytes);
    this.#count('free', ptr, segment.bytes, segment.stream);
  }

  /** Enters a segment that was there before, which a manager then has. It is no call. */
  enter(address: number, bytes: number, stream: number): void {
    this.#segments.set(address, { bytes, stream, start: address, room: bytes });
    this.#grow(bytes);
  }

  #reserve(bytes: number): DevicePtr {
    // At the lowest addresses that are free: a program that empties its cache in each step would use all up.
    let start = FIRST_RANGE;
    let place = 0;
    for (; place < this.#ranges.length && this.#starts[place]! - start < bytes; place++) {
      start = this.#starts[place]! + alignUp(this.#ranges[place]!.bytes, GRANULE_BYTES);
    }
    if (!Number.isSafeInteger(start + bytes)) return NULL_PTR;
    this.#starts.splice(place, 0, start);
    this.#ranges.splice(place, 0, { start, bytes, stream: this.stream, committed: 0 });
    return start as DevicePtr;
  }

  #release(ptr: DevicePtr): void {
    const range = this.#rangeOf(ptr);
    const place = this.#starts.indexOf(range.start);
    this.#starts.splice(place, 1);
    this.#ranges.splice(place, 1);
    this.#give(range.committed);
  }

  #commit(ptr: DevicePtr, bytes: number): boolean {
    const range = this.#rangeOf(ptr);
    if (!this.#admits(bytes)) return false;
    this.#take(bytes);
    range.committed += bytes;
    this.#count('commit', ptr, bytes, range.stream);
    return true;
  }

  #decommit(ptr: DevicePtr, bytes: number): void {
    const range = this.#rangeOf(ptr);
    range.committed -= bytes;
    this.#give(bytes);
    this.#count('decommit', ptr, bytes, range.stream);
  }

  #rangeOf(ptr: number): Range {
    const range = this.#ranges[lowerBound(this.#starts, ptr + 1) - 1];
    if (range === undefined || ptr >= range.start + range.bytes)
      throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    return range;
  }

  /** Whether the card has so much. */
  #admits(bytes: number): boolean {
    return this.reservedBytes + bytes <= Math.min(this.#options.capacityBytes, MOST_BYTES);
  }

  #take(bytes: number): void {
    this.nativeAllocs++;
    this.#grow(bytes);
  }

  #grow(bytes: number): void {
    this.reservedBytes += bytes;
    if (this.reservedBytes > this.peakBytes) this.peakBytes = this.reservedBytes;
    if (this.reservedBytes > this.recentPeakBytes) this.recentPeakBytes = this.reservedBytes;
  }

  #give(bytes: number): void {
    this.reservedBytes -= bytes;
  }

  #count(kind: NativeCall['kind'], address: number, bytes: number, stream: number): void {
    if (kind === 'free' || kind === 'decommit') this.nativeFrees++;
    this.#options.onCall?.({ kind, address, bytes, stream });
  }
}
