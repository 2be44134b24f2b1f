import { type EventBatch, TraceKind } from '../trace-events.js';
import type { ProfileMeasure } from './profile-measure.js';
import { SiteTally } from './site-tally.js';

/** Blocks and bytes of one site. */
export interface SiteAmount {
  /** The site: one line a frame, the innermost first; '' where it is not known. */
  readonly site: string;
  readonly blocks: number;
  readonly bytes: number;
}

/** Adds events up by allocation site. Cost: O(1) an event, and memory for the sites and the live blocks. */
export class SiteProfile {
  readonly #tally = new SiteTally();
  #strings: EventBatch['strings'] | undefined;

  add(batch: Pick<EventBatch, 'length' | 'kinds' | 'slots' | 'sites' | 'bytes' | 'strings'>): void {
    this.#strings = batch.strings;
    for (let i = 0; i < batch.length; i++) {
      const kind = batch.kinds[i];
      if (kind === TraceKind.alloc) this.#tally.alloc(batch.slots[i]!, batch.sites?.[i] ?? 0, batch.bytes[i]!);
      else if (kind === TraceKind.free) this.#tally.free(~batch.slots[i]!, batch.bytes[i]!);
    }
  }

  /** The sites that have any, the most bytes first. Cost: O(sites log sites) */
  amounts(measure: ProfileMeasure): SiteAmount[] {
    return this.#tally
      .amounts(measure)
      .map(({ site, blocks, bytes }) => ({ site: this.#strings?.get(site) ?? '', blocks, bytes }))
      .sort((a, b) => b.bytes - a.bytes);
  }
}
