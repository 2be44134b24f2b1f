import '../../../src/core/disposable.js';
import type { Releasable } from '../../../src/core/disposable.js';
import { checkArgument, checkUsable } from '../../../src/core/errors.js';
import type { DevicePtr } from '../../../src/core/units.js';
import type { HostRange } from '../host-ranges.js';
import { SvmSegment } from './svm-memory.js';

/** What the host does with mapped memory. `overwrite` means that what was there is not needed. */
export type MapAccess = 'read' | 'write' | 'read-write' | 'overwrite';

/** @see Source: CL/cl.h, cl_map_flags */
const MAP_FLAGS: Readonly<Record<MapAccess, number>> = { read: 1, write: 2, 'read-write': 3, overwrite: 4 };

/** The bits of an access. @throws ERR_MEM_INVALID_ARGUMENT */
export function mapFlags(access: MapAccess): number {
  checkArgument(Object.hasOwn(MAP_FLAGS, access), 'access', access, `one of ${Object.keys(MAP_FLAGS).join(', ')}`);
  return MAP_FLAGS[access];
}

/** Something over a range of memory that must end before the memory does: a mapping, a buffer. */
export interface RangeUser {
  dispose(): void;
}

/** The mappings and buffers over each range. */
export class RangeUsers {
  readonly #users = new WeakMap<HostRange, Set<RangeUser>>();

  of(range: HostRange): Set<RangeUser> {
    const users = this.#users.get(range) ?? new Set();
    this.#users.set(range, users);
    return users;
  }

  /** The mappings of a range. */
  mappings(range: HostRange): OpenClMapping[] {
    return [...this.of(range)].filter((user) => user instanceof OpenClMapping);
  }

  /** Ends all that is over a range. */
  end(range: HostRange): void {
    for (const user of [...this.of(range)]) user.dispose();
  }
}

/** A part of a range of memory, and what else is over the range. */
export interface RangePart {
  readonly range: HostRange;
  readonly ptr: DevicePtr;
  readonly bytes: number;
  readonly users: RangeUsers;
}

/** The calls that map and unmap. */
export interface MappingCalls {
  /** Maps, and waits until that is done. */
  readonly map: () => void;
  readonly unmap: () => void;
  /** Waits until the unmapping is done. */
  readonly settle: () => void;
}

/**
 * Device memory that the host may touch until this is disposed of: `using mapping = device.map(ptr, bytes)`.
 * Meanwhile the device must not work on it. Freeing the memory ends it, too.
 */
export class OpenClMapping implements Releasable, RangeUser {
  readonly ptr: DevicePtr;
  readonly bytes: number;
  readonly #part: RangePart;
  readonly #calls: MappingCalls;
  #isDisposed = false;

  /**
   * Maps memory. Devices and buffers call it.
   *
   * @internal
   * @throws ERR_MEM_INVALID_ARGUMENT when a byte is mapped already, ERR_MEM_NATIVE
   */
  constructor(part: RangePart, calls: MappingCalls) {
    const { range, ptr, bytes, users } = part;
    this.ptr = ptr;
    this.bytes = bytes;
    this.#part = part;
    this.#calls = calls;
    // OpenCL does not define two mappings of one byte.
    const overlaps = (other: OpenClMapping) => ptr < other.ptr + other.bytes && other.ptr < ptr + bytes;
    const isMapped = range instanceof SvmSegment && users.mappings(range).some(overlaps);
    checkArgument(!isMapped, 'ptr', `${ptr}, mapped already in part`, 'memory that is not mapped');
    calls.map();
    users.of(range).add(this);
  }

  /** Whether it has ended. */
  get disposed(): boolean {
    return this.#isDisposed;
  }

  /**
   * Gives the bytes, without a copy. An array that outlives the mapping is safe to touch; what it shows then is undefined.
   *
   * @throws ERR_MEM_DISPOSED, ERR_MEM_INVALID_ARGUMENT above 4 GiB
   */
  view(): Uint8Array {
    checkUsable(!this.#isDisposed, 'mapping');
    return this.#part.range.view(this.ptr - this.#part.range.base, this.bytes);
  }

  /** Gives the memory back to the device, and waits until that is done. A second time does nothing. @throws ERR_MEM_NATIVE */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#calls.unmap();
    this.#isDisposed = true;
    this.#part.users.of(this.#part.range).delete(this);
    this.#calls.settle();
  }

  /** As {@link dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
