import { alignUp, type DevicePtr } from '../../../src/core/units.js';
import type { SegmentPlace } from '../cpu-segment.js';
import { HostRange } from '../host-ranges.js';
import { LiveRange } from '../live-ranges.js';
import { PageStates } from '../paged-memory.js';

/** What every address that the runtime gives is a multiple of. @see Source: CUDA C++ Programming Guide, "Device Memory" */
export const NATURAL_ALIGNMENT = 256;

/** A range of a GPU's addresses that is in use. */
export interface GpuRange extends LiveRange {
  readonly device: number;
}

/** Device memory that was allocated here. */
export class GpuSegment extends LiveRange implements GpuRange {
  /** What the runtime gave: the base, or up to an alignment below. */
  readonly nativeAddress: number;
  readonly device: number;

  constructor(nativeAddress: number, bytes: number, place: SegmentPlace, device: number) {
    super(alignUp(nativeAddress, place.alignment) as DevicePtr, bytes);
    this.nativeAddress = nativeAddress;
    this.device = device;
  }
}

/** Managed memory: one address for host and devices. */
export class ManagedSegment extends HostRange implements GpuRange {
  readonly nativeAddress: number;
  readonly place: SegmentPlace;
  readonly device: number;

  constructor(nativeAddress: number, bytes: number, place: SegmentPlace, device: number) {
    super(alignUp(nativeAddress, place.alignment) as DevicePtr, bytes);
    this.nativeAddress = nativeAddress;
    this.place = place;
    this.device = device;
  }
}

/** Memory of another process that was opened here. */
export class ImportedSegment extends LiveRange implements GpuRange {
  readonly device: number;
  /** How often it was opened: the runtime gives the same address each time. */
  opened = 1;

  constructor(base: DevicePtr, bytes: number, device: number) {
    super(base, bytes);
    this.device = device;
  }
}

/** Addresses that were reserved; pages of them are backed. */
export class GpuReservation extends LiveRange implements GpuRange {
  readonly device: number;
  readonly pages: PageStates;
  /** Offsets of pages that the driver refused to unmap, though they are not committed. */
  readonly stuck = new Set<number>();

  constructor(base: DevicePtr, bytes: number, device: number, granularityBytes: number) {
    super(base, bytes);
    this.device = device;
    this.pages = new PageStates(bytes, granularityBytes);
  }

  override checkUsable(offset: number, bytes: number): void {
    this.pages.checkUsable(offset, bytes);
  }
}

/** How much to ask for so that a segment fits at its alignment. */
export function gpuPlace(bytes: number, alignment: number): SegmentPlace {
  const least = Math.max(alignment, NATURAL_ALIGNMENT);
  return { mappedBytes: bytes + least - NATURAL_ALIGNMENT, alignment: least };
}
