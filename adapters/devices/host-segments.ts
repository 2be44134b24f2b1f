import { MemoryError } from '../../src/core/errors.js';
import type { PinFailedEvent } from '../../src/core/events.js';
import { checkAlignment, checkBytes, type DevicePtr } from '../../src/core/units.js';
import { alignedAlloc, alignedFree } from '../os/aligned-memory.js';
import { pageBytes } from '../os/mapping.js';
import { CpuSegment, KeptSegments, segmentPlace } from './cpu-segment.js';
import { HostRanges } from './host-ranges.js';

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
 * A segment that was ever viewed is never given to the C library again, so that arrays over it stay safe: its pages are
 * replaced by empty ones, or, where it shares its pages and on Windows, it is kept for a later request of the same size.
 */
export class HostSegments {
  readonly ranges = new HostRanges();
  readonly #pages: PageLock;
  readonly #kept = new KeptSegments();
  #liveBytes = 0;
  #pinFailures = 0;

  constructor(pages: PageLock) {
    this.#pages = pages;
  }

  /** Bytes of the live segments, as they were asked for. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Bytes of freed segments that wait for a request of the same size. */
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
    const kept = this.#kept.take(place);
    const base = kept ?? (alignedAlloc(place.mappedBytes, place.alignment) as DevicePtr);
    if (base === 0) return undefined;
    const segment = new CpuSegment(base, bytes, place, pinned);
    segment.viewed = kept !== undefined;
    this.ranges.add(segment);
    this.#liveBytes += bytes;
    return segment;
  }

  #free(segment: CpuSegment): void {
    const { base, place } = segment;
    if (segment.locked) this.#pages.unlock(base, place.mappedBytes);
    segment.locked = false;
    if (!segment.viewed) alignedFree(base);
    else if (segment.ownsPages && process.platform !== 'win32') this.ranges.retire(base, place.mappedBytes);
    else this.#kept.put(segment);
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
