import { alignUp } from '../../core/units.js';
import { numbersColumn } from '../event-column.js';
import type { EventBatch } from '../trace-events.js';
import { LivePointers } from './live-pointers.js';

/** Made-up addresses begin above all addresses of processes and of the simulated device. */
const FIRST_MADE_UP = 3 * 2 ** 51;
const ALIGNMENT_BYTES = 512;
/** A made-up block takes no more addresses than this, so that they do not run out. */
const MAX_STEP_BYTES = 2 ** 36;

/**
 * The address of each live block of a trace, for formats that know blocks by address: its own, or a made-up one when the
 * trace has none or the same address is live in another space. A made-up address is used again for the same size.
 */
export class BlockAddresses {
  readonly #ofSlot = numbersColumn();
  readonly #live = new LivePointers();
  readonly #unused = new Map<number, number[]>();
  #next = FIRST_MADE_UP;
  #mixed = false;

  /** @param spacesApart - whether the format tells spaces apart, so that an address may be live in several */
  constructor(readonly spacesApart: boolean) {}

  /** The address of the block that event `i` allocates. */
  take(batch: EventBatch, i: number): number {
    const slot = batch.slots[i]!;
    const bytes = batch.bytes[i]!;
    let address = batch.pointers?.[i] ?? 0;
    if (bytes > 0 && (address === 0 || this.#isLive(address, batch))) address = this.#makeUp(bytes);
    if (!this.spacesApart && address !== 0) this.#live.add(address, slot);
    this.#ofSlot.set(slot, address);
    return address;
  }

  /** The address of the block that event `i` frees. */
  give(batch: EventBatch, i: number): number {
    const address = this.#ofSlot.get(~batch.slots[i]!);
    if (!this.spacesApart && address !== 0) this.#live.free(address);
    if (address >= FIRST_MADE_UP) {
      const step = stepOf(batch.bytes[i]!);
      const unused = this.#unused.get(step) ?? [];
      unused.push(address);
      this.#unused.set(step, unused);
    }
    return address;
  }

  #isLive(address: number, batch: EventBatch): boolean {
    if (this.spacesApart) return false;
    this.#mixed ||= batch.spaces !== undefined;
    return this.#mixed && this.#live.slotOf(address) !== undefined;
  }

  #makeUp(bytes: number): number {
    const step = stepOf(bytes);
    const unused = this.#unused.get(step)?.pop();
    if (unused !== undefined) return unused;
    const address = this.#next;
    this.#next += step;
    return address;
  }
}

function stepOf(bytes: number): number {
  return alignUp(Math.max(1, Math.min(bytes, MAX_STEP_BYTES)), ALIGNMENT_BYTES);
}
