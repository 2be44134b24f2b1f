import { checkArgument } from '../../src/core/errors.js';
import { type DevicePtr, devicePtr, isPowerOfTwo, NULL_PTR } from '../../src/core/units.js';
import type { DeviceCapacity } from './device-capacity.js';
import { PagedMemory, PageStates, type Reservation } from './paged-memory.js';
import type { SimulatedCalls } from './simulated-calls.js';
import type { SimulatedSpace } from './simulated-space.js';

interface SimulatedReservation extends Reservation {
  readonly device: number;
  /** Of its device. */
  readonly capacity: DeviceCapacity;
}

/** What simulated virtual memory is made of. */
export interface SimulatedVirtualParts {
  readonly granularityBytes: number;
  readonly decommitStops: boolean;
  readonly pieces: boolean;
  readonly calls: SimulatedCalls;
  readonly space: SimulatedSpace;
  readonly activeDevice: () => number;
  readonly capacityOf: (device: number) => DeviceCapacity;
}

/**
 * Reserve and commit without memory: addresses cost nothing, committed pages count against their device's capacity.
 * `reserve` gives 0, and `commit` false, also when told to fail.
 */
export class SimulatedVirtualMemory extends PagedMemory<SimulatedReservation> {
  readonly #parts: SimulatedVirtualParts;
  // An address is never used twice, so that no key is deleted and set again.
  readonly #reservations = new Map<number, SimulatedReservation>();

  /** @throws ERR_MEM_INVALID_ARGUMENT when the granularity is no power of two */
  constructor(parts: SimulatedVirtualParts) {
    super(parts.granularityBytes, parts.pieces);
    checkArgument(isPowerOfTwo(parts.granularityBytes), 'granularityBytes', parts.granularityBytes, 'a power of two');
    this.#parts = parts;
  }

  override get decommitStops(): boolean {
    return this.#parts.decommitStops;
  }

  /** Tells whether an address is one of this part of the address space. */
  has(ptr: number): boolean {
    return this.#parts.space.has(ptr);
  }

  /** The device that reserved the range of these bytes. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE */
  deviceOf(ptr: number): number {
    return this.#locate(ptr, 1).device;
  }

  /** Throws unless these bytes are committed. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE */
  checkUsable(ptr: number, bytes: number): void {
    const { base, pages } = this.#locate(ptr, bytes);
    pages.checkUsable(ptr - base, bytes);
  }

  protected override reserveRange(bytes: number): DevicePtr {
    const { calls, space, activeDevice, capacityOf } = this.#parts;
    if (calls.enter('reserve', bytes, true) || bytes === 0) return NULL_PTR;
    const base = space.take(bytes, this.granularityBytes);
    if (base === NULL_PTR) return NULL_PTR;
    const device = activeDevice();
    const pages = new PageStates(bytes, this.granularityBytes);
    this.#reservations.set(base, { base, bytes, pages, device, capacity: capacityOf(device) });
    return base;
  }

  protected override releaseRange({ base, bytes, pages, capacity }: SimulatedReservation): void {
    this.#parts.calls.enter('release', bytes, false);
    capacity.give(pages.committedBytes);
    this.#parts.space.free(base);
    this.#reservations.delete(base);
  }

  protected override rangeAt(ptr: DevicePtr): SimulatedReservation {
    this.#parts.space.sizeOf(ptr); // throws unless a live one starts there
    return this.#reservations.get(ptr)!;
  }

  protected override rangeOf(ptr: DevicePtr): SimulatedReservation {
    return this.#locate(devicePtr(ptr), 0);
  }

  protected override commitPages({ capacity }: SimulatedReservation, _offset: number, bytes: number): boolean {
    if (this.#parts.calls.enter('commit', bytes, true) || !capacity.admits(bytes)) return false;
    capacity.take(bytes);
    return true;
  }

  protected override decommitPages({ capacity }: SimulatedReservation, _offset: number, bytes: number): void {
    this.#parts.calls.enter('decommit', bytes, false);
    capacity.give(bytes);
  }

  #locate(ptr: number, bytes: number): SimulatedReservation {
    return this.#reservations.get(this.#parts.space.locate(ptr, bytes))!;
  }
}
