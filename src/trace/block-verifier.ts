import type { Device } from '../core/device.js';
import { MemoryError } from '../core/errors.js';
import { type DevicePtr, NULL_PTR } from '../core/units.js';
import type { ReplayWatcher } from './replay-blocks.js';

/** Marks the ends of blocks and checks that the marks are still there: blocks that overlap or move are found out. */
export class BlockVerifier implements ReplayWatcher {
  /** Blocks that were checked. */
  checked = 0;
  readonly #device: Device;
  readonly #ids: Float64Array;
  readonly #views: (Uint8Array | undefined)[];
  #nextId = 0;

  constructor(device: Device, slotCount: number) {
    this.#device = device;
    this.#ids = new Float64Array(slotCount);
    this.#views = new Array<Uint8Array | undefined>(slotCount).fill(undefined);
  }

  /** Writes the first and the last byte of a block that has just been allocated. Cost: one view of the device. */
  allocated(_event: number, slot: number, ptr: DevicePtr, bytes: number): void {
    const id = this.#nextId++;
    this.#ids[slot] = id;
    if (ptr === NULL_PTR) return;
    const view = this.#device.view(ptr, bytes);
    view[bytes - 1] = lastByte(id);
    view[0] = firstByte(id);
    this.#views[slot] = view;
  }

  /** @throws as {@link check} */
  freeing(_event: number, slot: number): void {
    this.check(slot);
  }

  freed(): void {}

  /** @throws ERR_MEM_INVARIANT when the first or the last byte is not what was written */
  check(slot: number): void {
    const view = this.#views[slot];
    if (view === undefined) return;
    this.#views[slot] = undefined;
    const id = this.#ids[slot]!;
    if (view[0] !== firstByte(id)) throw changed(id, 'first', view[0], firstByte(id));
    const last = view.length - 1;
    if (last > 0 && view[last] !== lastByte(id)) throw changed(id, 'last', view[last], lastByte(id));
    this.checked++;
  }
}

// Steps that are odd and differ, so that neighbours in number or address have other bytes.
function firstByte(id: number): number {
  return (id * 167 + 13) & 0xff;
}

function lastByte(id: number): number {
  return (id * 89 + 171) & 0xff;
}

function changed(id: number, which: string, found: number | undefined, written: number): MemoryError {
  return new MemoryError('ERR_MEM_INVARIANT', {
    invariant: `the ${which} byte of allocation ${id} is ${found}, but ${written} was written`,
  });
}
