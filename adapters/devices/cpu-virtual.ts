import type { VirtualMemory } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
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
import { mapThreadPages, unmapThreadPages } from '../os/thread-memory.js';
import { HostRange, type HostRanges } from './host-ranges.js';
import { checkGranular, checkWhole, granularOffset, PageStates } from './virtual-checks.js';

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
 * A commit makes pages usable; the system backs each when it is first touched. A decommit gives the memory back, but
 * the pages stay mapped and read as zero, so that arrays over them never crash.
 */
export class CpuVirtualMemory implements VirtualMemory {
  readonly granularityBytes: number;
  readonly #ranges: HostRanges;

  /** @throws ERR_MEM_INVALID_ARGUMENT when the granularity is no positive multiple of 4 KiB */
  constructor(ranges: HostRanges, granularityBytes: number) {
    if (!Number.isSafeInteger(granularityBytes) || granularityBytes <= 0)
      throw badGranularity(granularityBytes, SMALLEST_PAGE_BYTES);
    if (granularityBytes % SMALLEST_PAGE_BYTES !== 0) throw badGranularity(granularityBytes, SMALLEST_PAGE_BYTES);
    this.granularityBytes = granularityBytes;
    this.#ranges = ranges;
  }

  /**
   * Reserves an address range.
   *
   * @returns 0 when no such range is left, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT when the size, or the granularity on this system, is not granular
   */
  reserve(bytes: number): DevicePtr {
    checkGranular('bytes', bytes, this.granularityBytes);
    // Only the system knows its page size, and a constructor does not ask it.
    const page = pageBytes();
    if (this.granularityBytes % page !== 0) throw badGranularity(this.granularityBytes, page);
    if (bytes === 0) return NULL_PTR;
    const again = this.#ranges.retired.take(this.#keyOf(bytes), bytes);
    const base = again?.base ?? this.#map(bytes);
    if (base === NULL_PTR) return NULL_PTR;
    const range = new ReservedRange(base, bytes, this.granularityBytes);
    if (again !== undefined) range.replace(again.held);
    this.#ranges.add(range);
    return base;
  }

  /**
   * Gives a range back; the null pointer is ignored.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE unless it is a whole one
   */
  release(ptr: DevicePtr, bytes: number): void {
    if (ptr === 0 && bytes === 0) return;
    const range = this.#ranges.at(ptr);
    if (!(range instanceof ReservedRange)) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    checkWhole(range, bytes);
    const unmap = () => unmapThreadPages(ptr, bytes);
    if (range.viewed) this.#ranges.retire(range, this.#keyOf(bytes), bytes, unmap);
    else unmap();
    this.#ranges.remove(range);
  }

  /**
   * Backs pages with memory. Cost: O(log n + pages).
   *
   * @returns false when the system refuses
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_SIZE
   * @throws ERR_MEM_INVALID_ARGUMENT when a page is committed already, or the part is not granular
   */
  commit(ptr: DevicePtr, bytes: number): boolean {
    const range = this.#reserved(ptr);
    const offset = granularOffset(range, { base: ptr, bytes }, this.granularityBytes);
    range.pages.checkCommit(offset, bytes);
    // Pages that were decommitted, and all of a range that was viewed, are writable already.
    if (!range.viewed && range.pages.any(PageStates.fresh, offset, bytes)) {
      try {
        protectPages(ptr, bytes, PROT_READ | PROT_WRITE);
      } catch (error) {
        if (MemoryError.is(error, 'ERR_MEM_NATIVE')) return false;
        throw error;
      }
    }
    range.pages.commit(offset, bytes);
    return true;
  }

  /**
   * Takes the memory of pages away. Cost: O(log n + pages).
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_SIZE
   * @throws ERR_MEM_INVALID_ARGUMENT when a page is not committed, or the part is not granular
   * @throws ERR_MEM_NATIVE when the system refuses
   */
  decommit(ptr: DevicePtr, bytes: number): void {
    const range = this.#reserved(ptr);
    const offset = granularOffset(range, { base: ptr, bytes }, this.granularityBytes);
    range.pages.checkDecommit(offset, bytes);
    if (bytes > 0) discardPages(ptr, bytes);
    range.pages.decommit(offset, bytes);
  }

  #reserved(ptr: DevicePtr): ReservedRange {
    const range = this.#ranges.containing(ptr);
    if (range instanceof ReservedRange) return range;
    throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
  }

  #keyOf(bytes: number): string {
    return `reserved ${bytes}/${this.granularityBytes}`;
  }

  #map(bytes: number): DevicePtr {
    const options = { protection: PROT_NONE, flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE };
    try {
      return mapThreadPages(bytes, options, this.granularityBytes) as DevicePtr;
    } catch (error) {
      if (MemoryError.is(error, 'ERR_MEM_NATIVE')) return NULL_PTR;
      throw error;
    }
  }
}

function badGranularity(value: number, page: number): MemoryError<'ERR_MEM_INVALID_ARGUMENT'> {
  const expected = `a positive multiple of ${page} bytes`;
  return new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'granularityBytes', value: `${value}`, expected });
}
