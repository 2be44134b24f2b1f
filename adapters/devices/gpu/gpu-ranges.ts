import { alignUp, type DevicePtr } from '../../../src/core/units.js';
import { HostRange } from '../host-ranges.js';
import type { SegmentPlace } from '../host-segments.js';
import { LiveRange } from '../live-ranges.js';
import { PageStates } from '../paged-memory.js';

/** What every address that the runtime gives is a multiple of. @see Source: CUDA C++ Programming Guide, "Device Memory" */
const NATURAL_ALIGNMENT = 256;

/** A range of a GPU's addresses that is in use. */
export interface GpuRange extends LiveRange {
  readonly device: number;
}

/** Device memory that was allocated here. */
export class GpuSegment extends LiveRange implements GpuRange {
  constructor(
    /** What the runtime gave: the base, or up to an alignment below. */
    readonly nativeAddress: number,
    bytes: number,
    readonly place: SegmentPlace,
    readonly device: number,
  ) {
    super(alignUp(nativeAddress, place.alignment) as DevicePtr, bytes);
  }
}

/** Managed memory: one address for host and devices. */
export class ManagedSegment extends HostRange implements GpuRange {
  constructor(
    readonly nativeAddress: number,
    bytes: number,
    readonly place: SegmentPlace,
    readonly device: number,
  ) {
    super(alignUp(nativeAddress, place.alignment) as DevicePtr, bytes);
  }
}

/** Memory of another process that was opened here. */
export class ImportedSegment extends LiveRange implements GpuRange {
  /** How often it was opened: the runtime gives the same address each time. */
  opened = 1;

  constructor(
    base: DevicePtr,
    bytes: number,
    readonly device: number,
  ) {
    super(base, bytes);
  }
}

/** Memory of a card, and how the driver names it: mapped as a whole, or not at all. */
export interface PhysicalPiece {
  readonly handle: bigint;
  readonly bytes: number;
  /** Whether another process may have it: it is not mapped for other content then. */
  isExported: boolean;
}

/** Addresses that were reserved; pages of them are backed. */
export class GpuReservation extends LiveRange implements GpuRange {
  readonly pages: PageStates;
  /** What is mapped, by its offset: what is committed, and what is {@link stuck}. */
  readonly mapped = new Map<number, PhysicalPiece>();
  /** Offsets of pieces that the driver refused to unmap, though they are not committed. */
  readonly stuck = new Set<number>();

  constructor(
    base: DevicePtr,
    bytes: number,
    readonly device: number,
    granularityBytes: number,
  ) {
    super(base, bytes);
    this.pages = new PageStates(bytes, granularityBytes);
  }

  override checkUsable(offset: number, bytes: number): void {
    this.pages.checkUsable(offset, bytes);
  }

  /** The committed pieces that bytes lie in, which are committed, too: in order, from one offset on. */
  piecesAround(offset: number, bytes: number): { readonly offset: number; readonly pieces: PhysicalPiece[] } {
    const start = this.pages.pieceStart(offset);
    const pieces: PhysicalPiece[] = [];
    for (let at = start; at < offset + bytes; ) {
      const piece = this.mapped.get(at)!;
      pieces.push(piece);
      at += piece.bytes;
    }
    return { offset: start, pieces };
  }
}

/** How much to ask for so that a segment fits at its alignment. */
export function gpuPlace(bytes: number, alignment: number): SegmentPlace {
  const least = Math.max(alignment, NATURAL_ALIGNMENT);
  return { mappedBytes: bytes + least - NATURAL_ALIGNMENT, alignment: least };
}
