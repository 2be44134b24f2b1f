import { captureSite, formatSite } from '../../core/allocation-site.js';
import { idsColumn } from '../../trace/event-column.js';
import type { SiteAmount } from '../../trace/profile/site-profile.js';
import { SiteTally } from '../../trace/profile/site-tally.js';
import type { SiteStacks } from '../report-data.js';
import { siteStacks } from '../site-stacks.js';

/** How many sites of each measure are sent: they are sent each second. */
const SENT_SITES = 200;
/** How many sites are told apart. A program that makes its code while it runs has no end of them. */
const KNOWN_SITES = 50_000;
const OTHER = '(sites after the first 50,000)';
/** How many blocks are asked for their sites at once: their manager may have to write a stack out for each. */
const ASKED_BLOCKS = 20_000;
/** In the place of a site's id: it was not asked for yet. */
const NOT_ASKED = -1;

/** Gives the site of the allocation that is being made: one line a frame, the innermost first; '' where it is not known. */
export type SiteSource = () => string;

/** Takes the program's stack at each allocation, in some tens of µs. @param frames - of the program, at most */
export function stackSource(frames: number): SiteSource {
  return () => formatSite(captureSite(frames), frames);
}

/** A live block, and its row. */
export interface SitedBlock {
  readonly row: number;
  readonly ptr: number;
  readonly bytes: number;
}

/**
 * The sites of live blocks, by row. With a source each is taken when its block is allocated, and what was allocated and live at
 * the peak is known as well. Without one the managers are asked for the sites of live blocks.
 */
export class LiveSites {
  readonly #texts: string[] = [''];
  readonly #ids = new Map<string, number>([['', 0]]);
  /** The ids of sites, by row. */
  readonly #ofRow = idsColumn();
  readonly #tally = new SiteTally();

  /** @param ask - gives the site that a block's manager has recorded */
  constructor(
    readonly source: SiteSource | undefined,
    readonly ask: (ptr: number) => string | undefined,
  ) {}

  alloc(row: number, bytes: number): void {
    const site = this.source === undefined ? NOT_ASKED : this.#idOf(this.source());
    this.#ofRow.set(row, site);
    if (this.source !== undefined) this.#tally.alloc(row, site, bytes);
  }

  free(row: number, bytes: number): void {
    if (this.source !== undefined) this.#tally.free(row, bytes);
  }

  /** The site of a live block, '' where it is not known. */
  textOf({ row, ptr }: SitedBlock): string {
    if (this.#ofRow.get(row) === NOT_ASKED) this.#ofRow.set(row, this.#idOf(this.ask(ptr) ?? ''));
    return this.#texts[this.#ofRow.get(row)]!;
  }

  /** The site that was taken when a block was allocated; '' without a source: to ask for all of them would take long. */
  takenOf(row: number): string {
    return this.source === undefined ? '' : this.#texts[this.#ofRow.get(row)]!;
  }

  /** What the sites hold. Null when no site is known. Cost: O(sites log sites), and O(blocks) without a source. */
  stacks(blocks: readonly SitedBlock[]): SiteStacks | null {
    if (this.source === undefined) return siteStacks({ live: this.#liveOf(blocks) }, SENT_SITES);
    const amounts = (measure: 'live' | 'allocated' | 'peak') =>
      this.#tally.amounts(measure).map(({ site, ...amount }) => ({ site: this.#texts[site]!, ...amount }));
    return siteStacks({ live: amounts('live'), allocated: amounts('allocated'), peak: amounts('peak') }, SENT_SITES);
  }

  #liveOf(blocks: readonly SitedBlock[]): SiteAmount[] {
    const sums = new Map<string, { site: string; blocks: number; bytes: number }>();
    let asked = 0;
    for (const block of blocks) {
      // Those that are left come next time: they are not known until then.
      const isLeft = this.#ofRow.get(block.row) === NOT_ASKED && ++asked > ASKED_BLOCKS;
      const site = isLeft ? '' : this.textOf(block);
      const sum = sums.get(site) ?? { site, blocks: 0, bytes: 0 };
      sum.blocks++;
      sum.bytes += block.bytes;
      sums.set(site, sum);
    }
    return [...sums.values()];
  }

  #idOf(text: string): number {
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    if (text !== OTHER && this.#texts.length > KNOWN_SITES) return this.#idOf(OTHER);
    const id = this.#texts.push(text) - 1;
    this.#ids.set(text, id);
    return id;
  }
}
