import type { ProfileMeasure } from './profile-measure.js';

/** Blocks and bytes of one site, by its id. */
export interface SiteIdAmount {
  readonly site: number;
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

/**
 * Adds blocks up by the ids of their sites. Cost: O(1) a call, and memory for the sites and the live blocks. A slot is a small
 * integer that stands for one live block, and is used again once that block is freed.
 */
export class SiteTally {
  readonly #ofSite: SiteCounts[] = [];
  #siteOfSlot = new Int32Array(INITIAL_SLOTS);
  #changed: SiteCounts[] = [];
  #liveBytes = 0;
  #peakBytes = 0;
  /** Whether the peak of all so far is now: its sites are noted when it is over. */
  #isAtPeak = false;

  /** @param site - a small integer: sites have entries up to the highest one */
  alloc(slot: number, site: number, bytes: number): void {
    if (slot >= this.#siteOfSlot.length) this.#makeRoom(slot + 1);
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

  /** @param slot - one that an allocation filled @param bytes - those of that allocation */
  free(slot: number, bytes: number): void {
    if (this.#isAtPeak) this.#notePeak();
    const counts = this.#ofSite[this.#siteOfSlot[slot]!]!;
    counts.liveBlocks--;
    counts.liveBytes -= bytes;
    this.#note(counts);
    this.#liveBytes -= bytes;
  }

  /** The sites that have any, in the order of their ids. Cost: O(sites) */
  amounts(measure: ProfileMeasure): SiteIdAmount[] {
    if (this.#isAtPeak) this.#notePeak();
    return this.#ofSite.map((counts, site) => ({ site, ...amountOf(counts, measure) })).filter(({ blocks }) => blocks > 0);
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
