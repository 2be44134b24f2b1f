import { idsColumn, numbersColumn } from './event-column.js';
import { TraceKind } from './trace-events.js';
import { TraceStream } from './trace-reader.js';
import type { ReadOptions } from './trace-source.js';

/** Blocks that a trace never frees, grouped by site, tag and manager. */
export interface LiveGroup {
  /** '' when it was not recorded. */
  readonly site: string;
  /** '' for none. */
  readonly tag: string;
  readonly manager: string;
  readonly blocks: number;
  readonly bytes: number;
}

/** The totals of a trace, and the blocks that are live at its end. */
export interface TraceSummary extends Pick<TraceStream, 'origin' | 'totals'> {
  /** Nanoseconds from the start of the recording to its last event; 0 for a trace without times. */
  readonly durationNs: number;
  /** Most bytes first. */
  readonly live: readonly LiveGroup[];
}

/**
 * Reads a trace once and sums it up. Memory: one batch, and a few numbers for each block that is live at once.
 *
 * @throws ERR_MEM_BAD_INPUT with file, place and reason
 */
export async function summariseTrace(path: string, options: ReadOptions = {}): Promise<TraceSummary> {
  const stream = new TraceStream(path, options);
  const bytesOfSlot = numbersColumn();
  const groupOfSlot = idsColumn();
  const groups: Group[] = [];
  const groupIds = new Map<string, number>();
  let durationNs = 0;
  for await (const batch of stream) {
    const { kinds, slots, bytes, strings, times, length } = batch;
    durationNs = times?.[length - 1] ?? durationNs;
    for (let i = 0; i < length; i++) {
      if (kinds[i] === TraceKind.alloc && bytes[i]! > 0) {
        const manager = batch.managers?.[i] ?? 0;
        const tag = batch.tags?.[i] ?? 0;
        const site = batch.sites?.[i] ?? 0;
        const key = `${manager} ${tag} ${site}`;
        const group =
          groupIds.get(key) ??
          groups.push({
            site: strings.get(site),
            tag: strings.get(tag),
            manager: strings.get(manager),
            blocks: 0,
            bytes: 0,
          });
        groupIds.set(key, group);
        bytesOfSlot.set(slots[i]!, bytes[i]!);
        groupOfSlot.set(slots[i]!, group);
      } else if (kinds[i] === TraceKind.free) {
        groupOfSlot.set(~slots[i]!, 0);
      }
    }
  }
  const { origin, totals } = stream;
  for (let slot = 0; slot < totals.slotCount; slot++) {
    const group = groups[groupOfSlot.get(slot) - 1];
    if (group === undefined) continue;
    group.blocks++;
    group.bytes += bytesOfSlot.get(slot);
  }
  const live = groups.filter(({ blocks }) => blocks > 0).sort((a, b) => b.bytes - a.bytes);
  return { origin, totals, durationNs, live };
}

type Group = { -readonly [K in keyof LiveGroup]: LiveGroup[K] };
