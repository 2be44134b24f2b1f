import type { DevicePtr } from '../../core/units.js';
import { type AttachOptions, attachSegment, createSegment, type NewSegment, type SegmentParts } from './segment-backend.js';
import { sharedMemoryStore } from './segment-store.js';
import { ShmSegmentBackend } from './shm-segment-backend.js';

/** A device that can reach host memory directly once it was told of it. */
export interface HostRegistrar {
  /** Page-locks a range of host memory and makes it known to the device. */
  registerHost(ptr: DevicePtr, bytes: number): void;
  /** Undoes it. */
  unregisterHost(ptr: DevicePtr): void;
}

/** The types of segments for devices: they differ in their names alone. */
export type RegisteredType = 'cuda-shm' | 'hip-shm';

const TYPES: readonly RegisteredType[] = ['cuda-shm', 'hip-shm'];

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
export class RegisteredShmBackend extends ShmSegmentBackend {
  readonly #device: HostRegistrar;
  readonly #base: DevicePtr;
  readonly #mappedBytes: number;

  /** Creates and registers it; when the device refuses, it is gone again. @throws as `PosixShmBackend.create`, and the device's errors */
  static create(type: RegisteredType, url: string, options: NewRegisteredSegment): RegisteredShmBackend {
    return new RegisteredShmBackend(createSegment(type, sharedMemoryStore(url), options), options.device);
  }

  /** Attaches and registers it. @throws as `PosixShmBackend.attach`, and the device's errors */
  static attach(url: string, options: AttachOptions & { readonly device: HostRegistrar }): RegisteredShmBackend {
    return new RegisteredShmBackend(attachSegment(sharedMemoryStore(url), TYPES, options), options.device);
  }

  private constructor(parts: SegmentParts, device: HostRegistrar) {
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
