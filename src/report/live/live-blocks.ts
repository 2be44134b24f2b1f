import { allocationTag } from '../../core/allocation-tag.js';
import type { ManagerSlot } from '../../core/manager-slot.js';
import type { SlotObserver } from '../../core/slot-observer.js';
import { LivePointers } from '../../trace/formats/live-pointers.js';
import { fragmentation } from '../fragmentation.js';
import type { LiveBlock, LiveMap } from './live-data.js';
import { LiveSegments } from './live-segments.js';

const INITIAL_ROWS = 1024;
const SHOWN_BLOCKS = 5000;
const SIZE_CLASSES = 54;

/**
 * Follows the blocks and the native memory of one slot from the moment on at which it begins to observe it: what is older
 * is not seen. An event costs O(1) and makes no object.
 */
export class LiveBlocks implements SlotObserver {
  readonly #slot: ManagerSlot;
  readonly #pointers = new LivePointers();
  readonly #segments = new LiveSegments();
  /** Allocations since the start by power of two: class 0 is of 0 bytes, class n of 2^(n-1) to below 2^n. */
  readonly #allocations = new Float64Array(SIZE_CLASSES);
  readonly #bytesOfClass = new Float64Array(SIZE_CLASSES);
  #addresses = new Float64Array(INITIAL_ROWS);
  #bytes = new Float64Array(INITIAL_ROWS);
  #bornMs = new Float64Array(INITIAL_ROWS);
  readonly #tags: (string | undefined)[] = [];
  #freeRows = new Int32Array(INITIAL_ROWS);
  #freeCount = 0;
  #rows = 0;

  constructor(slot: ManagerSlot) {
    this.#slot = slot;
    slot.observe(this);
  }

  /** Ends the observation. */
  stop(): void {
    this.#slot.unobserve(this);
  }

  alloc(_manager: number, ptr: number, bytes: number): void {
    const sizeClass = bytes === 0 ? 0 : Math.floor(Math.log2(bytes)) + 1;
    this.#allocations[sizeClass]!++;
    this.#bytesOfClass[sizeClass]! += bytes;
    if (ptr === 0) return;
    const row = this.#freeCount > 0 ? this.#freeRows[--this.#freeCount]! : this.#newRow();
    this.#addresses[row] = ptr;
    this.#bytes[row] = bytes;
    this.#bornMs[row] = performance.now();
    this.#tags[row] = allocationTag();
    this.#pointers.add(ptr, row);
  }

  free(_manager: number, ptr: number): void {
    const row = this.#pointers.slotOf(ptr);
    if (row === undefined) return;
    this.#pointers.free(ptr);
    this.#addresses[row] = 0;
    this.#freeRows[this.#freeCount++] = row;
  }

  nativeAlloc(_manager: number, ptr: number, bytes: number): void {
    this.#segments.add(ptr, bytes);
  }

  nativeFree(_manager: number, ptr: number, bytes: number): void {
    this.#segments.remove(ptr, bytes);
  }

  swap(): void {}

  cleanup(): void {}

  outOfMemory(): void {}

  /** What is there now: all segments, and the biggest blocks. Cost: O(blocks log blocks). */
  map(): LiveMap {
    const now = performance.now();
    const paged = this.#slot.nativeCommits > 0;
    const rows = this.#liveRows();
    const ranges = this.#segments.ranges(paged);
    const starts = Float64Array.from(rows, (row) => this.#addresses[row]!);
    const ends = Float64Array.from(rows, (row) => this.#addresses[row]! + this.#bytes[row]!);
    if (rows.length > SHOWN_BLOCKS) rows.sort((a, b) => this.#bytes[b]! - this.#bytes[a]!);
    return {
      blocks: rows.slice(0, SHOWN_BLOCKS).map((row) => this.#blockOf(row, now)),
      blockCount: rows.length,
      segments: ranges.map(({ start, end }) => [start, end - start]),
      fragmentation: fragmentation(ranges, starts, ends),
      sizes: this.#sizes(),
    };
  }

  #blockOf(row: number, now: number): LiveBlock {
    const ptr = this.#addresses[row]!;
    const tag = this.#tags[row] ?? '';
    const site = this.#slot.siteOf(ptr as Parameters<ManagerSlot['siteOf']>[0]) ?? '';
    return [ptr, this.#bytes[row]!, Math.round(now - this.#bornMs[row]!), tag, site];
  }

  #sizes(): LiveMap['sizes'] {
    const sizes: LiveMap['sizes'][number][] = [];
    const last = this.#allocations.findLastIndex((count) => count > 0);
    for (let n = this.#allocations.findIndex((count) => count > 0); n >= 0 && n <= last; n++) {
      const [from, to] = n === 0 ? [0, 1] : [2 ** (n - 1), 2 ** n];
      sizes.push({ from, to, allocations: this.#allocations[n]!, bytes: this.#bytesOfClass[n]! });
    }
    return sizes;
  }

  #liveRows(): number[] {
    const rows: number[] = [];
    for (let row = 0; row < this.#rows; row++) {
      if (this.#addresses[row] !== 0) rows.push(row);
    }
    return rows;
  }

  #newRow(): number {
    if (this.#rows === this.#addresses.length) {
      this.#addresses = doubled(this.#addresses);
      this.#bytes = doubled(this.#bytes);
      this.#bornMs = doubled(this.#bornMs);
      const free = new Int32Array(this.#rows * 2);
      free.set(this.#freeRows);
      this.#freeRows = free;
    }
    return this.#rows++;
  }
}

function doubled(values: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(values.length * 2);
  larger.set(values);
  return larger;
}
