import type { Device } from '../core/device.js';
import { MemoryError } from '../core/errors.js';
import { type DevicePtr, NULL_PTR } from '../core/units.js';
import type { ReplayWatcher } from './replay-blocks.js';

interface MarkedBlock {
  readonly id: number;
  readonly ptr: DevicePtr;
  readonly bytes: number;
  /** Undefined where the host cannot see the memory. */
  readonly view: Uint8Array | undefined;
}

/** Marks the ends of blocks and checks that the marks are still there. So it finds blocks that overlap or move. */
export class BlockVerifier implements ReplayWatcher {
  /** Blocks that were checked. */
  checked = 0;
  /** The live blocks by slot, those of 0 bytes left out. */
  readonly #blocks: (MarkedBlock | undefined)[] = [];
  /** For memory that the host cannot see. */
  #ends: BlockEnds | undefined;
  #nextId = 0;

  constructor(readonly device: Device) {}

  /**
   * Writes the first and the last byte of a block that has just been allocated. Cost: one view of the device, or two copies
   * where it has none.
   */
  allocated(_event: number, slot: number, ptr: DevicePtr, bytes: number): void {
    const id = this.#nextId++;
    if (ptr === NULL_PTR) return;
    const view = this.#ends === undefined ? this.#viewOf(ptr, bytes) : undefined;
    if (view === undefined) (this.#ends ??= new BlockEnds(this.device)).write(ptr, bytes, firstByte(id), lastByte(id));
    else {
      view[bytes - 1] = lastByte(id);
      view[0] = firstByte(id);
    }
    this.#blocks[slot] = { id, ptr, bytes, view };
  }

  /** @throws ERR_MEM_INVARIANT when the first or the last byte is not what was written */
  freeing(_event: number, slot: number): void {
    const block = this.#blocks[slot];
    if (block === undefined) return;
    this.#blocks[slot] = undefined;
    const { id, ptr, bytes, view } = block;
    const ends = view ?? this.#ends!.read(ptr, bytes, firstByte(id), lastByte(id));
    if (ends[0] !== firstByte(id)) throw changed(id, 'first', ends[0], firstByte(id));
    const last = ends.at(-1);
    if (bytes > 1 && last !== lastByte(id)) throw changed(id, 'last', last, lastByte(id));
    this.checked++;
  }

  /** Frees the pinned memory that it used. */
  dispose(): void {
    this.#ends?.dispose();
    this.#ends = undefined;
  }

  #viewOf(ptr: DevicePtr, bytes: number): Uint8Array | undefined {
    try {
      return this.device.view(ptr, bytes);
    } catch (error) {
      if (MemoryError.is(error, 'ERR_MEM_UNSUPPORTED_PLATFORM')) return undefined;
      throw error;
    }
  }
}

// Odd steps that differ give blocks with neighbouring numbers or addresses different bytes.
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

/** Accesses the first and the last byte of blocks that the host cannot see, by copies through two bytes of pinned memory. */
class BlockEnds {
  readonly #staging: DevicePtr;
  readonly #view: Uint8Array;

  /** @throws ERR_MEM_UNSUPPORTED_PLATFORM for a device whose pinned memory has no bytes either */
  constructor(readonly device: Device) {
    this.#staging = device.pinnedAlloc(2);
    try {
      this.#view = device.view(this.#staging, 2);
    } catch (error) {
      device.pinnedFree(this.#staging);
      throw error;
    }
  }

  /** Writes both bytes. In a block of one byte the first one stays. Cost: two copies. */
  write(ptr: DevicePtr, bytes: number, first: number, last: number): void {
    this.#view[0] = first;
    this.#view[1] = last;
    this.device.copy((ptr + bytes - 1) as DevicePtr, (this.#staging + 1) as DevicePtr, 1);
    this.device.copy(ptr, this.#staging, 1);
  }

  /** Reads both bytes. Cost: two copies. @param first, last - the expected bytes @returns an array that the next call changes */
  read(ptr: DevicePtr, bytes: number, first: number, last: number): Uint8Array {
    // If the device makes no copy, the expected bytes must not be here already.
    this.#view[0] = ~first;
    this.#view[1] = ~last;
    this.device.copy(this.#staging, ptr, 1);
    this.device.copy((this.#staging + 1) as DevicePtr, (ptr + bytes - 1) as DevicePtr, 1);
    return this.#view;
  }

  /** Frees the pinned memory. */
  dispose(): void {
    this.device.pinnedFree(this.#staging);
  }
}
