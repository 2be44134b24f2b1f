import { alignUp, type DevicePtr } from '../../src/core/units.js';
import { pageBytes } from '../os/mapping.js';
import { HostRange } from './host-ranges.js';

const CACHE_LINE_BYTES = 64;

/** How large a segment really is, and where it may start. */
export interface SegmentPlace {
  readonly mappedBytes: number;
  readonly alignment: number;
}

/** One allocation of the CPU device. */
export class CpuSegment extends HostRange {
  readonly pinned: boolean;
  readonly place: SegmentPlace;
  /** Whether its pages are locked. */
  locked = false;

  constructor(base: DevicePtr, bytes: number, place: SegmentPlace, pinned: boolean) {
    super(base, bytes);
    this.place = place;
    this.pinned = pinned;
  }

  /** Whether its pages hold nothing else. */
  get ownsPages(): boolean {
    return this.place.alignment >= pageBytes();
  }

  override checkUsable(): void {}

  protected override prepareView(): void {}
}

/**
 * Decides the place of a segment. From one page on it gets whole pages, so that they can be locked and given back alone.
 *
 * @param least - bytes, the least alignment
 */
export function segmentPlace(bytes: number, least: number): SegmentPlace {
  const page = pageBytes();
  if (bytes >= page || least >= page) return { mappedBytes: alignUp(bytes, page), alignment: Math.max(page, least) };
  return { mappedBytes: alignUp(bytes, CACHE_LINE_BYTES), alignment: Math.max(CACHE_LINE_BYTES, least) };
}

/** Memory of a device that was viewed and cannot be given back: kept for later requests of the same place. */
export class KeptSegments {
  readonly #bases = new Map<string, DevicePtr[]>();
  #bytes = 0;

  /** Bytes that wait for a request. */
  get bytes(): number {
    return this.#bytes;
  }

  put(segment: { readonly base: DevicePtr; readonly place: SegmentPlace }): void {
    const key = placeKey(segment.place);
    const bases = this.#bases.get(key);
    if (bases === undefined) this.#bases.set(key, [segment.base]);
    else bases.push(segment.base);
    this.#bytes += segment.place.mappedBytes;
  }

  take(place: SegmentPlace): DevicePtr | undefined {
    if (this.#bytes === 0) return undefined;
    const base = this.#bases.get(placeKey(place))?.pop();
    if (base !== undefined) this.#bytes -= place.mappedBytes;
    return base;
  }
}

/** Segments with the same key can stand for one another. */
export function placeKey(place: SegmentPlace): string {
  return `${place.mappedBytes}/${place.alignment}`;
}
