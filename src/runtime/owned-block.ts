import { attempt } from '../core/attempt.js';
import type { Device } from '../core/device.js';
import type { ManagerSlot } from '../core/manager-slot.js';
import type { MemoryHost } from '../core/memory-host.js';
import type { Reclaimable } from '../core/process-state.js';
import type { DevicePtr } from '../core/units.js';

/** The block that one handle owns, or that several share. It outlives handles that are dropped, and then frees itself. */
export class OwnedBlock implements Reclaimable {
  /** How many handles have it. */
  holders = 1;
  readonly #ticket: number;

  constructor(
    readonly host: MemoryHost,
    readonly device: Device,
    readonly slot: ManagerSlot,
    readonly ptr: DevicePtr,
    readonly bytes: number,
    readonly onFreed: (() => void) | undefined = undefined,
  ) {
    this.#ticket = slot.ticketOf(ptr);
  }

  /** True when the block was given back without its holders: the runtime was closed, or an arena was reset. */
  get gone(): boolean {
    return this.slot.closed || this.slot.ticketOf(this.ptr) !== this.#ticket;
  }

  /**
   * Counts one handle less; the last one frees the block. The handle is empty by then, and has its block again when this
   * throws: the free may call back, and {@link onFreed} does.
   *
   * @returns whether that was the last one: the caller calls {@link onFreed} once its handle is gone
   */
  release(): boolean {
    this.holders--;
    try {
      if (this.holders === 0 && !this.gone) this.slot.unlock(this.ptr, true);
    } catch (error) {
      this.holders++;
      throw error;
    }
    return this.holders === 0;
  }

  /** Releases for a handle that could not be made. The free is made again at a cleanup when it fails. */
  abandon(): void {
    this.slot.ensureFreed(() => this.release());
  }

  /**
   * Releases for a handle that was dropped, and reports the leak when that freed the block. The free is made again at a cleanup
   * when it fails, which nobody can catch here.
   */
  reclaim(): void {
    this.slot.ensureFreed(() => {
      if (this.gone) return;
      const site = this.slot.siteOf(this.ptr);
      if (!this.release()) return;
      attempt(() => this.onFreed?.());
      attempt(() => this.host.events.emit('leak', { slot: this.slot.kind, ptr: this.ptr, bytes: this.bytes, site }));
    });
  }
}
