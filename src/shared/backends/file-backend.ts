import { syncPages } from '../../../adapters/os/shared-mapping.js';
import {
  type AttachOptions,
  attachSegment,
  createSegment,
  type NewSegment,
  SegmentBackend,
  type SegmentParts,
} from './segment-backend.js';
import { fileStore } from './segment-store.js';

/** A region in a file, mode 0600. The file stays when its creator ends, and can be attached to later. */
export class FileBackend extends SegmentBackend {
  readonly #parts: SegmentParts;

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

  /** @internal */
  protected constructor(parts: SegmentParts) {
    super(parts);
    this.#parts = parts;
  }

  /** Waits until everything that was written is on the disk. @throws ERR_MEM_NATIVE, ERR_MEM_DISPOSED */
  sync(): void {
    this.region.checkOpen();
    syncPages(this.#parts.memory.base, this.#parts.memory.bytes);
  }
}
