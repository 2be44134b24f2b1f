import type { Device } from '../../src/core/device.js';
import { checkArgument } from '../../src/core/errors.js';
import { type DevicePtr, isPowerOfTwo } from '../../src/core/units.js';

/** What a device must do so that guards can be written and read. */
export type GuardMemory = Pick<Device, 'read' | 'fill'>;

/** What guards consist of. @see Source: Microsoft C runtime, the debug heap's no man's land */
export const CANARY_BYTE = 0xfd;
/** What freed blocks are filled with. @see Source: Microsoft C runtime, the debug heap's dead memory */
export const POISON_BYTE = 0xdd;
/** Bytes of a guard on each side of a block, unless a program says otherwise. */
export const DEFAULT_GUARD_BYTES = 64;

/** Overwritten bytes on one side of a block. */
export interface Damage {
  readonly side: 'before' | 'after';
  /** From the block's start to the first overwritten byte: negative before the block, at least its bytes behind it. */
  readonly offsetBytes: number;
  readonly damagedBytes: number;
}

/** Less would take the alignment of numbers away. */
const MIN_GUARD_BYTES = 16;

/** Writes and reads the guards that lie directly before and behind blocks. */
export class Guards {
  readonly #memory: GuardMemory;
  /** What a guard holds that nobody wrote over. */
  readonly #whole: Uint8Array;
  /** What one holds that is looked at. */
  readonly #found: Uint8Array;

  /** @throws ERR_MEM_INVALID_ARGUMENT */
  constructor(
    memory: GuardMemory,
    readonly bytes: number,
  ) {
    const isSize = isPowerOfTwo(bytes) && bytes >= MIN_GUARD_BYTES;
    checkArgument(isSize, 'guardBytes', bytes, `a power of two from ${MIN_GUARD_BYTES} on`);
    const isMemory = typeof memory?.read === 'function' && typeof memory.fill === 'function';
    checkArgument(isMemory, 'memory', memory, 'the device, or an object with read and fill');
    this.#memory = memory;
    this.#whole = new Uint8Array(bytes).fill(CANARY_BYTE);
    this.#found = new Uint8Array(bytes);
  }

  /** Writes both guards. Cost: O(guard). */
  write(ptr: number, blockBytes: number): void {
    this.#memory.fill((ptr - this.bytes) as DevicePtr, CANARY_BYTE, this.bytes);
    this.#memory.fill((ptr + blockBytes) as DevicePtr, CANARY_BYTE, this.bytes);
  }

  /** Overwrites a block that is about to be freed. Cost: O(block). */
  poison(ptr: number, blockBytes: number): void {
    this.#memory.fill(ptr as DevicePtr, POISON_BYTE, blockBytes);
  }

  /** The damage of a block's guards, that before it first; undefined when they are whole. Cost: O(guard). */
  damageOf(ptr: number, blockBytes: number): Damage | undefined {
    return this.#damage(ptr, -this.bytes, 'before') ?? this.#damage(ptr, blockBytes, 'after');
  }

  #damage(ptr: number, offset: number, side: 'before' | 'after'): Damage | undefined {
    const guard = this.#found;
    this.#memory.read((ptr + offset) as DevicePtr, guard);
    if (Buffer.compare(guard, this.#whole) === 0) return undefined;
    const isDamaged = (byte: number) => byte !== CANARY_BYTE;
    return { side, offsetBytes: offset + guard.findIndex(isDamaged), damagedBytes: guard.filter(isDamaged).length };
  }
}
