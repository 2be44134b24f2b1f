import type { Device } from '../core/device.js';
import type { DevicePtr } from '../core/units.js';

/** Reaches the first and the last byte of blocks that the host cannot see: by copies through two bytes of pinned memory. */
export class BlockEnds {
  readonly #device: Device;
  readonly #staging: DevicePtr;
  readonly #view: Uint8Array;

  /** @throws ERR_MEM_UNSUPPORTED_PLATFORM for a device whose pinned memory has no bytes either */
  constructor(device: Device) {
    this.#device = device;
    this.#staging = device.pinnedAlloc(2);
    try {
      this.#view = device.view(this.#staging, 2);
    } catch (error) {
      device.pinnedFree(this.#staging);
      throw error;
    }
  }

  /** Writes both; the first wins where they are one. Cost: two copies. */
  write(ptr: DevicePtr, bytes: number, first: number, last: number): void {
    this.#view[0] = first;
    this.#view[1] = last;
    this.#device.copy((ptr + bytes - 1) as DevicePtr, (this.#staging + 1) as DevicePtr, 1);
    this.#device.copy(ptr, this.#staging, 1);
  }

  /** Reads both. Cost: two copies. @param first, last - what they should be @returns an array that the next call changes */
  read(ptr: DevicePtr, bytes: number, first: number, last: number): Uint8Array {
    // A copy that the device does not make must not find them there.
    this.#view[0] = ~first;
    this.#view[1] = ~last;
    this.#device.copy(this.#staging, ptr, 1);
    this.#device.copy((this.#staging + 1) as DevicePtr, (ptr + bytes - 1) as DevicePtr, 1);
    return this.#view;
  }

  /** Gives the pinned memory back. */
  dispose(): void {
    this.#device.pinnedFree(this.#staging);
  }
}
