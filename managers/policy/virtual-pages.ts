import { NONE } from '../../src/blocks/block-rows.js';
import type { DeviceHeap } from '../../src/blocks/device-heap.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import type { Holes } from '../../src/blocks/holes.js';
import { orUndo } from '../../src/core/attempt.js';
import type { MemoryPart, VirtualMemory } from '../../src/core/device-interface.js';
import { checkStackRoomHere } from '../../src/core/stack-room.js';
import { alignUp, type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import { askNative } from './ask-native.js';

/** What was reserved at once. Its first page begins behind its start when pages are larger than the granularity. */
interface AddressRange {
  readonly start: DevicePtr;
  readonly bytes: number;
  readonly firstPage: number;
}

/**
 * Memory from address ranges that were reserved, page by page. A part of a range without memory is a hole, a block of its own.
 * `reserved == sum(bytes of blocks that are no holes)`.
 */
export class VirtualPages {
  readonly holes: Holes;
  readonly #heap: DeviceHeap;
  readonly #idle: FreeBlocks;
  readonly #virtual: VirtualMemory;
  readonly pageBytes: number;
  readonly #ranges: AddressRange[] = [];

  /**
   * @param group - of the holes, and of nothing else
   * @param idle - the free blocks beside the holes
   * @param pageBytes - a multiple of the granularity
   */
  constructor(heap: DeviceHeap, idle: FreeBlocks, virtual: VirtualMemory, group: number, pageBytes: number) {
    this.holes = heap.createHoles(group, idle, pageBytes);
    this.#heap = heap;
    this.#idle = idle;
    this.#virtual = virtual;
    this.pageBytes = pageBytes;
  }

  /**
   * Reserves one more range.
   *
   * @param wishBytes - tried first, then half of it and so on; whole pages, as `leastBytes`
   * @param leastBytes - tried last
   * @returns false when there is none
   */
  reserve(wishBytes: number, leastBytes: number, failure: { cause: unknown }): boolean {
    const edge = this.pageBytes - this.#virtual.granularityBytes;
    for (let room = Math.max(wishBytes, leastBytes); ; ) {
      const start = askNative(() => this.#virtual.reserve(room + edge), NULL_PTR, failure);
      if (start !== NULL_PTR) {
        const firstPage = alignUp(start, this.pageBytes);
        this.#ranges.push({ start, bytes: room + edge, firstPage });
        this.holes.add(firstPage, room);
        return true;
      }
      if (room <= leastBytes) return false;
      room = Math.max(alignUp(room / 2, this.pageBytes), leastBytes);
    }
  }

  /**
   * Commits pages of a hole.
   *
   * @param pieceBytes - how large the pieces are where the device takes back whole pieces alone. @defaultValue pages
   * @returns the free block that holds them, or NONE
   */
  commit(hole: number, address: number, bytes: number, failure: { cause: unknown }, pieceBytes = this.pageBytes): number {
    // The call may come back with an allocation, which must not find this hole.
    this.holes.give(hole);
    let isDone = false;
    try {
      isDone = askNative(() => this.#virtual.commit(address as DevicePtr, bytes, pieceBytes), false, failure);
    } finally {
      if (!isDone) this.holes.keep(hole);
    }
    if (!isDone) return NONE;
    const block = this.holes.fill(hole, address, bytes);
    this.#heap.stats.reserved(bytes);
    return block;
  }

  /** What can be taken away of a free block: its whole pages, or its whole pieces where the device has those. */
  wholeIn(block: number): MemoryPart {
    const { pieces } = this.#virtual;
    if (pieces !== undefined) return pieces.wholeIn(this.#heap.addressOf(block) as DevicePtr, this.#heap.bytesOf(block));
    return { ptr: this.holes.firstPage(block) as DevicePtr, bytes: this.holes.wholePages(block) };
  }

  /** The pieces in a free block, the last one first. O(pages). */
  piecesIn(block: number): MemoryPart[] {
    const { pieces, granularityBytes } = this.#virtual;
    const { ptr, bytes } = this.wholeIn(block);
    const found: MemoryPart[] = [];
    for (let end = bytes; end > 0; ) {
      // All whole pieces that end before the last page are all but the last one.
      const start = pieces === undefined ? end - this.pageBytes : pieces.wholeIn(ptr, end - granularityBytes).bytes;
      found.push({ ptr: (ptr + start) as DevicePtr, bytes: end - start });
      end = start;
    }
    return found;
  }

  /**
   * The last whole pages, or pieces, between two addresses of a free block.
   *
   * @param leastBytes - so many of them, or a little more; all when there are not so many
   */
  lastBetween(from: number, to: number, leastBytes: number): MemoryPart {
    const { pieces, granularityBytes } = this.#virtual;
    const unit = pieces === undefined ? this.pageBytes : granularityBytes;
    const whole = this.#wholeBetween(from, to);
    const before = Math.floor(Math.max(whole.bytes - leastBytes, 0) / unit) * unit;
    const kept = this.#wholeBetween(whole.ptr, whole.ptr + before).bytes;
    return { ptr: (whole.ptr + kept) as DevicePtr, bytes: whole.bytes - kept };
  }

  #wholeBetween(from: number, to: number): MemoryPart {
    const { pieces } = this.#virtual;
    if (pieces !== undefined) return pieces.wholeIn(from as DevicePtr, to - from);
    const first = alignUp(from, this.pageBytes);
    return { ptr: first as DevicePtr, bytes: Math.max(Math.floor(to / this.pageBytes) * this.pageBytes - first, 0) };
  }

  /** Tells whether a part lies in a free block, and can be taken away. */
  isWhole(block: number, { ptr, bytes }: MemoryPart): boolean {
    const whole = this.wholeIn(block);
    if (ptr < whole.ptr || ptr + bytes > whole.ptr + whole.bytes) return false;
    return this.#virtual.pieces === undefined || this.#virtual.pieces.wholeIn(ptr, bytes).bytes === bytes;
  }

  /**
   * Takes whole pages, or pieces, of a free block away, once no stream works on them.
   *
   * @param mostBytes - how many of them: whole pages, or all where the device has pieces. The last ones go, since a range fills from
   * its start. @defaultValue all
   * @returns their bytes
   */
  decommit(block: number, settle: () => void, mostBytes = Number.POSITIVE_INFINITY): number {
    const { ptr, bytes } = this.wholeIn(block);
    const most = Math.min(bytes, mostBytes);
    return this.decommitPart(block, { ptr: (ptr + bytes - most) as DevicePtr, bytes: most }, settle);
  }

  /**
   * Takes a part of a free block away, once no stream works on it.
   *
   * @param part - whole pages, or pieces; nothing is done for none
   * @returns its bytes
   */
  decommitPart(block: number, { ptr, bytes }: MemoryPart, settle: () => void): number {
    checkStackRoomHere();
    if (bytes === 0) return 0;
    const part = this.#takeOut(block, ptr, bytes);
    try {
      settle();
      this.#virtual.decommit(ptr, bytes, true);
    } catch (error) {
      this.#idle.join(part);
      throw error;
    }
    this.holes.punch(part);
    this.#heap.stats.released(bytes);
    return bytes;
  }

  /** Takes the part of a free block out: what lies before and behind it stays in. */
  #takeOut(block: number, address: number, bytes: number): number {
    const heap = this.#heap;
    this.#idle.takeOut(block);
    const start = heap.addressOf(block);
    let part = block;
    const divide = () => {
      if (address > start) part = heap.split(block, address - start);
      return heap.bytesOf(part) > bytes ? heap.split(part, bytes) : NONE;
    };
    const rest = orUndo(divide, () => {
      this.#idle.putIn(block);
      if (part !== block) this.#idle.join(part);
    });
    if (part !== block) this.#idle.putIn(block);
    if (rest !== NONE) this.#idle.putIn(rest);
    return part;
  }

  /** Gives the ranges back that have no memory. */
  release(): void {
    const heap = this.#heap;
    for (const hole of this.holes.toArray()) {
      // A native call before may have come back, so that it is another's hole by now, or none.
      if (!heap.isHole(hole) || !heap.isWholeSegment(hole)) continue;
      const range = this.#ranges.find(({ firstPage }) => firstPage === heap.addressOf(hole));
      if (range === undefined) continue;
      this.holes.give(hole);
      try {
        this.#virtual.release(range.start, range.bytes);
      } catch (error) {
        this.holes.keep(hole);
        throw error;
      }
      this.#ranges.splice(this.#ranges.indexOf(range), 1);
      heap.remove(hole);
    }
  }
}
