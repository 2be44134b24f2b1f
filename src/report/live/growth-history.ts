import type { LiveGrowth } from './live-data.js';

/** How far back growth is looked at, in steps. */
const STEP_MS = 10_000;
const KEPT_STEPS = 30;
const SHOWN_GROUPS = 20;

/** The live blocks of one tag and site. */
export interface BlockGroup {
  readonly tag: string;
  readonly site: string;
  bytes: number;
  blocks: number;
}

/** Live blocks by tag and site, with a key for each pair. */
export class BlockGroups extends Map<string, BlockGroup> {
  /** Adds a block. Cost: O(1). */
  add(tag: string, site: string, bytes: number): void {
    const key = site === '' ? tag : `${tag}\0${site}`;
    const group = this.get(key);
    if (group === undefined) {
      this.set(key, { tag, site, bytes, blocks: 1 });
      return;
    }
    group.bytes += bytes;
    group.blocks++;
  }
}

/** Remembers what was live over the last five minutes, in steps of ten seconds, and tells what has grown since. */
export class GrowthHistory {
  readonly #steps: { readonly ms: number; readonly bytes: ReadonlyMap<string, number> }[];

  /** @param ms - the time now, when nothing is live that will be counted */
  constructor(ms: number) {
    this.#steps = [{ ms, bytes: new Map() }];
  }

  /** Whether the next step is due. */
  isDue(ms: number): boolean {
    return ms - this.#steps.at(-1)!.ms >= STEP_MS;
  }

  /** Keeps what is live now. Cost: O(groups). */
  keep(ms: number, groups: BlockGroups): void {
    this.#steps.push({ ms, bytes: new Map(Array.from(groups, ([key, { bytes }]) => [key, bytes])) });
    if (this.#steps.length > KEPT_STEPS) this.#steps.shift();
  }

  /** The groups that hold more than at the first step, what grew the most first. Cost: O(groups log groups). */
  grown(ms: number, groups: BlockGroups): LiveGrowth {
    const { ms: sinceMs, bytes: before } = this.#steps[0]!;
    const grown = Array.from(groups, ([key, group]) => ({ ...group, grownBytes: group.bytes - (before.get(key) ?? 0) }))
      .filter(({ grownBytes }) => grownBytes > 0)
      .sort((a, b) => b.grownBytes - a.grownBytes);
    return { overMs: Math.round(ms - sinceMs), groups: grown.slice(0, SHOWN_GROUPS) };
  }
}
