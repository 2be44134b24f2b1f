import { ensure } from '../../src/blocks/ensure.js';
import type { DevicePtr } from '../../src/core/units.js';
import { LiveBlocks } from './live-blocks.js';
import { NumberColumn } from './number-column.js';

/** The live blocks between guards: found by the address that the program knows, with that of the inner block. */
export class GuardedBlocks extends LiveBlocks {
  readonly #fronts = new NumberColumn();
  readonly #locks = new NumberColumn();
  readonly #devices = new NumberColumn();

  /** @param front - bytes from the inner block's start to the program's */
  enter(base: DevicePtr, bytes: number, front: number, locks: number, device: number): number {
    const row = this.add(base + front, bytes, bytes);
    this.#fronts.set(row, front);
    this.#locks.set(row, locks);
    this.#devices.set(row, device);
    return row;
  }

  /** The inner block's address. */
  baseOf(row: number): DevicePtr {
    return (this.addressOf(row) - this.#fronts.get(row)) as DevicePtr;
  }

  locksOf(row: number): number {
    return this.#locks.get(row);
  }

  setLocks(row: number, locks: number): void {
    this.#locks.set(row, locks);
  }

  deviceOf(row: number): number {
    return this.#devices.get(row);
  }

  override checkInvariants(): void {
    super.checkInvariants();
    for (const row of this) {
      ensure(this.locksOf(row) !== 0, `block in row ${row} has a lock`);
      ensure(this.baseOf(row) < this.addressOf(row), `block in row ${row} has a guard before it`);
    }
  }
}
