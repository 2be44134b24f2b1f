import '../../../src/core/disposable.js';
import type { Releasable } from '../../../src/core/disposable.js';
import { MemoryError } from '../../../src/core/errors.js';
import type { DevicePtr } from '../../../src/core/units.js';
import type { HostRange } from '../host-ranges.js';
import { badArgument } from '../range-checks.js';
import { checkStatus } from './opencl-status.js';
import type { RangeUser, RangeUsers } from './range-users.js';
import { type RangePart, SvmSegment } from './svm-segment.js';

/** What the host does with mapped memory. `overwrite` means that what was there is not needed. */
export type MapAccess = 'read' | 'write' | 'read-write' | 'overwrite';

/** @see Source: CL/cl.h, cl_map_flags */
const MAP_FLAGS: Readonly<Record<MapAccess, number>> = { read: 1, write: 2, 'read-write': 3, overwrite: 4 };

/** The bits of an access. @throws ERR_MEM_INVALID_ARGUMENT */
export function mapFlags(access: MapAccess): number {
  if (!Object.hasOwn(MAP_FLAGS, access)) throw badArgument('access', access, `one of ${Object.keys(MAP_FLAGS).join(', ')}`);
  return MAP_FLAGS[access];
}

/** Where a mapping lies. */
export interface MappingPlace {
  readonly range: HostRange;
  readonly part: RangePart;
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
  readonly #place: MappingPlace;
  readonly #calls: MappingCalls;
  #isDisposed = false;

  /** Maps memory. Devices and buffers call it. @throws ERR_MEM_INVALID_ARGUMENT when a byte is mapped already, ERR_MEM_NATIVE */
  constructor(place: MappingPlace, calls: MappingCalls) {
    const { range, part, users } = place;
    this.ptr = (range.base + part.offset) as DevicePtr;
    this.bytes = part.bytes;
    this.#place = place;
    this.#calls = calls;
    if (range instanceof SvmSegment) range.checkUnmapped(part);
    calls.map();
    if (range instanceof SvmSegment) range.addMapped(part);
    users.add(range, this);
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
    if (this.#isDisposed) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'mapping' });
    const { range, part } = this.#place;
    return range.view(part.offset, part.bytes);
  }

  /** Gives the memory back to the device, and waits until that is done. A second time does nothing. @throws ERR_MEM_NATIVE */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#calls.unmap();
    this.#isDisposed = true;
    const { range, part, users } = this.#place;
    if (range instanceof SvmSegment) range.removeMapped(part);
    users.remove(range, this);
    this.#calls.settle();
  }

  /** As {@link dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Maps a part of a segment. @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE */
export function mapSegment(segment: SvmSegment, part: RangePart, access: MapAccess, users: RangeUsers): OpenClMapping {
  const flags = mapFlags(access);
  const { context, base } = segment;
  const { cl, queue } = context;
  const address = base + part.offset;
  return new OpenClMapping(
    { range: segment, part, users },
    {
      map: () => checkStatus('clEnqueueSVMMap', cl.clEnqueueSVMMap(queue, 1, flags, address, part.bytes, 0, null, null)),
      unmap: () => checkStatus('clEnqueueSVMUnmap', cl.clEnqueueSVMUnmap(queue, address, 0, null, null)),
      settle: () => context.finish(queue),
    },
  );
}
