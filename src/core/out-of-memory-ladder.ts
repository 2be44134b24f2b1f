import { attempt } from './attempt.js';
import { MemoryError } from './errors.js';
import type { ManagerSlotOptions, SlotSeats } from './slot-seats.js';
import { type DevicePtr, NULL_PTR } from './units.js';

/**
 * What a slot does when its active manager has no memory, though that has given its own cache back: all managers of the
 * slot give theirs back, then `oom` listeners may free some. After each that may have made room, one more try.
 */
export class OutOfMemoryLadder {
  readonly #seats: SlotSeats;
  readonly #options: ManagerSlotOptions;
  #asking = false;

  constructor(seats: SlotSeats, options: ManagerSlotOptions) {
    this.#seats = seats;
    this.#options = options;
  }

  /**
   * Climbs the steps until `tryAgain` gives memory. What is not for want of memory ends the climb.
   *
   * @param failure - what the first try threw
   * @param tryAgain - allocates once more; null or a throw means that there is no room yet
   * @throws the last failure
   */
  climb(failure: unknown, bytes: number, tryAgain: () => DevicePtr): DevicePtr {
    let error = failure;
    if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
    const cachedHelps = error.facts.quota === undefined;
    for (const makeRoom of [() => cachedHelps && this.#giveCachedBack(), () => this.#askListeners(bytes)]) {
      try {
        if (!makeRoom()) continue;
        const ptr = tryAgain();
        if (ptr !== NULL_PTR) return ptr;
      } catch (again) {
        error = again;
        if (!MemoryError.is(again, 'ERR_MEM_OUT_OF_MEMORY')) break;
      }
    }
    throw error;
  }

  /** The error for a manager that answers null instead of throwing. */
  outOfMemory(requestedBytes: number): MemoryError {
    const { natives } = this.#options;
    const device = natives.getActiveDeviceId();
    const seat = this.#seats.active;
    const stats = seat?.manager.getMemoryStats(device);
    return new MemoryError('ERR_MEM_OUT_OF_MEMORY', {
      requestedBytes,
      allocatedBytes: stats?.allocatedBytes.current ?? 0,
      reservedBytes: stats?.reservedBytes.current ?? seat?.ledger.reservedBytes ?? 0,
      capacityBytes: natives.getMaxMemorySize(device),
      device,
    });
  }

  #giveCachedBack(): boolean {
    const before = this.#seats.reservedBytes;
    for (const seat of this.#seats.all()) {
      this.#seats.observers.cleanup(seat.handle);
      attempt(() => seat.manager.signalMemoryCleanup());
    }
    return this.#seats.reservedBytes < before;
  }

  /** A listener that runs out of memory itself is not asked again. */
  #askListeners(requestedBytes: number): boolean {
    const manager = this.#seats.active?.manager;
    if (manager === undefined || this.#asking) return false;
    const { kind, natives, events } = this.#options;
    this.#asking = true;
    try {
      return events.emit('oom', { slot: kind, manager, requestedBytes, device: natives.getActiveDeviceId() });
    } finally {
      this.#asking = false;
    }
  }
}
