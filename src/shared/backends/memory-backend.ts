import { isMainThread } from 'node:worker_threads';
import { pageBytes } from '../../../adapters/os/mapping.js';
import { processIdentity, processSpace } from '../../../adapters/os/process-identity.js';
import type { Releasable } from '../../core/disposable.js';
import { checkArgument } from '../../core/errors.js';
import { atExit, forgetAtExit } from '../../core/exit-hook.js';
import { INSPECT, inspected } from '../../core/inspect.js';
import { alignUp, checkBytes, type DevicePtr, formatBytes } from '../../core/units.js';
import { type RegionMemory, SharedRegion } from '../shared-region.js';
import { AllocatorRecord, type BackendFacts, type BackendType, HEADER_BYTES, markReady, writeHeader } from './backend-header.js';

/** The memory of a backend, and how this process releases it. */
export interface BackendMemory extends RegionMemory {
  /** Ends this process's use of it. When that fails, nothing has changed. */
  retire(): void;
}

/** What a subclass of {@link MemoryBackend} knows when it has its memory. */
export interface BackendParts {
  readonly memory: BackendMemory;
  readonly header: Int32Array;
  readonly facts: BackendFacts;
  readonly url: string;
  readonly isCreator: boolean;
}

/**
 * Memory for one region: a header that says what it is, and the region behind it, which reads as zeros when it is new.
 * One allocator may manage the region.
 */
export abstract class MemoryBackend implements Releasable {
  readonly type: BackendType;
  /** As its creator numbered it. */
  readonly id: number;
  /** Where other processes attach; for memory that cannot be attached only a name. */
  readonly url: string;
  readonly region: SharedRegion;
  /** Whether this object created it, rather than attached to it. */
  readonly isCreator: boolean;
  /** Which allocator manages the region. */
  readonly allocator: AllocatorRecord;
  readonly #memory: BackendMemory;

  /** @internal */
  protected constructor({ facts, url, isCreator, memory, header }: BackendParts) {
    this.type = facts.type;
    this.id = facts.id;
    this.url = url;
    this.isCreator = isCreator;
    this.#memory = memory;
    this.region = new SharedRegion({
      base: (memory.base + HEADER_BYTES) as DevicePtr,
      bytes: memory.bytes - HEADER_BYTES,
      bytesAt: (offset, bytes) => memory.bytesAt(HEADER_BYTES + offset, bytes),
    });
    this.allocator = new AllocatorRecord(header, url);
    if (!isMainThread) atExit(this);
  }

  /** The bytes of the region. */
  get bytes(): number {
    return this.region.bytes;
  }

  get detached(): boolean {
    return this.region.closed;
  }

  /**
   * Ends the use of it here; others go on. Arrays over the region show zeros from then on. Does nothing the second time.
   *
   * @throws ERR_MEM_NATIVE when the system refuses; nothing has changed then
   */
  detach(): void {
    if (this.detached) return;
    this.#memory.retire();
    this.region.close();
    forgetAtExit(this);
  }

  /** Detaches; where this object created it, its name is removed as well, so that no process can attach any more. */
  destroy(): void {
    this.detach();
  }

  /** Detaches at the end of a worker; at the end of a process the system does. */
  endWithProcess(): void {
    if (!isMainThread) this.detach();
  }

  /** As {@link destroy}. */
  dispose(): void {
    this.destroy();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** `PosixShmBackend { shm:my-app, 64.00 MiB }`, `PosixShmBackend { shm:my-app, detached }`. @internal */
  [INSPECT](): string {
    return inspected(this, () => [this.url, this.detached ? 'detached' : formatBytes(this.bytes)]);
  }
}

/** Makes the facts of a new backend of this process. @throws ERR_MEM_INVALID_ARGUMENT for an id that is none */
export function newFacts(type: BackendType, id: number, mappedBytes: number): BackendFacts {
  checkArgument((id | 0) === id && id >= 0, 'the backend id', id, 'an integer from 0 to 2^31 - 1');
  return { type, id, mappedBytes, creator: processIdentity(), space: processSpace() };
}

/** The bytes of whole pages that hold a header and a region that is to be made. @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT for 0 */
export function mappedBytesFor(bytes: number): number {
  checkBytes(bytes);
  checkArgument(bytes > 0, 'bytes', bytes, 'above 0');
  return alignUp(bytes + HEADER_BYTES, pageBytes());
}

/** Writes the header of new memory that only this process can see. @returns the parts of its backend */
export function headNewMemory(memory: BackendMemory, facts: BackendFacts, url: string): BackendParts {
  const header = headerOf(memory);
  writeHeader(header, facts);
  markReady(header);
  return { memory, header, facts, url, isCreator: true };
}

/** The words of a memory's header. */
export function headerOf(memory: RegionMemory): Int32Array {
  const bytes = memory.bytesAt(0, HEADER_BYTES);
  return new Int32Array(bytes.buffer, bytes.byteOffset, HEADER_BYTES / 4);
}
