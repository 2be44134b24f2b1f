import { type AddressRange, AddressTree } from '../../src/core/address-tree.js';
import { MemoryError } from '../../src/core/errors.js';
import { type DevicePtr, devicePtr } from '../../src/core/units.js';

/** A range of a device's addresses that is in use. */
export class LiveRange implements AddressRange {
  constructor(
    readonly base: DevicePtr,
    readonly bytes: number,
  ) {}

  /** Throws unless the bytes, which lie inside the range, can be used. */
  checkUsable(_offset: number, _bytes: number): void {}
}

/** The ranges of a device that are in use, by address. */
export class LiveRanges<R extends LiveRange> extends AddressTree<R> {
  /** The range that `ptr` lies in. Cost: O(log n). */
  containing(ptr: DevicePtr): R | undefined {
    const range = this.floor(ptr);
    return range !== undefined && ptr < range.base + range.bytes ? range : undefined;
  }

  /** The range of a kind that starts at `ptr`. Cost: O(log n). @throws ERR_MEM_UNKNOWN_POINTER when there is none */
  startingAt<T extends R>(ptr: DevicePtr, kind: Kind<T>): T {
    return ofKind(this.at(ptr), kind, ptr);
  }

  /** The range of a kind that `ptr` lies in. Cost: O(log n). @throws ERR_MEM_UNKNOWN_POINTER when there is none */
  around<T extends R>(ptr: DevicePtr, kind: Kind<T>): T {
    return ofKind(this.containing(ptr), kind, ptr);
  }

  /**
   * The range that holds these bytes, all of which can be used. Cost: O(log n).
   *
   * @throws ERR_MEM_UNKNOWN_POINTER when `ptr` lies in no live range, ERR_MEM_OUT_OF_RANGE when the bytes leave it
   */
  locate(ptr: DevicePtr, bytes: number): R {
    const range = this.find(ptr, bytes);
    if (range === undefined) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    return range;
  }

  /**
   * As {@link locate}, but for bytes that touch no range at all it gives undefined.
   *
   * @throws ERR_MEM_INVALID_POINTER, ERR_MEM_OUT_OF_RANGE
   */
  find(ptr: DevicePtr, bytes: number): R | undefined {
    const range = this.overlapping(devicePtr(ptr), bytes);
    if (range === undefined) return undefined;
    const offset = ptr - range.base;
    if (offset < 0 || offset + bytes > range.bytes) {
      throw new MemoryError('ERR_MEM_OUT_OF_RANGE', { offsetBytes: offset, bytes, blockBytes: range.bytes });
    }
    range.checkUsable(offset, bytes);
    return range;
  }

  /** A range that shares a byte with these, or holds `ptr`. Cost: O(log n). */
  overlapping(ptr: DevicePtr, bytes: number): R | undefined {
    const range = this.containing(ptr) ?? this.floor(ptr + Math.max(0, bytes - 1));
    return range === undefined || range.base + range.bytes <= ptr ? undefined : range;
  }
}

type Kind<T> = abstract new (...values: never[]) => T;

function ofKind<T>(range: unknown, kind: Kind<T>, ptr: DevicePtr): T {
  if (range instanceof kind) return range;
  throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
}

/**
 * Where the two ends of a copy lie. What lies nowhere is memory of the caller, and trusted, but one end must be known.
 *
 * @param find - gives what is known of an end, and checks that end
 * @throws ERR_MEM_UNKNOWN_POINTER when neither end is known, or one is null
 */
export function copyEnds<T>(
  target: DevicePtr,
  source: DevicePtr,
  find: (ptr: DevicePtr) => T | undefined,
): readonly [to: T | undefined, from: T | undefined] {
  const ends = [find(target), find(source)] as const;
  const unknown = target === 0 || source === 0 ? 0 : target;
  if (unknown === 0 || ends.every((end) => end === undefined))
    throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: unknown });
  return ends;
}
