import { type EventBatch, TraceKind } from '../trace-events.js';

/** What a profile can show of each allocation site. */
export const PROFILE_MEASURES = ['live', 'allocated', 'peak'] as const;

/** Blocks that are live at the end, all that were allocated, or those that were live when most bytes were. */
export type ProfileMeasure = (typeof PROFILE_MEASURES)[number];

/** Blocks and bytes of one site. */
export interface SiteAmount {
  /** The site: one line a frame, the innermost first; '' where it is not known. */
  readonly site: string;
  readonly blocks: number;
  readonly bytes: number;
}

/** One site's blocks, now and when most bytes were live. */
class SiteCounts {
  allocatedBlocks = 0;
  allocatedBytes = 0;
  liveBlocks = 0;
  liveBytes = 0;
  peakBlocks = 0;
  peakBytes = 0;
  /** Whether the live ones differ from those of the peak. */
  isChanged = false;
}

const INITIAL_SLOTS = 1024;

/** Adds events up by allocation site. Cost: O(1) an event, and memory for the sites and the live blocks. */
export class SiteProfile {
  readonly #ofSite: SiteCounts[] = [];
  #siteOfSlot = new Int32Array(INITIAL_SLOTS);
  #changed: SiteCounts[] = [];
  #liveBytes = 0;
  #peakBytes = 0;
  /** Whether the peak of all so far is now: its sites are noted when it is over. */
  #isAtPeak = false;
  #strings: EventBatch['strings'] | undefined;

  add(batch: EventBatch): void {
    this.#strings = batch.strings;
    this.#makeRoom(batch.slotCount);
    for (let i = 0; i < batch.length; i++) {
      const kind = batch.kinds[i];
      if (kind === TraceKind.alloc) this.#alloc(batch.slots[i]!, batch.sites?.[i] ?? 0, batch.bytes[i]!);
      else if (kind === TraceKind.free) this.#free(~batch.slots[i]!, batch.bytes[i]!);
    }
  }

  /** The sites that have any, the most bytes first. Cost: O(sites log sites) */
  amounts(measure: ProfileMeasure): SiteAmount[] {
    if (this.#isAtPeak) this.#notePeak();
    return this.#ofSite
      .map((counts, id) => ({ site: this.#strings?.get(id) ?? '', ...amountOf(counts, measure) }))
      .filter(({ blocks }) => blocks > 0)
      .sort((a, b) => b.bytes - a.bytes);
  }

  #alloc(slot: number, site: number, bytes: number): void {
    const counts = (this.#ofSite[site] ??= new SiteCounts());
    this.#siteOfSlot[slot] = site;
    counts.allocatedBlocks++;
    counts.allocatedBytes += bytes;
    counts.liveBlocks++;
    counts.liveBytes += bytes;
    this.#note(counts);
    this.#liveBytes += bytes;
    if (this.#liveBytes > this.#peakBytes) {
      this.#peakBytes = this.#liveBytes;
      this.#isAtPeak = true;
    }
  }

  #free(slot: number, bytes: number): void {
    if (this.#isAtPeak) this.#notePeak();
    const counts = this.#ofSite[this.#siteOfSlot[slot]!]!;
    counts.liveBlocks--;
    counts.liveBytes -= bytes;
    this.#note(counts);
    this.#liveBytes -= bytes;
  }

  #note(counts: SiteCounts): void {
    if (counts.isChanged) return;
    counts.isChanged = true;
    this.#changed.push(counts);
  }

  /** Only what has changed since the last peak: a peak that grows by one block at a time costs no more than its events. */
  #notePeak(): void {
    for (const counts of this.#changed) {
      counts.peakBlocks = counts.liveBlocks;
      counts.peakBytes = counts.liveBytes;
      counts.isChanged = false;
    }
    this.#changed = [];
    this.#isAtPeak = false;
  }

  #makeRoom(slots: number): void {
    if (slots <= this.#siteOfSlot.length) return;
    const larger = new Int32Array(Math.max(slots, 2 * this.#siteOfSlot.length));
    larger.set(this.#siteOfSlot);
    this.#siteOfSlot = larger;
  }
}

function amountOf(counts: SiteCounts, measure: ProfileMeasure): { blocks: number; bytes: number } {
  if (measure === 'live') return { blocks: counts.liveBlocks, bytes: counts.liveBytes };
  if (measure === 'peak') return { blocks: counts.peakBlocks, bytes: counts.peakBytes };
  return { blocks: counts.allocatedBlocks, bytes: counts.allocatedBytes };
}
