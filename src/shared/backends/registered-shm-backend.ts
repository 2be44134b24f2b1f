import type { DevicePtr } from '../../core/units.js';
import type { BackendType } from './backend-type.js';
import { attachSegment, createSegment, type NewSegment, type SegmentParts } from './segment-backend.js';
import { sharedMemoryStore } from './segment-store.js';
import { ShmSegmentBackend } from './shm-segment-backend.js';

/** A device that can reach host memory directly once it was told of it. */
export interface HostRegistrar {
  /** Page-locks a range of host memory and makes it known to the device. */
  registerHost(ptr: DevicePtr, bytes: number): void;
  /** Undoes it. */
  unregisterHost(ptr: DevicePtr): void;
}

/** How a segment for a device is created. */
export interface NewRegisteredSegment extends NewSegment {
  readonly device: HostRegistrar;
}

// What a device reaches for must not be collected before it is unregistered.
const registered = new Set<RegisteredShmBackend>();

/**
 * A POSIX shared memory object that is registered with a device, so that the device copies from and to it without a
 * stop in between. Every process that attaches registers it for itself; one without such a device attaches by
 * `PosixShmBackend.attach`.
 */
export abstract class RegisteredShmBackend extends ShmSegmentBackend {
  readonly #device: HostRegistrar;
  readonly #base: DevicePtr;
  readonly #mappedBytes: number;

  /** @internal */
  protected constructor(parts: SegmentParts, device: HostRegistrar) {
    super(parts);
    this.#device = device;
    this.#base = parts.memory.base;
    this.#mappedBytes = parts.memory.bytes;
    try {
      device.registerHost(this.#base, this.#mappedBytes);
    } catch (error) {
      this.#release();
      throw error;
    }
    registered.add(this);
  }

  /** Unregisters first: the device must not reach for memory that is gone. */
  override detach(): void {
    if (this.detached) return;
    this.#device.unregisterHost(this.#base);
    try {
      super.detach();
    } catch (error) {
      this.#device.registerHost(this.#base, this.#mappedBytes);
      throw error;
    }
    registered.delete(this);
  }

  /** Without unregistering: it was not registered. */
  #release(): void {
    if (this.isCreator) this.unlink();
    super.detach();
  }
}

/** @internal */
export function createRegistered(type: BackendType, url: string, options: NewRegisteredSegment): SegmentParts {
  return createSegment(type, sharedMemoryStore(url), options);
}

/** @internal */
export function attachRegistered(type: BackendType, url: string): SegmentParts {
  return attachSegment(sharedMemoryStore(url), [type]);
}
