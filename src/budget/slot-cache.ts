import { statsOf } from '../core/manager-readings.js';
import type { ManagerSlot } from '../core/manager-slot.js';
import { HOST_MEMORY } from '../core/slot-charges.js';
import type { MemberCache } from './budget-member.js';

/** What the managers of some slots cache of one memory. */
export class SlotCache implements MemberCache {
  readonly #slots: readonly ManagerSlot[];
  readonly #deviceId: number;

  constructor(slots: readonly ManagerSlot[], deviceId: number) {
    this.#slots = slots;
    this.#deviceId = deviceId;
  }

  cachedBytes(): number {
    let bytes = 0;
    for (const slot of this.#slots) {
      for (const { manager } of slot.usage()) {
        for (const id of this.#idsOf(slot)) bytes += statsOf(manager, id)?.cachedBytes.current ?? 0;
      }
    }
    return bytes;
  }

  release(wantedBytes: number, mostBytes: number): number {
    let freed = 0;
    for (const slot of this.#slots) {
      for (const id of this.#idsOf(slot)) {
        if (freed >= wantedBytes) return freed;
        freed += slot.releaseCached(id, wantedBytes - freed, mostBytes - freed);
      }
    }
    return freed;
  }

  /** The devices for which managers have it: pinned memory is this machine's, whichever device it was allocated for. */
  #idsOf({ charges, deviceCount }: ManagerSlot): readonly number[] {
    if (charges.memory !== HOST_MEMORY) return [this.#deviceId];
    return Array.from({ length: deviceCount }, (_, id) => id);
  }
}
