import { writeSync } from 'node:fs';
import { orUndo } from '../../src/core/attempt.js';
import type { Device } from '../../src/core/device.js';
import type { NativePiece } from '../../src/core/native-ledger.js';
import { HOST_MEMORY, SlotCharges } from '../../src/core/slot-charges.js';
import { type DevicePtr, exactBytes, NULL_PTR } from '../../src/core/units.js';
import type { CNumber } from '../ffi/callback.js';
import { GivenUpBlocks } from './given-up-blocks.js';

const STANDARD_ERROR = 2;

/**
 * Memory that a host takes from its device directly, past every manager: for libraries that crash when they are told
 * that there is none.
 */
export class FallbackMemory {
  readonly #device: Device;
  readonly #charges: SlotCharges;
  readonly #blocks = new Map<number, NativePiece>();
  readonly #givenUp = new GivenUpBlocks({ allocated: (ptr) => this.sizeOf(ptr), unlock: (ptr) => this.#free(ptr) });
  #allocs = 0;

  /**
   * @param charges - of the host's slot: what nobody can refuse is charged all the same
   * @defaultValue charges are nobody's
   */
  constructor(device: Device, charges = new SlotCharges(HOST_MEMORY, () => [])) {
    this.#device = device;
    this.#charges = charges;
    charges.include(() => [this.#blocks.values()]);
  }

  /** Blocks that are in use. */
  get liveBlocks(): number {
    return this.#blocks.size;
  }

  /** Bytes that are in use. Cost: O(blocks) */
  get liveBytes(): number {
    return [...this.#blocks.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** How many allocations were served here because a manager refused them. */
  get allocs(): number {
    return this.#allocs;
  }

  /** @returns null when the device itself has nothing left */
  alloc(bytes: number, alignment: number): DevicePtr {
    const ptr = this.#device.nativeAlloc(bytes, alignment);
    if (ptr === NULL_PTR) return ptr;
    const charge = this.#charges.of(0);
    this.#blocks.set(ptr, { bytes, rangeBytes: 0, isOut: true, decommits: 0, device: 0, charge });
    this.#allocs++;
    charge?.force(bytes);
    return ptr;
  }

  /**
   * Allocates for a library that cannot be told that there is no memory. Where the device itself has nothing left, the
   * process aborts with a message instead of crashing in the library.
   *
   * @param bytes - 0 gives a block, too
   * @param library - what the message calls it
   */
  allocOrAbort(bytes: CNumber, alignment: number, library: string): DevicePtr {
    const ptr = typeof bytes === 'bigint' ? NULL_PTR : this.alloc(Math.max(1, bytes), alignment);
    if (ptr !== NULL_PTR) return ptr;
    writeSync(
      STANDARD_ERROR,
      `stowage: ${library} asks for ${exactBytes(Number(bytes))} that the device does not have, and cannot be told so\n`,
    );
    process.abort();
  }

  /**
   * Gives a block back; one that the device refuses is tried again later.
   *
   * @returns false when `ptr` heads none of these
   * @throws what the device throws
   */
  free(ptr: number): boolean {
    const isOurs = this.#blocks.has(ptr);
    if (isOurs) this.#givenUp.free(ptr as DevicePtr);
    return isOurs;
  }

  /** Tries again to free what the device has refused. */
  retryFrees(): void {
    this.#givenUp.retry();
  }

  /** The bytes of a block, 0 if `ptr` heads none of these. */
  sizeOf(ptr: number): number {
    return this.#blocks.get(ptr)?.bytes ?? 0;
  }

  #free(ptr: DevicePtr): void {
    const piece = this.#blocks.get(ptr);
    if (piece === undefined) return;
    const { charge } = piece;
    this.#blocks.delete(ptr);
    orUndo(
      () => this.#device.nativeFree(ptr),
      () => this.#keep(ptr, piece),
    );
    charge?.give(piece.bytes);
  }

  /** Keeps a block that the device refused to take. The host may have joined or left a budget while it was on its way. */
  #keep(ptr: DevicePtr, piece: NativePiece): void {
    const { charge } = piece;
    this.#blocks.set(ptr, piece);
    piece.charge = this.#charges.of(0);
    if (piece.charge === charge) return;
    charge?.give(piece.bytes);
    piece.charge?.force(piece.bytes);
  }
}
