import { MemoryError } from '../../src/core/errors.js';
import type { PinFailedEvent } from '../../src/core/events.js';
import { checkAlignment, checkBytes, type DevicePtr } from '../../src/core/units.js';
import { pageBytes } from '../os/mapping.js';
import type { NativeHeap } from '../os/thread-memory.js';
import { CpuSegment, placeKey, segmentPlace } from './cpu-segment.js';
import { HostRanges } from './host-ranges.js';
import { RetiredRanges } from './retired-ranges.js';

/** How a device locks pages in memory. */
export interface PageLock {
  /** @throws ERR_MEM_NATIVE when the system refuses */
  lock(base: DevicePtr, bytes: number): void;
  /** Undoes a lock, when nothing works on the pages any more. @throws ERR_MEM_NATIVE */
  unlock(base: DevicePtr, bytes: number): void;
  /** Told the first time that a lock is refused. */
  refused(event: PinFailedEvent): void;
}

/**
 * Segments of this machine's memory, from the C library; pinned ones in whole pages that a device locks.
 *
 * A segment that was viewed goes back to the C library when no array over it is left. The memory of whole pages goes back
 * at once; a segment that shares its pages, and any on Windows, serves a request of the same size meanwhile.
 */
export class HostSegments {
  readonly ranges = new HostRanges();
  readonly #pages: PageLock;
  readonly #heap: NativeHeap;
  readonly #kept = new RetiredRanges(0);
  #liveBytes = 0;
  #pinFailures = 0;

  /** @param heap - where segments come from */
  constructor(pages: PageLock, heap: NativeHeap) {
    this.#pages = pages;
    this.#heap = heap;
  }

  /** Bytes of the live segments, as they were asked for. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Bytes of freed segments that hold memory until no array over them is left. */
  get keptBytes(): number {
    return this.#kept.bytes;
  }

  /** How often the system refused to lock pages. */
  get pinFailures(): number {
    return this.#pinFailures;
  }

  /**
   * Allocates a segment that is not pinned. Its content is undefined. Cost: O(log n) and a call of the C library.
   *
   * @returns undefined when there is no room, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT
   */
  allocate(bytes: number, alignment: number): CpuSegment | undefined {
    return this.#allocate(bytes, alignment, false);
  }

  /** As {@link allocate}, in whole pages, which are locked. Where the system refuses, they are handed out as they are. */
  allocatePinned(bytes: number, alignment: number): CpuSegment | undefined {
    const segment = this.#allocate(bytes, alignment, true);
    if (segment === undefined) return undefined;
    try {
      this.#pages.lock(segment.base, segment.place.mappedBytes);
      segment.locked = true;
    } catch (error) {
      this.#pinFailed(segment, error);
    }
    return segment;
  }

  /** Frees a segment. @throws ERR_MEM_UNKNOWN_POINTER unless one of that kind starts at `ptr` */
  free(ptr: DevicePtr, pinned: boolean): void {
    const range = this.ranges.at(ptr);
    if (!(range instanceof CpuSegment) || range.pinned !== pinned)
      throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    this.#free(range);
  }

  #allocate(bytes: number, alignment: number, pinned: boolean): CpuSegment | undefined {
    checkBytes(bytes);
    checkAlignment(alignment);
    if (bytes === 0) return undefined;
    const place = segmentPlace(bytes, pinned ? Math.max(alignment, pageBytes()) : alignment);
    const key = placeKey(place);
    const again = this.#kept.take(key, place.mappedBytes) ?? this.ranges.retired.take(key, place.mappedBytes);
    const base = again?.base ?? (this.#heap.allocate(place.mappedBytes, place.alignment, pinned) as DevicePtr);
    if (base === 0) return undefined;
    const segment = new CpuSegment(base, bytes, place, pinned);
    if (again !== undefined) segment.replace(again.held);
    this.ranges.add(segment);
    this.#liveBytes += bytes;
    return segment;
  }

  #free(segment: CpuSegment): void {
    const { base, place } = segment;
    const heap = this.#heap;
    if (segment.locked) this.#pages.unlock(base, place.mappedBytes);
    segment.locked = false;
    if (!segment.viewed) heap.free(base);
    else if (segment.ownsPages && process.platform !== 'win32')
      this.ranges.retire(segment, placeKey(place), place.mappedBytes, heap.free);
    else this.#kept.put(segment, placeKey(place), place.mappedBytes, heap.free);
    this.ranges.remove(segment);
    this.#liveBytes -= segment.bytes;
  }

  #pinFailed(segment: CpuSegment, error: unknown): void {
    this.#pinFailures++;
    if (this.#pinFailures > 1) return;
    const reason = error instanceof Error ? error.message : String(error);
    try {
      this.#pages.refused({ ptr: segment.base, bytes: segment.bytes, reason });
    } catch (thrown) {
      this.#free(segment);
      throw thrown;
    }
  }
}
