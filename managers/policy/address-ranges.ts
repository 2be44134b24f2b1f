import type { DeviceHeap } from '../../src/blocks/device-heap.js';
import type { Holes } from '../../src/blocks/holes.js';
import type { VirtualMemory } from '../../src/core/device-interface.js';
import { alignUp, type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import { askNative } from './ask-native.js';

/** What was reserved at once. Its first page begins behind its start when pages are larger than the granularity. */
interface AddressRange {
  readonly start: DevicePtr;
  readonly bytes: number;
  readonly firstPage: number;
}

/** Address ranges that were reserved for pages of one size. Each begins as one hole. */
export class AddressRanges {
  readonly #heap: DeviceHeap;
  readonly #holes: Holes;
  readonly #virtual: VirtualMemory;
  readonly #pageBytes: number;
  readonly #ranges: AddressRange[] = [];

  /** @param pageBytes - a multiple of the granularity */
  constructor(heap: DeviceHeap, holes: Holes, virtual: VirtualMemory, pageBytes: number) {
    this.#heap = heap;
    this.#holes = holes;
    this.#virtual = virtual;
    this.#pageBytes = pageBytes;
  }

  /**
   * Reserves one more range.
   *
   * @param wishBytes - tried first, then half of it and so on; whole pages, as `leastBytes`
   * @param leastBytes - tried last
   * @returns false when there is none
   */
  add(wishBytes: number, leastBytes: number, failure: { cause: unknown }): boolean {
    const edge = this.#pageBytes - this.#virtual.granularityBytes;
    for (let room = Math.max(wishBytes, leastBytes); ; ) {
      const start = askNative(() => this.#virtual.reserve(room + edge), NULL_PTR, failure);
      if (start !== NULL_PTR) {
        const firstPage = alignUp(start, this.#pageBytes);
        this.#ranges.push({ start, bytes: room + edge, firstPage });
        this.#holes.add(firstPage, room);
        return true;
      }
      if (room <= leastBytes) return false;
      room = Math.max(alignUp(room / 2, this.#pageBytes), leastBytes);
    }
  }

  /** Gives the ranges back that have no memory. */
  release(): void {
    const heap = this.#heap;
    for (const hole of this.#holes.toArray()) {
      if (!heap.isHole(hole) || !heap.isWholeSegment(hole)) continue;
      const range = this.#ranges.find(({ firstPage }) => firstPage === heap.addressOf(hole))!;
      this.#holes.give(hole);
      try {
        this.#virtual.release(range.start, range.bytes);
      } catch (error) {
        this.#holes.keep(hole);
        throw error;
      }
      this.#ranges.splice(this.#ranges.indexOf(range), 1);
      heap.remove(hole);
    }
  }
}
