import { StringTable } from '../trace/string-table.js';
import type { TraceEvents } from '../trace/trace-events.js';
import { bucketStride } from './bucket-curve.js';
import type { HeaviestTexts } from './heaviest-texts.js';
import type { LeakGroupData, LeakTable } from './report-data.js';

/** When a block is not freed by its trace. */
export const NEVER = 0xffffffff;

const MAX_MOMENTS = 4096;
const MAX_BLOCKS = 250_000;
const MAX_LEAK_GROUPS = 200;

/**
 * The blocks of a trace, one row an allocation: block `i` lives at moment `m` (a number of events done) when
 * `born[i] <= m < died[i]`. Takes 16 bytes an allocation.
 */
export class BlockLifetimes {
  readonly born: Uint32Array;
  readonly died: Uint32Array;
  readonly bytes: Float64Array;
  /** Of each row: the event that allocates it is `born - 1`. */
  readonly length: number;
  readonly events: number;

  /** Cost: O(events). */
  constructor(trace: TraceEvents) {
    const { slots, bytes } = trace;
    this.events = trace.length;
    this.length = trace.allocations;
    this.born = new Uint32Array(this.length);
    this.died = new Uint32Array(this.length).fill(NEVER);
    this.bytes = new Float64Array(this.length);
    const rowOfSlot = new Int32Array(trace.slotCount);
    let row = 0;
    for (let event = 0; event < slots.length; event++) {
      const slot = slots[event]!;
      if (slot >= 0) {
        rowOfSlot[slot] = row;
        this.born[row] = event + 1;
        this.bytes[row] = bytes[event]!;
        row++;
      } else {
        this.died[rowOfSlot[~slot]!] = event + 1;
      }
    }
  }

  /**
   * The distance of the moments at which the blocks are to be shown: the least power of two that leaves not too many
   * moments, nor too many blocks that live at one of them.
   */
  chooseStride(): number {
    let stride = bucketStride(this.events, MAX_MOMENTS);
    const isSeenAt = (row: number) => isSeen(this.born[row]!, this.died[row]!, stride, []);
    while (stride < this.events && this.died.filter((_, row) => isSeenAt(row)).length > MAX_BLOCKS) stride *= 2;
    return stride;
  }

  /** The rows that live at a multiple of `stride`, at the end, or at one of `moments`. Cost: O(rows x moments given). */
  rowsAt(stride: number, moments: readonly number[]): Uint32Array {
    const seen = [...moments, this.events];
    return this.born.map((_, row) => row).filter((row) => isSeen(this.born[row]!, this.died[row]!, stride, seen));
  }
}

/** Tells whether something that lives from `born` to before `died` lives at a multiple of `stride` or at one of `moments`. */
export function isSeen(born: number, died: number, stride: number, moments: readonly number[]): boolean {
  const isAtMultiple = Math.floor((died - 1) / stride) * stride >= born;
  return isAtMultiple || moments.some((moment) => born <= moment && moment < died);
}

/**
 * Groups what a trace never frees by tag and site, or by size where neither is known. Cost: O(allocations).
 *
 * @param tags - those of the page, into which go the tags of the groups that are shown; and so with the sites
 */
export function leakTable(trace: TraceEvents, lifetimes: BlockLifetimes, tags: HeaviestTexts, sites: HeaviestTexts): LeakTable {
  const [allTags, allSites] = [new StringTable(), new StringTable()];
  const groups = new Map<string, { -readonly [K in keyof LeakGroupData]: LeakGroupData[K] }>();
  let blocks = 0;
  let bytes = 0;
  for (let row = 0; row < lifetimes.length; row++) {
    if (lifetimes.died[row] !== NEVER) continue;
    const event = lifetimes.born[row]! - 1;
    const size = lifetimes.bytes[row]!;
    const tag = allTags.idOf(trace.tagOf(event));
    const site = allSites.idOf(trace.siteOf(event));
    blocks++;
    bytes += size;
    const key = tag + site === 0 ? `of ${size}` : `${tag} ${site}`;
    const group = groups.get(key) ?? { blocks: 0, bytes: 0, event, tag, site };
    group.blocks++;
    group.bytes += size;
    groups.set(key, group);
  }
  const sorted = [...groups.values()].sort((a, b) => b.bytes - a.bytes);
  const shown = sorted.slice(0, MAX_LEAK_GROUPS).map((group) => ({
    ...group,
    tag: tags.keep(allTags.get(group.tag)),
    site: sites.keep(allSites.get(group.site)),
  }));
  return { blocks, bytes, groups: shown, omittedGroups: sorted.length - shown.length };
}
