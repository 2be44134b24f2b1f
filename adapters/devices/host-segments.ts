import { orUndo } from '../../src/core/attempt.js';
import type { Device } from '../../src/core/device.js';
import { MemoryError } from '../../src/core/errors.js';
import { alignUp, checkAlignment, checkBytes, type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import type { NativeHeap } from '../os/aligned-memory.js';
import { pageBytes } from '../os/mapping.js';
import { HostRange, HostRanges, RetiredRanges } from './host-ranges.js';

const CACHE_LINE_BYTES = 64;

/** How large a segment really is, and where it may start. */
export interface SegmentPlace {
  readonly mappedBytes: number;
  readonly alignment: number;
}

/** One allocation of the CPU device. */
export class CpuSegment extends HostRange {
  /** Whether its pages are locked. */
  locked = false;

  constructor(
    base: DevicePtr,
    bytes: number,
    readonly place: SegmentPlace,
    readonly pinned: boolean,
  ) {
    super(base, bytes);
  }

  /** Whether its pages hold nothing else. */
  get ownsPages(): boolean {
    return this.place.alignment >= pageBytes();
  }
}

/**
 * Decides the place of a segment. From one page on it gets whole pages, so that they can be locked and given back alone.
 *
 * @param least - bytes, the least alignment
 */
export function segmentPlace(bytes: number, least: number): SegmentPlace {
  const page = pageBytes();
  if (bytes >= page || least >= page) return { mappedBytes: alignUp(bytes, page), alignment: Math.max(page, least) };
  return { mappedBytes: alignUp(bytes, CACHE_LINE_BYTES), alignment: Math.max(CACHE_LINE_BYTES, least) };
}

/** Segments with the same key can stand for one another. */
export function placeKey(place: SegmentPlace): string {
  return `${place.mappedBytes}/${place.alignment}`;
}

/** How a device locks pages in memory. */
export interface PageLock {
  /** @throws ERR_MEM_NATIVE when the system refuses */
  lock(base: DevicePtr, bytes: number): void;
  /** Undoes a lock, when nothing works on the pages any more. @throws ERR_MEM_NATIVE */
  unlock(base: DevicePtr, bytes: number): void;
}

/**
 * Segments of this machine's memory, from the C library; pinned ones in whole pages that a device locks.
 *
 * A segment that was viewed goes back to the C library when no array over it is left. The memory of whole pages goes back
 * at once; a segment that shares its pages, and any on Windows, serves a request of the same size meanwhile.
 */
export class HostSegments {
  readonly ranges = new HostRanges();
  /** Freed segments that hold memory until no array over them is left. */
  readonly kept = new RetiredRanges(0);
  /** Bytes of the live segments, as they were asked for. */
  liveBytes = 0;
  /** How often the system refused to lock pages. */
  pinFailures = 0;

  /**
   * @param heap - where segments come from
   * @param events - told the first time that a lock is refused
   */
  constructor(
    readonly pages: PageLock,
    readonly heap: NativeHeap,
    readonly events: Device['events'],
  ) {}

  /**
   * Allocates a segment. Its content is undefined. Cost: O(log n) and a call of the C library.
   *
   * @param pinned - asks for whole pages, which are locked. Where the system refuses, they are handed out as they are
   * @returns 0 when there is no room, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT
   */
  allocate(bytes: number, alignment: number, pinned: boolean): DevicePtr {
    checkBytes(bytes);
    checkAlignment(alignment);
    if (bytes === 0) return NULL_PTR;
    const place = segmentPlace(bytes, pinned ? Math.max(alignment, pageBytes()) : alignment);
    const key = placeKey(place);
    const again = this.kept.take(key, place.mappedBytes) ?? this.ranges.retired.take(key, place.mappedBytes);
    const base = again?.base ?? (this.heap.allocate(place.mappedBytes, place.alignment, pinned) as DevicePtr);
    if (base === NULL_PTR) return NULL_PTR;
    const segment = new CpuSegment(base, bytes, place, pinned);
    if (again !== undefined) segment.replace(again.held);
    this.ranges.insert(segment);
    this.liveBytes += bytes;
    if (pinned) this.#lock(segment);
    return base;
  }

  /** Frees a segment. @throws ERR_MEM_UNKNOWN_POINTER unless one of that kind starts at `ptr` */
  free(ptr: DevicePtr, pinned: boolean): void {
    const segment = this.ranges.startingAt(ptr, CpuSegment);
    if (segment.pinned !== pinned) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    this.#free(segment);
  }

  #free(segment: CpuSegment): void {
    const { base, place } = segment;
    const heap = this.heap;
    if (segment.locked) this.pages.unlock(base, place.mappedBytes);
    segment.locked = false;
    if (!segment.viewed) heap.free(base);
    else if (segment.ownsPages && process.platform !== 'win32')
      this.ranges.retire(segment, placeKey(place), place.mappedBytes, heap.free);
    else this.kept.put(segment, placeKey(place), place.mappedBytes, heap.free);
    this.ranges.remove(segment.base);
    this.liveBytes -= segment.bytes;
  }

  #lock(segment: CpuSegment): void {
    try {
      this.pages.lock(segment.base, segment.place.mappedBytes);
      segment.locked = true;
    } catch (error) {
      this.pinFailures++;
      if (this.pinFailures > 1) return;
      const reason = error instanceof Error ? error.message : String(error);
      orUndo(
        () => this.events.emit('pin-failed', { ptr: segment.base, bytes: segment.bytes, reason }),
        () => this.#free(segment),
      );
    }
  }
}
