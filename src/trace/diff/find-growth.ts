import { BlockLives } from './block-lives.js';
import { growthOf, type Surroundings } from './growth.js';
import { groupKey, type LivesGroup } from './trace-lives.js';

/** Blocks of a site that there are more of than before. */
export interface GrownSite {
  /** '' when it was not recorded, or when blocks with one tag grew over many sites. */
  readonly site: string;
  /** '' for none, or when blocks of one site grew over many tags. */
  readonly tag: string;
  /** By how much it grew. */
  readonly bytes: number;
  readonly blocks: number;
  /** The smallest and the largest of its blocks that are live at the end. */
  readonly leastBytes: number;
  readonly mostBytes: number;
  /** When the oldest of them was allocated, in nanoseconds of the trace. */
  readonly oldestNs: number;
}

/** What is known of both traces as a whole. */
type Compared = Omit<Surroundings, 'isNewSite'>;
/** By how many standard deviations more groups must have grown than shrunk. */
const SURE_OF_MANY = 5;

type Groups = ReadonlyMap<string, LivesGroup>;

/** How groups are joined, one after the other: what is found in a finer one is left out of a coarser one. */
const JOINS: readonly ((group: LivesGroup) => { readonly site: string; readonly tag: string })[] = [
  ({ site, tag }) => ({ site, tag }),
  ({ site }) => ({ site, tag: '' }),
  ({ tag }) => ({ site: '', tag }),
];

/**
 * Finds the groups that grew from one trace to another: sites with a tag; of the others sites over all tags, and tags over all sites.
 *
 * @returns most grown first
 */
export function findGrowth(before: Groups, after: Groups, traces: Compared): GrownSite[] {
  const grown: GrownSite[] = [];
  const found = new Set<string>();
  const none = new BlockLives();
  const sites = new Set(Array.from(before.values(), ({ site }) => site));
  for (const join of JOINS) {
    const olds = joined(before, join, found);
    for (const { site, tag, lives, keys } of joined(after, join, found).values()) {
      if (join !== JOINS[0] && !haveMostGrown(keys, before, after)) continue;
      const growth = growthOf(olds.get(groupKey(site, tag))?.lives ?? none, lives, {
        ...traces,
        isNewSite: !sites.has(site),
      });
      if (growth === undefined) continue;
      const { leastBytes, mostBytes, oldestNs } = lives;
      grown.push({ site, tag, ...growth, leastBytes, mostBytes, oldestNs });
      for (const key of keys) found.add(key);
    }
  }
  return grown.sort((a, b) => b.bytes - a.bytes);
}

/**
 * Whether so many of the groups grew that it can hardly be chance. A group that was joined of many mixes blocks of all ages: its own
 * figures alone say little.
 */
function haveMostGrown(keys: readonly string[], before: Groups, after: Groups): boolean {
  const changes = keys.map((key) => Math.sign(blocksOf(after.get(key)) - blocksOf(before.get(key))));
  const changed = changes.filter((change) => change !== 0).length;
  return changed > 0 && changes.reduce((sum, change) => sum + change, 0) >= SURE_OF_MANY * Math.sqrt(changed);
}

function blocksOf(group: LivesGroup | undefined): number {
  return group?.lives.survivors?.blocks.reduce((sum, blocks) => sum + blocks, 0) ?? 0;
}

interface Joined extends LivesGroup {
  /** Of the groups that it is made of. */
  readonly keys: string[];
}

function joined(groups: Groups, join: (typeof JOINS)[number], found: ReadonlySet<string>): Map<string, Joined> {
  const all = new Map<string, Joined>();
  for (const [key, group] of groups) {
    if (found.has(key)) continue;
    const { site, tag } = join(group);
    const into = groupKey(site, tag);
    const known = all.get(into);
    if (known === undefined) {
      const lives = new BlockLives();
      lives.add(group.lives);
      all.set(into, { site, tag, lives, keys: [key] });
    } else {
      known.lives.add(group.lives);
      known.keys.push(key);
    }
  }
  return all;
}
