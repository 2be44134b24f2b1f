import { POISON_BYTE } from '../../managers/decorators/guard-bytes.js';
import type { GuardMemory } from '../../managers/index.js';
import type { DevicePtr } from '../../src/core/units.js';

/** Keeps guards for a device that has addresses only; anything else than a guard it forgets. */
export class FakeGuardMemory implements GuardMemory {
  readonly #guards = new Map<DevicePtr, Uint8Array>();
  poisonedBytes = 0;

  fill(ptr: DevicePtr, value: number, bytes: number): void {
    if (value === POISON_BYTE) this.poisonedBytes += bytes;
    else this.#guards.set(ptr, new Uint8Array(bytes).fill(value));
  }

  read(ptr: DevicePtr, target: Uint8Array): void {
    const guard = this.#guards.get(ptr);
    if (guard?.length !== target.length) throw new Error(`no guard of ${target.length} bytes lies at ${ptr}`);
    target.set(guard);
  }
}
