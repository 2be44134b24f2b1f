import { attempt } from '../../../src/core/attempt.js';
import type { VirtualMemory } from '../../../src/core/device-interface.js';
import { MemoryError } from '../../../src/core/errors.js';
import { type DevicePtr, NULL_PTR } from '../../../src/core/units.js';
import type { LiveRanges } from '../live-ranges.js';
import { checkGranular, checkWhole, granularOffset } from '../virtual-checks.js';
import { type GpuRange, GpuReservation } from './gpu-ranges.js';
import type { GpuRuntime } from './gpu-runtime.js';

/**
 * Reserve and commit on a GPU, through the driver.
 *
 * An unmap must match its mapping exactly, but a manager takes back any part of what it committed: so each page is a
 * mapping of its own. Unmapping does not wait for work on streams: a decommit waits for all of the device's first.
 */
export class GpuVirtualMemory implements VirtualMemory {
  readonly granularityBytes: number;
  readonly #runtime: GpuRuntime;
  readonly #ranges: LiveRanges<GpuRange>;
  #committedBytes = 0;

  constructor(runtime: GpuRuntime, ranges: LiveRanges<GpuRange>, granularityBytes: number) {
    this.#runtime = runtime;
    this.#ranges = ranges;
    this.granularityBytes = granularityBytes;
  }

  /** Bytes that are committed now, on all devices. */
  get committedBytes(): number {
    return this.#committedBytes;
  }

  /**
   * Reserves addresses for the active device.
   *
   * @returns 0 when none are left, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE
   */
  reserve(bytes: number): DevicePtr {
    checkGranular('bytes', bytes, this.granularityBytes);
    if (bytes === 0) return NULL_PTR;
    const device = this.#runtime.activeDevice;
    const base = this.#runtime.on(device, () => this.#runtime.driver.reserve(bytes)) as DevicePtr;
    if (base !== NULL_PTR) this.#ranges.add(new GpuReservation(base, bytes, device, this.granularityBytes));
    return base;
  }

  /**
   * Gives a range back, committed pages first; the null pointer is ignored.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE unless it is a whole one, ERR_MEM_NATIVE
   */
  release(ptr: DevicePtr, bytes: number): void {
    if (ptr === 0 && bytes === 0) return;
    const range = this.#ranges.at(ptr);
    if (!(range instanceof GpuReservation)) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    checkWhole(range, bytes);
    const page = this.granularityBytes;
    if (range.pages.committedBytes > 0) this.#finishWork(range);
    for (let offset = 0; offset < bytes && range.pages.committedBytes > 0; offset += page) {
      if (!range.pages.allCommitted(offset, page)) continue;
      this.#runtime.driver.unmap(ptr + offset, page);
      range.pages.decommit(offset, page);
      this.#committedBytes -= page;
    }
    this.#unmapStuck(range, 0, bytes);
    this.#runtime.driver.addressFree(ptr, bytes);
    this.#ranges.remove(range);
  }

  /**
   * Backs pages with memory. Cost: O(log n), and four native calls a page.
   *
   * @returns false when the device has no room
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_SIZE, ERR_MEM_NATIVE
   * @throws ERR_MEM_INVALID_ARGUMENT when a page is committed already, or the part is not granular
   */
  commit(ptr: DevicePtr, bytes: number): boolean {
    const range = this.#reserved(ptr);
    const offset = granularOffset(range, { base: ptr, bytes }, this.granularityBytes);
    range.pages.checkCommit(offset, bytes);
    if (bytes === 0) return true;
    if (!this.#runtime.on(range.device, () => this.#map(range, offset, bytes))) return false;
    range.pages.commit(offset, bytes);
    this.#committedBytes += bytes;
    return true;
  }

  /**
   * Takes the memory of pages away, after all work of the device. Cost: O(log n), and a native call a page.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_SIZE
   * @throws ERR_MEM_INVALID_ARGUMENT when a page is not committed, or the part is not granular
   * @throws ERR_MEM_NATIVE when the driver refuses the first page; a later refusal becomes a process warning
   */
  decommit(ptr: DevicePtr, bytes: number): void {
    const range = this.#reserved(ptr);
    const offset = granularOffset(range, { base: ptr, bytes }, this.granularityBytes);
    range.pages.checkDecommit(offset, bytes);
    if (bytes === 0) return;
    const page = this.granularityBytes;
    this.#finishWork(range);
    this.#runtime.driver.unmap(ptr, page);
    // The first page is gone: from here on the call has succeeded.
    this.#unmapAll(range, offset + page, bytes - page);
    range.pages.decommit(offset, bytes);
    this.#committedBytes -= bytes;
  }

  /** Maps pages, all or none. @returns whether there was room */
  #map(range: GpuReservation, offset: number, bytes: number): boolean {
    this.#unmapStuck(range, offset, bytes);
    let mapped = 0;
    let isDone = false;
    try {
      while (mapped < bytes && this.#mapPage(range, offset + mapped)) mapped += this.granularityBytes;
      if (mapped === bytes) {
        this.#runtime.driver.setAccess(range.base + offset, bytes, range.device);
        isDone = true;
      }
    } finally {
      if (!isDone) this.#unmapAll(range, offset, mapped);
    }
    return isDone;
  }

  /** Maps memory of its own to a page. @returns whether there was room */
  #mapPage(range: GpuReservation, offset: number): boolean {
    const { driver, leftovers } = this.#runtime;
    const page = this.granularityBytes;
    const handle = driver.create(page, range.device);
    if (handle === undefined) return false;
    try {
      driver.map(range.base + offset, page, handle);
    } finally {
      // From here on the mapping keeps the memory.
      leftovers.drop(() => driver.releaseHandle(handle));
    }
    return true;
  }

  /** Unmaps pages though another call has failed or already succeeded: what the driver refuses is tried again later. */
  #unmapAll(range: GpuReservation, offset: number, bytes: number): void {
    const page = this.granularityBytes;
    for (let at = offset; at < offset + bytes; at += page) {
      range.stuck.add(at);
      attempt(() => this.#unmapStuck(range, at, page));
    }
  }

  #unmapStuck(range: GpuReservation, offset: number, bytes: number): void {
    for (const at of range.stuck) {
      if (at < offset || at >= offset + bytes) continue;
      this.#runtime.driver.unmap(range.base + at, this.granularityBytes);
      range.stuck.delete(at);
    }
  }

  #finishWork({ device }: GpuReservation): void {
    this.#runtime.leftovers.retry();
    this.#runtime.on(device, () => this.#runtime.deviceSynchronize());
  }

  #reserved(ptr: DevicePtr): GpuReservation {
    const range = this.#ranges.containing(ptr);
    if (range instanceof GpuReservation) return range;
    throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
  }
}
