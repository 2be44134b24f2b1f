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
  /** Whether its pages are locked. */
  locked = false;

  constructor(
    base: DevicePtr,
    bytes: number,
    readonly place: SegmentPlace,
    readonly pinned: boolean,
  ) {
    super(base, bytes);
  }

  /** Whether its pages hold nothing else. */
  get ownsPages(): boolean {
    return this.place.alignment >= pageBytes();
  }
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

/** Segments with the same key can stand for one another. */
export function placeKey(place: SegmentPlace): string {
  return `${place.mappedBytes}/${place.alignment}`;
}
