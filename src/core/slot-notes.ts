import type { NativeFunctions } from './device-interface.js';
import { MemoryError } from './errors.js';
import type { SeatedManager } from './seated-manager.js';
import type { SlotSeats } from './slot-seats.js';
import { type DevicePtr, NULL_PTR } from './units.js';

/** Tells the call log and the observers of a slot what its calls came to. */
export class SlotNotes {
  readonly #seats: SlotSeats;
  readonly #natives: NativeFunctions;

  constructor(seats: SlotSeats, natives: NativeFunctions) {
    this.#seats = seats;
    this.#natives = natives;
  }

  /** Notes an allocation of a manager that is watched. */
  alloc(seat: SeatedManager, ptr: DevicePtr, bytes: number, userLock: boolean, stream: number): void {
    if (seat.log.enabled) seat.log.alloc(bytes, userLock, ptr);
    if (!this.#seats.observers.any) return;
    const { direct } = this.#seats.observers;
    try {
      direct.alloc(seat.handle, ptr, bytes, this.#natives.getActiveDeviceId(), stream);
    } catch (error) {
      this.#seats.observers.drop(direct, error);
    }
  }

  /** Notes an allocation that failed; observers hear of it when that was for want of memory. */
  refusal(error: unknown, bytes: number, userLock: boolean, stream: number): void {
    const seat = this.#seats.active;
    seat?.log.line('alloc', bytes, userLock ? 1 : 0, NULL_PTR);
    const { observers } = this.#seats;
    if (!observers.any || !MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) return;
    observers.outOfMemory(seat?.handle ?? 0, bytes, error.facts.device, stream);
  }

  /** Notes a free of the null pointer: the block of every allocation of 0 bytes. */
  nullFree(call: string, userUnlock?: number): void {
    const seat = this.#seats.active;
    if (seat?.log.watched !== true) return;
    seat.log.line(call, NULL_PTR, userUnlock);
    this.#seats.observers.free(seat.handle, NULL_PTR);
  }
}
