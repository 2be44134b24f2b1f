import {
  attachRegistered,
  createRegistered,
  type HostRegistrar,
  type NewRegisteredSegment,
  RegisteredShmBackend,
} from './registered-shm-backend.js';
import type { SegmentParts } from './segment-backend.js';

/** A region in a shared memory object that is registered with a HIP device. */
export class HipShmBackend extends RegisteredShmBackend {
  /** Creates and registers it; when the device refuses, it is gone again. @throws as `PosixShmBackend.create`, and the device's errors */
  static create(url: string, options: NewRegisteredSegment): HipShmBackend {
    return new HipShmBackend(createRegistered('hip-shm', url, options), options.device);
  }

  /** Attaches and registers it. @throws as `PosixShmBackend.attach`, and the device's errors */
  static attach(url: string, device: HostRegistrar): HipShmBackend {
    return new HipShmBackend(attachRegistered('hip-shm', url), device);
  }

  private constructor(parts: SegmentParts, device: HostRegistrar) {
    super(parts, device);
  }
}
