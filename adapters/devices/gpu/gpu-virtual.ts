import { attempt } from '../../../src/core/attempt.js';
import { type DevicePtr, NULL_PTR } from '../../../src/core/units.js';
import type { LiveRanges } from '../live-ranges.js';
import { PagedMemory } from '../paged-memory.js';
import type { GpuLimits } from './gpu-limit.js';
import { type GpuRange, GpuReservation } from './gpu-ranges.js';
import type { GpuRuntime } from './gpu-runtime.js';

const READ_AND_WRITE = 3;

/**
 * Reserve and commit on a GPU, through the driver.
 *
 * An unmap must match its mapping exactly, but a manager takes back any part of what it committed: so each page is a
 * mapping of its own. Unmapping does not wait for work on streams: a decommit waits for all of the device's first, unless
 * its caller has waited for the streams that used the pages.
 */
export class GpuVirtualMemory extends PagedMemory<GpuReservation> {
  readonly #runtime: GpuRuntime;
  readonly #ranges: LiveRanges<GpuRange>;
  readonly #limits: GpuLimits;

  constructor(runtime: GpuRuntime, ranges: LiveRanges<GpuRange>, limits: GpuLimits, granularityBytes: number) {
    super(granularityBytes);
    this.#runtime = runtime;
    this.#ranges = ranges;
    this.#limits = limits;
  }

  /** True: the card waits while the tables of its addresses change. */
  override get decommitStops(): boolean {
    return true;
  }

  protected override reserveRange(bytes: number): DevicePtr {
    if (bytes === 0) return NULL_PTR;
    const device = this.#runtime.activeDevice;
    const base = this.#runtime.on(device, () => this.#runtime.driver.reserve(bytes)) as DevicePtr;
    if (base !== NULL_PTR) this.#ranges.insert(new GpuReservation(base, bytes, device, this.granularityBytes));
    return base;
  }

  protected override releaseRange(range: GpuReservation): void {
    const { base, bytes, pages } = range;
    const page = this.granularityBytes;
    if (pages.committedBytes > 0) this.#finishWork(range);
    for (let offset = 0; offset < bytes && pages.committedBytes > 0; offset += page) {
      if (!pages.allCommitted(offset, page)) continue;
      this.#runtime.driver.call('MemUnmap', base + offset, page);
      this.markDecommitted(range, offset, page);
    }
    this.#unmapStuck(range, 0, bytes);
    this.#runtime.driver.call('MemAddressFree', base, bytes);
    this.#ranges.remove(range.base);
  }

  protected override rangeAt(ptr: DevicePtr): GpuReservation {
    return this.#ranges.startingAt(ptr, GpuReservation);
  }

  protected override rangeOf(ptr: DevicePtr): GpuReservation {
    return this.#ranges.around(ptr, GpuReservation);
  }

  /** Maps pages, all or none; four native calls a page. */
  protected override commitPages(range: GpuReservation, offset: number, bytes: number): boolean {
    if (bytes === 0) return true;
    const limit = this.#limits.of(range.device);
    if (limit?.admits(bytes) === false) return false;
    const isDone = this.#runtime.on(range.device, () => this.#map(range, offset, bytes));
    if (isDone) limit?.take(bytes);
    return isDone;
  }

  /** Unmaps pages when no work uses them. What the driver refuses after the first page becomes a process warning. */
  protected override decommitPages(range: GpuReservation, offset: number, bytes: number, isIdle: boolean): void {
    if (bytes === 0) return;
    const page = this.granularityBytes;
    if (isIdle) this.#runtime.leftovers.retry();
    else this.#finishWork(range);
    this.#runtime.driver.call('MemUnmap', range.base + offset, page);
    // The first page is gone: from here on the call has succeeded.
    this.#unmapAll(range, offset + page, bytes - page);
  }

  protected override markDecommitted(range: GpuReservation, offset: number, bytes: number): void {
    super.markDecommitted(range, offset, bytes);
    this.#limits.of(range.device)?.give(bytes);
  }

  /** Maps pages, all or none. @returns whether there was room */
  #map(range: GpuReservation, offset: number, bytes: number): boolean {
    this.#unmapStuck(range, offset, bytes);
    let mapped = 0;
    let isDone = false;
    try {
      while (mapped < bytes && this.#mapPage(range, offset + mapped)) mapped += this.granularityBytes;
      if (mapped === bytes) {
        this.#runtime.driver.setAccess(range.base + offset, bytes, range.device, READ_AND_WRITE);
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
      driver.call('MemMap', range.base + offset, page, 0, handle, 0);
    } finally {
      // From here on the mapping keeps the memory.
      leftovers.drop(() => driver.call('MemRelease', handle));
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
      this.#runtime.driver.call('MemUnmap', range.base + at, this.granularityBytes);
      range.stuck.delete(at);
    }
  }

  #finishWork({ device }: GpuReservation): void {
    this.#runtime.leftovers.retry();
    this.#runtime.on(device, () => this.#runtime.call('DeviceSynchronize'));
  }
}
