import { unlessRefused } from '../../src/core/attempt.js';
import { checkArgument, MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import {
  discardPages,
  MAP_ANONYMOUS,
  MAP_NORESERVE,
  MAP_PRIVATE,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  pageBytes,
  protectPages,
} from '../os/mapping.js';
import { mapEndingPages, unmapThreadPages } from '../os/thread-memory.js';
import { HostRange, type HostRanges } from './host-ranges.js';
import { PagedMemory, PageStates } from './paged-memory.js';

const SMALLEST_PAGE_BYTES = 4096;

/** An address range that the CPU device reserved. */
class ReservedRange extends HostRange {
  readonly pages: PageStates;

  constructor(base: DevicePtr, bytes: number, granularityBytes: number) {
    super(base, bytes);
    this.pages = new PageStates(bytes, granularityBytes);
  }

  override checkUsable(offset: number, bytes: number): void {
    this.pages.checkUsable(offset, bytes);
  }

  protected override prepareView(): void {
    // An array's buffer spans the whole range: pages that nobody committed must be safe to touch too.
    protectPages(this.base, this.bytes, PROT_READ | PROT_WRITE);
  }
}

/**
 * Reserve and commit on the CPU, by mmap, mprotect and madvise. Ranges start at a multiple of the granularity.
 *
 * A commit makes pages usable, up to the device's capacity; the system backs each when it is first touched. A decommit gives the memory back, but
 * the pages stay mapped and read as zero, so that arrays over them never crash.
 *
 * In a worker on glibc no range is larger than the machine's memory, mostly: it would outlive the worker's thread.
 */
export class CpuVirtualMemory extends PagedMemory<ReservedRange> {
  /**
   * @param admits - tells whether so many bytes are left of the device's capacity
   * @throws ERR_MEM_INVALID_ARGUMENT when the granularity is no positive multiple of 4 KiB
   */
  constructor(
    readonly ranges: HostRanges,
    granularityBytes: number,
    readonly admits: (bytes: number) => boolean,
  ) {
    super(granularityBytes);
    checkGranularity(granularityBytes, SMALLEST_PAGE_BYTES);
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT when the granularity is no multiple of this system's pages */
  protected override reserveRange(bytes: number): DevicePtr {
    // Only the system knows its page size, and a constructor does not ask it.
    checkGranularity(this.granularityBytes, pageBytes());
    if (bytes === 0) return NULL_PTR;
    const again = this.ranges.retired.take(this.#keyOf(bytes), bytes);
    const base = again?.base ?? this.#map(bytes);
    if (base === NULL_PTR) return NULL_PTR;
    const range = new ReservedRange(base, bytes, this.granularityBytes);
    if (again !== undefined) range.replace(again.held);
    this.ranges.insert(range);
    return base;
  }

  protected override releaseRange(range: ReservedRange): void {
    const { base, bytes } = range;
    const unmap = () => unmapThreadPages(base, bytes);
    if (range.viewed) this.ranges.retire(range, this.#keyOf(bytes), bytes, unmap);
    else unmap();
    this.ranges.remove(range.base);
  }

  protected override rangeAt(ptr: DevicePtr): ReservedRange {
    return this.ranges.startingAt(ptr, ReservedRange);
  }

  protected override rangeOf(ptr: DevicePtr): ReservedRange {
    return this.ranges.around(ptr, ReservedRange);
  }

  protected override commitPages(range: ReservedRange, offset: number, bytes: number): boolean {
    if (!this.admits(bytes)) return false;
    // Pages that were decommitted, and all of a range that was viewed, are writable already.
    if (range.viewed || !range.pages.any(PageStates.fresh, offset, bytes)) return true;
    const protect = () => protectPages(range.base + offset, bytes, PROT_READ | PROT_WRITE) ?? true;
    return unlessRefused(isNative, protect) ?? false;
  }

  protected override decommitPages(range: ReservedRange, offset: number, bytes: number): void {
    if (bytes > 0) discardPages(range.base + offset, bytes);
  }

  #keyOf(bytes: number): string {
    return `reserved ${bytes}/${this.granularityBytes}`;
  }

  #map(bytes: number): DevicePtr {
    const options = { protection: PROT_NONE, flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE };
    return (unlessRefused(isNative, () => mapEndingPages(bytes, options, this.granularityBytes)) ?? NULL_PTR) as DevicePtr;
  }
}

const isNative = (error: unknown) => MemoryError.is(error, 'ERR_MEM_NATIVE');

function checkGranularity(value: number, page: number): void {
  const isMultiple = Number.isSafeInteger(value) && value > 0 && value % page === 0;
  checkArgument(isMultiple, 'granularityBytes', value, `a positive multiple of ${page} bytes`);
}
