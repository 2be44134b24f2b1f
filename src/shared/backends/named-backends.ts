import { syncPages } from '../../../adapters/os/shared-memory-object.js';
import { orUndo } from '../../core/attempt.js';
import type { Device } from '../../core/device.js';
import { atExit } from '../../core/exit-hook.js';
import {
  type AttachOptions,
  attachSegment,
  createSegment,
  type NewSegment,
  SegmentBackend,
  type SegmentParts,
} from './segment-backend.js';
import { fileStore, sharedMemoryStore } from './segment-store.js';

const REGISTERED_TYPES: readonly RegisteredType[] = ['cuda-shm', 'hip-shm'];
const SHM_TYPES = ['posix-shm', ...REGISTERED_TYPES] as const;

/** A region in a file, mode 0600. The file stays when its creator ends, and can be attached to later. */
export class FileBackend extends SegmentBackend {
  /**
   * Creates the file.
   *
   * @param url - a path, or a `file:` url
   * @throws ERR_MEM_SEGMENT_EXISTS, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_INVALID_ARGUMENT, ERR_MEM_INVALID_SIZE
   * @throws ERR_MEM_NATIVE, ERR_MEM_UNSUPPORTED_PLATFORM on Windows
   */
  static create(url: string, options: NewSegment): FileBackend {
    return new FileBackend(createSegment('file', fileStore(url), options));
  }

  /** Attaches to a file that a FileBackend has created. @throws ERR_MEM_SEGMENT_ABSENT, ERR_MEM_BAD_SEGMENT, ERR_MEM_NATIVE */
  static attach(url: string, options?: AttachOptions): FileBackend {
    return new FileBackend(attachSegment(fileStore(url), ['file'], options));
  }

  /** Waits until everything that was written is on the disk. @throws ERR_MEM_NATIVE, ERR_MEM_DISPOSED */
  sync(): void {
    this.region.checkOpen();
    syncPages(this.segment.memory.base, this.segment.memory.bytes);
  }
}

/**
 * A segment in memory. Its creator unlinks it: when it is destroyed, and when the creating process or worker exits. A
 * creator that is killed leaves it stale.
 */
export abstract class ShmSegmentBackend extends SegmentBackend {
  /** @internal */
  protected constructor(parts: SegmentParts) {
    super(parts);
    if (this.isCreator) atExit(this);
  }

  override endWithProcess(): void {
    try {
      if (this.isCreator) this.unlink();
    } finally {
      super.endWithProcess();
    }
  }
}

/**
 * A region in a POSIX shared memory object, mode 0600: for all processes of one user.
 */
export class PosixShmBackend extends ShmSegmentBackend {
  /**
   * Creates the object.
   *
   * @param url - `shm:name`, or the name
   * @throws ERR_MEM_SEGMENT_EXISTS, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_INVALID_ARGUMENT, ERR_MEM_INVALID_SIZE
   * @throws ERR_MEM_NATIVE, ERR_MEM_UNSUPPORTED_PLATFORM on Windows
   */
  static create(url: string, options: NewSegment): PosixShmBackend {
    return new PosixShmBackend(createSegment('posix-shm', sharedMemoryStore(url), options));
  }

  /**
   * Attaches to an object that a PosixShmBackend, or one for a GPU, has created.
   *
   * @throws ERR_MEM_SEGMENT_ABSENT, ERR_MEM_BAD_SEGMENT, ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE
   */
  static attach(url: string, options?: AttachOptions): PosixShmBackend {
    return new PosixShmBackend(attachSegment(sharedMemoryStore(url), SHM_TYPES, options));
  }
}

/** A device that can reach host memory directly once it was told of it. */
export type HostRegistrar = Pick<Device, 'registerHost' | 'unregisterHost'>;

/** The types of segments for devices: they differ in their names alone. */
export type RegisteredType = 'cuda-shm' | 'hip-shm';

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
  /** Creates and registers it; when the device refuses, it is removed again. @throws as `PosixShmBackend.create`, and the device's errors */
  static create(type: RegisteredType, url: string, options: NewRegisteredSegment): RegisteredShmBackend {
    const { device, ...segment } = options;
    return new RegisteredShmBackend(createSegment(type, sharedMemoryStore(url), segment), device);
  }

  /** Attaches and registers it. @throws as `PosixShmBackend.attach`, and the device's errors */
  static attach(url: string, options: AttachOptions & { readonly device: HostRegistrar }): RegisteredShmBackend {
    const { device, ...attach } = options;
    return new RegisteredShmBackend(attachSegment(sharedMemoryStore(url), REGISTERED_TYPES, attach), device);
  }

  private constructor(
    parts: SegmentParts,
    protected readonly device: HostRegistrar,
  ) {
    super(parts);
    orUndo(
      () => device.registerHost(parts.memory.base, parts.memory.bytes),
      () => {
        if (this.isCreator) this.unlink();
        // Without unregistering: it was not registered.
        super.detach();
      },
    );
    registered.add(this);
  }

  /** Unregisters first: the device must not reach for memory that is gone. */
  override detach(): void {
    if (this.detached) return;
    const { base, bytes } = this.segment.memory;
    this.device.unregisterHost(base);
    orUndo(
      () => super.detach(),
      () => this.device.registerHost(base, bytes),
    );
    registered.delete(this);
  }
}
