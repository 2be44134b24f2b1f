import { alignUp, type DevicePtr } from '../../../src/core/units.js';
import type { SegmentPlace } from '../cpu-segment.js';
import { HostRange } from '../host-ranges.js';
import type { LiveRange } from '../live-ranges.js';
import { PageStates } from '../virtual-checks.js';

/** What every address that the runtime gives is a multiple of. @see Source: CUDA C++ Programming Guide, "Device Memory" */
export const NATURAL_ALIGNMENT = 256;

/** A range of a GPU's addresses that is in use. */
export interface GpuRange extends LiveRange {
  readonly device: number;
}

/** Device memory that was allocated here. */
export class GpuSegment implements GpuRange {
  readonly base: DevicePtr;
  readonly bytes: number;
  readonly device: number;
  /** What the runtime gave: the base, or up to an alignment below. */
  readonly nativeAddress: number;

  constructor(nativeAddress: number, bytes: number, place: SegmentPlace, device: number) {
    this.base = alignUp(nativeAddress, place.alignment) as DevicePtr;
    this.bytes = bytes;
    this.device = device;
    this.nativeAddress = nativeAddress;
  }

  checkUsable(): void {}
}

/** Managed memory: one address for host and devices. One that was viewed is never given back, only used again. */
export class ManagedSegment extends HostRange implements GpuRange {
  readonly device: number;
  readonly nativeAddress: number;
  readonly place: SegmentPlace;

  constructor(nativeAddress: number, bytes: number, place: SegmentPlace, device: number) {
    super(alignUp(nativeAddress, place.alignment) as DevicePtr, bytes);
    this.device = device;
    this.nativeAddress = nativeAddress;
    this.place = place;
  }

  override checkUsable(): void {}

  protected override prepareView(): void {}
}

/** Memory of another process that was opened here. */
export class ImportedSegment implements GpuRange {
  readonly base: DevicePtr;
  readonly bytes: number;
  readonly device: number;
  /** How often it was opened: the runtime gives the same address each time. */
  opened = 1;

  constructor(base: DevicePtr, bytes: number, device: number) {
    this.base = base;
    this.bytes = bytes;
    this.device = device;
  }

  checkUsable(): void {}
}

/** Addresses that were reserved; pages of them are backed. */
export class GpuReservation implements GpuRange {
  readonly base: DevicePtr;
  readonly bytes: number;
  readonly device: number;
  readonly pages: PageStates;
  /** Offsets of pages that the driver refused to unmap, though they are not committed. */
  readonly stuck = new Set<number>();

  constructor(base: DevicePtr, bytes: number, device: number, granularityBytes: number) {
    this.base = base;
    this.bytes = bytes;
    this.device = device;
    this.pages = new PageStates(bytes, granularityBytes);
  }

  checkUsable(offset: number, bytes: number): void {
    this.pages.checkUsable(offset, bytes);
  }
}

/** Host memory of the caller that the device was told about. */
export class Registration implements LiveRange {
  readonly base: DevicePtr;
  readonly bytes: number;

  constructor(base: DevicePtr, bytes: number) {
    this.base = base;
    this.bytes = bytes;
  }

  checkUsable(): void {}
}

/** How much to ask for so that a segment fits at its alignment. */
export function gpuPlace(bytes: number, alignment: number): SegmentPlace {
  const least = Math.max(alignment, NATURAL_ALIGNMENT);
  return { mappedBytes: bytes + least - NATURAL_ALIGNMENT, alignment: least };
}
