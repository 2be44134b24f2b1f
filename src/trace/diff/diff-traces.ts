import { checkOptionNames } from '../../core/option-names.js';
import { TraceStream } from '../trace-reader.js';
import { READ_OPTIONS, type ReadOptions } from '../trace-source.js';
import { findGrowth, type GrownSite } from './find-growth.js';
import { allFrees, type LivesGroup, TraceLives } from './trace-lives.js';

/** One of the two traces of a comparison. */
export interface ComparedTrace extends Pick<TraceStream, 'origin' | 'totals'> {
  /** Nanoseconds from the start of the recording to its last event; 0 for a trace without times. */
  readonly durationNs: number;
}

/** What grew from one trace to another. */
export interface TraceDiff {
  readonly before: ComparedTrace;
  readonly after: ComparedTrace;
  /** Most grown first. Empty when all differences may be chance. */
  readonly grown: readonly GrownSite[];
}

/**
 * Compares the blocks that are live at the end of two traces of any format, and names the sites and tags whose blocks have
 * grown beyond chance: see docs/diff.md. Each file is read once.
 *
 * Memory: that of the reader, some numbers for each block that is live at once, and 1 KiB for each site and tag.
 *
 * @param before - an earlier recording, or that of an earlier version
 * @param after - the one in which something may have grown
 * @throws ERR_MEM_BAD_INPUT with file, place and reason
 */
export async function diffTraces(before: string, after: string, options: ReadOptions = {}): Promise<TraceDiff> {
  checkOptionNames('diffTraces', options, READ_OPTIONS);
  const old = await readLives(before, options);
  const now = await readLives(after, options);
  const grown = findGrowth(old.groups, now.groups, {
    freed: allFrees(old.groups.values(), now.groups.values()),
    events: now.events,
    peakLiveBytes: now.trace.totals.peakLiveBytes,
  });
  return { before: old.trace, after: now.trace, grown };
}

async function readLives(
  path: string,
  options: ReadOptions,
): Promise<{ trace: ComparedTrace; groups: Map<string, LivesGroup>; events: number }> {
  const stream = new TraceStream(path, options);
  const lives = new TraceLives();
  let durationNs = 0;
  for await (const batch of stream) {
    lives.add(batch);
    durationNs = batch.times?.[batch.length - 1] ?? durationNs;
  }
  const { origin, totals } = stream;
  return { trace: { origin, totals, durationNs }, groups: lives.end(totals.slotCount), events: lives.events };
}
