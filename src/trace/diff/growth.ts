import { AGE_BUCKETS, ageBucket, type BlockLives, type Survivors } from './block-lives.js';

/*
 * What counts as growth.
 *
 * A block that is live at the end says little by itself: every program has some at any moment, and how many is chance. So only
 * settled blocks are compared: those that are older than the blocks of their group get before they are freed. The number of
 * blocks that come and go on their own varies as chance has it (its variance is its mean, and a sum of bytes has that of the
 * squares of the bytes); where they come and go together it varies more, as the trace before shows. What lies far outside that is
 * growth.
 */

/** By how many standard deviations settled blocks must have grown: by chance one group in 30,000 does. */
const SURE = 4;
/** The same for a group that had no settled block before, where chance has no start. */
const SURE_IF_NEW = 3;
/** The same for blocks twice as old as any freed one has got, of groups whose blocks are freed as a rule: their age speaks, too. */
const SURE_IF_OLD = 2.2;
const LEAST_OLD_BLOCKS = 5;
/** Groups with fewer frees are judged by the ages of all groups. */
const FEW_FREES = 30;
/** Of the frees, how many may be at a greater age than that from which on a block is settled. */
const LATE_FREES = 0.01;
/** Buckets of age behind the oldest freed block, from the begin of which a block is at least twice as old. */
const TWICE_AS_OLD = 3;
/** By how many standard deviations the number of all blocks may have changed against that of settled ones. */
const MOST_STRAY = 3;
/** Blocks of a site that frees nothing, and that did not occur before, have grown if they are at least this part of the peak. */
const LARGE_PART = 0.1;

/** What settled blocks there are more than before. */
export interface Growth {
  readonly blocks: number;
  readonly bytes: number;
}

/** What a group is judged by beside its own lives. */
export interface Surroundings {
  /** Frees of all groups before and after, by the bucket of their age. */
  readonly freed: Uint32Array;
  /** The events of the trace after. */
  readonly events: number;
  /** The most bytes that were live at once in the trace after. */
  readonly peakLiveBytes: number;
  /** Whether the group's site did not occur before. */
  readonly isNewSite: boolean;
}

/** By how much a group's settled blocks have grown; undefined when that may be chance. Cost: O(1). */
export function growthOf(before: BlockLives, after: BlockLives, surroundings: Surroundings): Growth | undefined {
  const freed = Float64Array.from({ length: AGE_BUCKETS }, (_, i) => (before.freed?.[i] ?? 0) + (after.freed?.[i] ?? 0));
  const { frees, settled, oldest } = agesOf(freed);
  const all = agesOf(surroundings.freed);
  // Where a trace is short, what lived for a quarter of it is settled.
  const usual = all.frees === 0 ? 0 : Math.min(all.settled, ageBucket(surroundings.events / 4));
  const from = frees >= FEW_FREES ? settled : Math.max(settled, usual);
  const old = Math.min(AGE_BUCKETS - 1, oldest + TWICE_AS_OLD);
  const { dispersion, strays } = before;
  const total = change(olderThan(before.survivors, 0), olderThan(after.survivors, 0));
  for (let age = from; age <= Math.max(from, old) && age < AGE_BUCKETS; age++) {
    const was = olderThan(before.survivors, age);
    const is = olderThan(after.survivors, age);
    const { blocks, bytes } = change(was, is);
    // In a longer trace the blocks of a full cache get older, but not more.
    if (bytes <= 0 || total.blocks + MOST_STRAY * strays < blocks) continue;
    const deviations = blocks / Math.sqrt(is.blocks + was.blocks);
    const sure = was.blocks === 0 ? SURE_IF_NEW : SURE;
    const isSure =
      Math.max(deviations, bytes / Math.sqrt(is.squares + was.squares)) >= sure * Math.sqrt(dispersion) ||
      (age >= old && frees >= FEW_FREES && blocks >= LEAST_OLD_BLOCKS && deviations >= SURE_IF_OLD) ||
      (surroundings.isNewSite && frees === 0 && bytes >= LARGE_PART * surroundings.peakLiveBytes);
    if (!isSure) continue;
    return frees > 0 ? { blocks, bytes } : total;
  }
  return undefined;
}

function change(was: Growth, is: Growth): Growth {
  return { blocks: is.blocks - was.blocks, bytes: is.bytes - was.bytes };
}

/** What the ages of freed blocks tell: how many there are, from which bucket on a block is settled, and the oldest one's. */
function agesOf(freed: ArrayLike<number>): { frees: number; settled: number; oldest: number } {
  let frees = 0;
  let oldest = -TWICE_AS_OLD;
  for (let i = 0; i < AGE_BUCKETS; i++) {
    frees += freed[i]!;
    if (freed[i]! > 0) oldest = i;
  }
  let settled = Math.max(0, oldest + 1);
  for (let later = 0; settled > 0; settled--) {
    later += freed[settled - 1]!;
    if (later > LATE_FREES * frees) break;
  }
  return { frees, settled, oldest };
}

/** The survivors in the buckets from `age` on. */
function olderThan(survivors: Survivors | undefined, age: number): { blocks: number; bytes: number; squares: number } {
  const sum = { blocks: 0, bytes: 0, squares: 0 };
  if (survivors === undefined) return sum;
  for (let i = age; i < AGE_BUCKETS; i++) {
    sum.blocks += survivors.blocks[i]!;
    sum.bytes += survivors.bytes[i]!;
    sum.squares += survivors.squares[i]!;
  }
  return sum;
}
