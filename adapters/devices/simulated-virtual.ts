import type { VirtualMemory } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, devicePtr, isPowerOfTwo, NULL_PTR } from '../../src/core/units.js';
import type { DeviceBudget } from './device-budget.js';
import { badArgument as bad } from './range-checks.js';
import type { SimulatedCalls } from './simulated-calls.js';
import { SimulatedSpace } from './simulated-space.js';
import { checkGranular, PageStates } from './virtual-checks.js';

interface Reservation {
  readonly base: DevicePtr;
  readonly pages: PageStates;
  readonly device: number;
  readonly budget: DeviceBudget;
}

/** What simulated virtual memory is made of. */
export interface SimulatedVirtualParts {
  readonly granularityBytes: number;
  readonly calls: SimulatedCalls;
  readonly activeDevice: () => number;
  readonly budgetOf: (device: number) => DeviceBudget;
  readonly start: number;
  readonly end: number;
}

/** Reserve and commit without memory: addresses cost nothing, committed pages count against their device's capacity. */
export class SimulatedVirtualMemory implements VirtualMemory {
  readonly granularityBytes: number;
  readonly #parts: SimulatedVirtualParts;
  readonly #space: SimulatedSpace;
  // An address is never used twice, so that no key is deleted and set again.
  readonly #reservations = new Map<number, Reservation>();

  /** @throws ERR_MEM_INVALID_ARGUMENT when the granularity is no power of two */
  constructor(parts: SimulatedVirtualParts) {
    if (!isPowerOfTwo(parts.granularityBytes)) throw bad('granularityBytes', parts.granularityBytes, 'a power of two');
    this.granularityBytes = parts.granularityBytes;
    this.#parts = parts;
    this.#space = new SimulatedSpace(parts.start, parts.end);
  }

  /** Bytes that are committed now, on all devices. Cost: O(ranges). */
  get committedBytes(): number {
    let bytes = 0;
    for (const { pages } of this.#reservations.values()) bytes += pages.committedBytes;
    return bytes;
  }

  /** Tells whether an address is one of this part of the address space. */
  has(ptr: number): boolean {
    return this.#space.has(ptr);
  }

  /** The device that reserved the range of these bytes. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE */
  deviceOf(ptr: number): number {
    return (this.#reservations.get(this.#space.locate(ptr, 1)) as Reservation).device;
  }

  /**
   * Reserves a range on the active device.
   *
   * @returns 0 when no addresses are left, when told to fail, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT
   */
  reserve(bytes: number): DevicePtr {
    checkGranular('bytes', bytes, this.granularityBytes);
    if (this.#parts.calls.enter('reserve', bytes, true) || bytes === 0) return NULL_PTR;
    const base = this.#space.take(bytes, this.granularityBytes);
    if (base === NULL_PTR) return NULL_PTR;
    const device = this.#parts.activeDevice();
    const pages = new PageStates(bytes, this.granularityBytes);
    this.#reservations.set(base, { base, pages, device, budget: this.#parts.budgetOf(device) });
    return base;
  }

  /**
   * Gives a whole range back; the null pointer is ignored.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_DOUBLE_FREE, ERR_MEM_OUT_OF_RANGE
   */
  release(ptr: DevicePtr, bytes: number): void {
    if (ptr === 0 && bytes === 0) return;
    const blockBytes = this.#space.sizeOf(ptr);
    if (bytes !== blockBytes) throw new MemoryError('ERR_MEM_OUT_OF_RANGE', { offsetBytes: 0, bytes, blockBytes });
    this.#parts.calls.enter('release', bytes, false);
    const { pages, budget } = this.#reservations.get(ptr) as Reservation;
    budget.give(pages.committedBytes);
    this.#space.free(ptr);
    this.#reservations.delete(ptr);
  }

  /**
   * Commits pages. Cost: O(log n + pages).
   *
   * @returns false above the capacity, or when told to fail
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_SIZE
   * @throws ERR_MEM_INVALID_ARGUMENT when a page is committed already, or the part is not granular
   */
  commit(ptr: DevicePtr, bytes: number): boolean {
    const { pages, budget, base } = this.#reservationOf(ptr, bytes);
    pages.checkCommit(ptr - base, bytes);
    if (this.#parts.calls.enter('commit', bytes, true) || !budget.admits(bytes)) return false;
    pages.commit(ptr - base, bytes);
    budget.take(bytes);
    return true;
  }

  /**
   * Decommits pages. Cost: O(log n + pages).
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_SIZE
   * @throws ERR_MEM_INVALID_ARGUMENT when a page is not committed, or the part is not granular
   */
  decommit(ptr: DevicePtr, bytes: number): void {
    const { pages, budget, base } = this.#reservationOf(ptr, bytes);
    pages.checkDecommit(ptr - base, bytes);
    this.#parts.calls.enter('decommit', bytes, false);
    pages.decommit(ptr - base, bytes);
    budget.give(bytes);
  }

  /** Throws unless these bytes are committed. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE */
  checkUsable(ptr: number, bytes: number): void {
    const base = this.#space.locate(ptr, bytes);
    (this.#reservations.get(base) as Reservation).pages.checkUsable(ptr - base, bytes);
  }

  #reservationOf(ptr: DevicePtr, bytes: number): Reservation {
    checkGranular('bytes', bytes, this.granularityBytes);
    checkGranular('ptr', devicePtr(ptr), this.granularityBytes);
    return this.#reservations.get(this.#space.locate(ptr, bytes)) as Reservation;
  }
}
