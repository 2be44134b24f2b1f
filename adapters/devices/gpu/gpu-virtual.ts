import { attempt } from '../../../src/core/attempt.js';
import { type DevicePtr, NULL_PTR } from '../../../src/core/units.js';
import type { LiveRanges } from '../live-ranges.js';
import { PagedMemory } from '../paged-memory.js';
import type { GpuLimits } from './gpu-limit.js';
import { type GpuRange, GpuReservation, type PhysicalPiece } from './gpu-ranges.js';
import type { GpuRuntime } from './gpu-runtime.js';
import { SparePieces } from './spare-pieces.js';

const READ_AND_WRITE = 3;

/**
 * Reserve and commit on a GPU, through the driver.
 *
 * Memory is mapped in pieces, each with a handle of its own, since an unmap must match its mapping exactly. Unmapping does not
 * wait for work on streams: a decommit waits for all of the device's first, unless its caller has waited for the streams that
 * used the pages.
 */
export class GpuVirtualMemory extends PagedMemory<GpuReservation> {
  readonly #runtime: GpuRuntime;
  readonly #ranges: LiveRanges<GpuRange>;
  readonly #limits: GpuLimits;
  readonly #spare: SparePieces;

  constructor(runtime: GpuRuntime, ranges: LiveRanges<GpuRange>, limits: GpuLimits, granularityBytes: number) {
    super(granularityBytes, true);
    this.#runtime = runtime;
    this.#ranges = ranges;
    this.#limits = limits;
    this.#spare = new SparePieces(({ handle }) => runtime.leftovers.drop(() => runtime.driver.call('MemRelease', handle)));
  }

  /** True: the card waits while the tables of its addresses change. */
  override get decommitStops(): boolean {
    return true;
  }

  protected override reserveRange(bytes: number): DevicePtr {
    if (bytes === 0) return NULL_PTR;
    const device = this.#runtime.activeDevice;
    const base = this.#runtime.on(device, () => this.#runtime.driver.reserve(bytes)) as DevicePtr;
    if (base !== NULL_PTR) this.#ranges.insert(new GpuReservation(base, bytes, device, this.granularityBytes));
    return base;
  }

  protected override releaseRange(range: GpuReservation): void {
    const { base, bytes, pages } = range;
    if (pages.committedBytes > 0) this.#finishWork(range);
    for (const [offset, piece] of range.mapped) {
      if (range.stuck.has(offset)) continue;
      this.#unmap(range, offset);
      this.markDecommitted(range, offset, piece.bytes);
    }
    this.#unmapStuck(range, 0, bytes);
    this.#runtime.driver.call('MemAddressFree', base, bytes);
    this.#ranges.remove(range.base);
  }

  protected override rangeAt(ptr: DevicePtr): GpuReservation {
    return this.#ranges.startingAt(ptr, GpuReservation);
  }

  protected override rangeOf(ptr: DevicePtr): GpuReservation {
    return this.#ranges.around(ptr, GpuReservation);
  }

  protected override reusing<T>(action: () => T, unitBytes: number): T {
    return this.#spare.keepDuring(action, unitBytes);
  }

  protected override pieceBytesAt(range: GpuReservation, offset: number): number {
    return range.mapped.get(offset)!.bytes;
  }

  /** Maps pages, all or none: two native calls a piece, and one for all. */
  protected override commitPages(range: GpuReservation, offset: number, bytes: number, pieceBytes: number): boolean {
    if (bytes === 0) return true;
    const limit = this.#limits.of(range.device);
    if (limit?.admits(bytes) === false) return false;
    const isDone = this.#runtime.on(range.device, () => this.#map(range, offset, bytes, pieceBytes));
    if (isDone) limit?.take(bytes);
    return isDone;
  }

  /** Unmaps pieces when no work uses them. What the driver refuses after the first one becomes a process warning. */
  protected override decommitPages(range: GpuReservation, offset: number, bytes: number, isIdle: boolean): void {
    if (bytes === 0) return;
    if (isIdle) this.#runtime.leftovers.retry();
    else this.#finishWork(range);
    const first = range.mapped.get(offset)!.bytes;
    this.#unmap(range, offset);
    // The first piece is gone: from here on the call has succeeded.
    this.#unmapAll(range, offset + first, offset + bytes);
  }

  protected override markDecommitted(range: GpuReservation, offset: number, bytes: number): void {
    super.markDecommitted(range, offset, bytes);
    this.#limits.of(range.device)?.give(bytes);
  }

  /** Maps pages, all or none. @returns whether there was room */
  #map(range: GpuReservation, offset: number, bytes: number, pieceBytes: number): boolean {
    this.#unmapStuck(range, offset, bytes);
    const end = offset + bytes;
    let at = offset;
    let isDone = false;
    try {
      while (at < end) {
        const piece = this.#takePiece(range.device, Math.min(pieceBytes, end - at));
        if (piece === undefined) break;
        this.#mapPiece(range, at, piece);
        at += piece.bytes;
      }
      if (at === end) {
        this.#runtime.driver.setAccess(range.base + offset, bytes, range.device, READ_AND_WRITE);
        isDone = true;
      }
    } finally {
      if (!isDone) this.#unmapAll(range, offset, at);
    }
    return isDone;
  }

  /** Memory that was unmapped, or new memory. @returns undefined when there is no room */
  #takePiece(device: number, mostBytes: number): PhysicalPiece | undefined {
    const spare = this.#spare.take(device, mostBytes);
    if (spare !== undefined) return spare;
    // What does not fit goes before new memory is made, so that the device never holds more than what is committed.
    this.#spare.giveBack(device);
    const handle = this.#runtime.driver.create(mostBytes, device);
    return handle === undefined ? undefined : { handle, bytes: mostBytes, isExported: false };
  }

  #mapPiece(range: GpuReservation, offset: number, piece: PhysicalPiece): void {
    let isMapped = false;
    try {
      this.#runtime.driver.call('MemMap', range.base + offset, piece.bytes, 0, piece.handle, 0);
      isMapped = true;
    } finally {
      if (isMapped) range.mapped.set(offset, piece);
      else this.#spare.drop(range.device, piece);
    }
  }

  #unmap(range: GpuReservation, offset: number): void {
    const piece = range.mapped.get(offset)!;
    this.#runtime.driver.call('MemUnmap', range.base + offset, piece.bytes);
    range.mapped.delete(offset);
    range.stuck.delete(offset);
    this.#spare.drop(range.device, piece);
  }

  /** Unmaps pieces though another call has failed or already succeeded: what the driver refuses is tried again later. */
  #unmapAll(range: GpuReservation, offset: number, end: number): void {
    for (let at = offset; at < end; ) {
      const { bytes } = range.mapped.get(at)!;
      range.stuck.add(at);
      const piece = at;
      attempt(() => this.#unmap(range, piece));
      at += bytes;
    }
  }

  #unmapStuck(range: GpuReservation, offset: number, bytes: number): void {
    for (const at of range.stuck) {
      if (at < offset + bytes && at + range.mapped.get(at)!.bytes > offset) this.#unmap(range, at);
    }
  }

  #finishWork({ device }: GpuReservation): void {
    this.#runtime.leftovers.retry();
    this.#runtime.on(device, () => this.#runtime.call('DeviceSynchronize'));
  }
}
