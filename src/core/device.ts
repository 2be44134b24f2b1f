import { EventEmitter } from 'eventemitter3';
import type { StreamOperations, VirtualMemory } from './device-interface.js';
import './disposable.js';
import { MemoryError } from './errors.js';
import type { MemoryEvents } from './events.js';
import type { DevicePtr } from './units.js';

/**
 * One kind of memory, with all its devices: what a manager needs through its table, and what users need beside it.
 * Ids run from 0 to `deviceCount - 1`. A free, a copy or a view finds its memory whichever device is active.
 */
export abstract class Device {
  /** The kind, as in `stowage/adapters/<name>`. */
  abstract readonly name: string;
  abstract readonly deviceCount: number;
  readonly events = new EventEmitter<Pick<MemoryEvents, 'pin-failed'>>();
  /** Reserve and commit, where the device has it. */
  readonly virtual: VirtualMemory | undefined = undefined;
  /** Streams, where the device has them. */
  readonly streams: StreamOperations | undefined = undefined;

  /** The id that allocations go to. */
  abstract get activeDeviceId(): number;

  /** Makes a device the active one. @throws ERR_MEM_INVALID_DEVICE */
  abstract activate(id: number): void;

  /** The capacity of a device in bytes. @throws ERR_MEM_INVALID_DEVICE */
  abstract getMaxMemorySize(id: number): number;

  /**
   * Allocates a segment on the active device.
   *
   * @param alignment - bytes, a power of two
   * @defaultValue alignment is the device's own, at least 64
   * @returns its address, or 0 when there is no room
   */
  abstract nativeAlloc(bytes: number, alignment?: number): DevicePtr;

  /** Frees a segment. @throws ERR_MEM_UNKNOWN_POINTER where the device can tell */
  abstract nativeFree(ptr: DevicePtr): void;

  /** Allocates page-locked host memory; where the system refuses the lock, unpinned memory and a `pin-failed` event. */
  abstract pinnedAlloc(bytes: number, alignment?: number): DevicePtr;

  abstract pinnedFree(ptr: DevicePtr): void;

  /** Copies between any two places that the device can reach; the ranges may overlap. */
  abstract copy(target: DevicePtr, source: DevicePtr, bytes: number): void;

  /** Sets every byte of a range to `value`, 0 to 255. */
  abstract fill(ptr: DevicePtr, value: number, bytes: number): void;

  /** Waits until all work of the active device is done. */
  abstract synchronize(): void;

  /**
   * Gives a range as bytes, without a copy.
   * The array stays safe to touch after the memory is freed; it then shows other data.
   *
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM when the host cannot see this memory
   */
  view(_ptr: DevicePtr, _bytes: number): Uint8Array {
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'a view of device memory', platform: this.name });
  }

  /** Throws unless `id` is one of this device's. */
  protected checkId(id: number): void {
    if (!Number.isInteger(id) || id < 0 || id >= this.deviceCount) {
      throw new MemoryError('ERR_MEM_INVALID_DEVICE', { device: id, deviceCount: this.deviceCount });
    }
  }
}
