import { allocationTag } from '../../core/allocation-tag.js';
import type { ManagerSlot } from '../../core/manager-slot.js';
import type { SlotObserver } from '../../core/slot-observer.js';
import { idsColumn, numbersColumn } from '../../trace/event-column.js';
import { LivePointers } from '../../trace/formats/live-pointers.js';
import { fragmentation, joined, type MemoryRange } from '../fragmentation.js';
import { SizeClasses } from '../size-classes.js';
import { BlockGroups, GrowthHistory } from './growth-history.js';
import type { LiveBlock, LiveMap } from './live-data.js';
import { LiveSites, type SitedBlock, type SiteSource } from './live-sites.js';

const SHOWN_BLOCKS = 5000;

/**
 * Follows the blocks and the native memory of one slot from the moment at which it begins to observe it: what is older is not
 * seen. An event costs O(1) and makes no object, unless there is a source of sites.
 */
export class LiveBlocks implements SlotObserver {
  readonly #pointers = new LivePointers();
  readonly #segments = new LiveSegments();
  /** Of all allocations since the start. */
  readonly #sizes = new SizeClasses();
  // By row, one a live block; the address is 0 in a row without a block.
  readonly #addresses = numbersColumn();
  readonly #bytes = numbersColumn();
  readonly #bornMs = numbersColumn();
  readonly #tags: (string | undefined)[] = [];
  readonly #freeRows = idsColumn();
  #freeCount = 0;
  #rows = 0;

  readonly #sites: LiveSites;
  readonly #growth = new GrowthHistory(performance.now());

  /** @param source - gives the sites of allocations; undefined leaves them to the managers that record them */
  constructor(
    readonly slot: ManagerSlot,
    source?: SiteSource,
  ) {
    this.#sites = new LiveSites(source, (ptr) => slot.siteOf(ptr as Parameters<ManagerSlot['siteOf']>[0]));
    slot.observe(this);
  }

  /** Ends the observation. */
  stop(): void {
    this.slot.unobserve(this);
  }

  alloc(_manager: number, ptr: number, bytes: number): void {
    this.#sizes.add(bytes);
    if (ptr === 0) return;
    const row = this.#freeCount > 0 ? this.#freeRows.get(--this.#freeCount) : this.#rows++;
    this.#addresses.set(row, ptr);
    this.#bytes.set(row, bytes);
    this.#bornMs.set(row, performance.now());
    this.#tags[row] = allocationTag();
    this.#pointers.add(ptr, row);
    this.#sites.alloc(row, bytes);
  }

  free(_manager: number, ptr: number): void {
    const row = this.#pointers.slotOf(ptr);
    if (row === undefined) return;
    this.#pointers.free(ptr);
    this.#sites.free(row, this.#bytes.get(row));
    this.#addresses.set(row, 0);
    this.#freeRows.set(this.#freeCount++, row);
  }

  nativeAlloc(_manager: number, ptr: number, bytes: number): void {
    this.#segments.set(ptr, bytes);
  }

  nativeFree(_manager: number, ptr: number, bytes: number): void {
    this.#segments.remove(ptr, bytes);
  }

  swap(): void {}

  cleanup(): void {}

  outOfMemory(): void {}

  /** Keeps what is live now, every ten seconds, so that growth can be seen. Cost: O(blocks) then, else O(1). */
  followGrowth(): void {
    const now = performance.now();
    if (this.#growth.isDue(now)) this.#growth.keep(now, this.#groups());
  }

  /** The current state: all segments, and the biggest blocks. Cost: O(blocks log blocks). */
  map(): LiveMap {
    const now = performance.now();
    const paged = this.slot.nativeCommits > 0;
    const rows = Array.from({ length: this.#rows }, (_, row) => row).filter((row) => this.#addresses.get(row) !== 0);
    const ranges = this.#segments.ranges(paged);
    const starts = Float64Array.from(rows, (row) => this.#addresses.get(row));
    const ends = Float64Array.from(rows, (row) => this.#addresses.get(row) + this.#bytes.get(row));
    const stacks = this.#sites.stacks(rows.map((row) => this.#sited(row)));
    if (rows.length > SHOWN_BLOCKS) rows.sort((a, b) => this.#bytes.get(b) - this.#bytes.get(a));
    const texts = new Map<string, number>();
    return {
      blocks: rows.slice(0, SHOWN_BLOCKS).map((row) => this.#blockOf(row, now, texts)),
      sites: [...texts.keys()],
      stacks,
      blockCount: rows.length,
      segments: ranges.map(({ start, end }) => [start, end - start]),
      fragmentation: fragmentation(ranges, starts, ends),
      sizes: this.#sizes.list(),
      growth: this.#growth.grown(now, this.#groups()),
    };
  }

  #groups(): BlockGroups {
    const groups = new BlockGroups();
    for (let row = 0; row < this.#rows; row++) {
      if (this.#addresses.get(row) !== 0) groups.add(this.#tags[row] ?? '', this.#sites.takenOf(row), this.#bytes.get(row));
    }
    return groups;
  }

  #sited(row: number): SitedBlock {
    return { row, ptr: this.#addresses.get(row), bytes: this.#bytes.get(row) };
  }

  /** @param texts - the places of sites, by their texts; a new one is added */
  #blockOf(row: number, now: number, texts: Map<string, number>): LiveBlock {
    const block = this.#sited(row);
    const site = this.#sites.textOf(block);
    if (!texts.has(site)) texts.set(site, texts.size);
    return [block.ptr, block.bytes, Math.round(now - this.#bornMs.get(row)), this.#tags[row] ?? '', texts.get(site)!];
  }
}

/** The current native memory: the bytes of each segment, and of pages that were committed, by address. */
class LiveSegments extends Map<number, number> {
  /** A segment went back, or any part of the pages. Cost: O(1) for what came as a whole, else O(segments). */
  remove(start: number, bytes: number): void {
    if (this.get(start) === bytes) {
      this.delete(start);
      return;
    }
    const end = start + bytes;
    for (const [from, size] of [...this]) {
      const to = from + size;
      if (to <= start || from >= end) continue;
      this.delete(from);
      if (from < start) this.set(from, start - from);
      if (to > end) this.set(end, to - end);
    }
  }

  /** By address; those that touch are one when `paged`. Cost: O(n log n). */
  ranges(paged: boolean): MemoryRange[] {
    const ranges = Array.from(this, ([start, bytes]) => ({ start, end: start + bytes })).sort((a, b) => a.start - b.start);
    return paged ? joined(ranges) : ranges;
  }
}
