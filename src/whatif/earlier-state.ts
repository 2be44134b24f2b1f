import type { PyTorchSettings } from '../../managers/pytorch/alloc-conf.js';
import type { RestoredBlock, RestoredSegment } from '../../managers/pytorch/restored-segment.js';
import { roundUpRequest } from '../../managers/pytorch/round-up.js';
import { alignUp, KiB, MiB } from '../core/units.js';
import { lowerBound } from '../trace/formats/address-ranges.js';
import type { EarlierSegment, TraceEvents } from '../trace/trace-events.js';
import type { RecordedProgram } from './recorded-program.js';

const UNIT_BYTES = KiB / 2;
/** A free block of large ones is larger: what a block leaves that is not belongs to the block. */
const LEAST_REST_BYTES = MiB;

/** A segment from before a recording, as PyTorch's allocator takes it over, and the events that stand for its blocks. */
export interface EarlierMemory {
  readonly segment: RestoredSegment;
  readonly expandable: boolean;
  /** In order of its blocks. */
  readonly events: readonly number[];
}

/** The segments from before the recording on the program's device, by address. @param settings - the recorded ones */
export function earlierMemory({ events, device }: RecordedProgram, settings: PyTorchSettings): EarlierMemory[] {
  const earlier = events.allocator?.earlier.filter((segment) => segment.device === device) ?? [];
  const ends = endsSeen(events, earlier);
  return earlier.map((segment) => {
    const { pool, stream, small: isSmall, address, bytes, expandable } = segment;
    const blocks = blocksOf(segment, settings, ends, (event) => events.bytesOf(event));
    return {
      segment: { pool, stream, isSmall, address, bytes, blocks: blocks.map(({ block }) => block) },
      expandable,
      events: blocks.map(({ event }) => event),
    };
  });
}

/**
 * The blocks of a segment. Where a block's size is not recorded, it follows from its bytes and from what comes behind it. What no
 * allocator can have made, as of a snapshot by hand, is left out: the run requests it.
 */
function blocksOf(
  segment: EarlierSegment,
  settings: PyTorchSettings,
  ends: ReadonlyMap<number, number>,
  requested: (event: number) => number,
) {
  const { roundupPower2Divisions, maxSplitSizeBytes } = settings;
  const { address: start, bytes, blocks, small, expandable } = segment;
  return blocks.flatMap(({ event, address, blockBytes }, i): { event: number; block: RestoredBlock }[] => {
    const requestedBytes = requested(event);
    const offsetBytes = address - start;
    const room = (blocks[i + 1]?.address ?? start + bytes) - address;
    const rounded = blockBytes ?? alignUp(roundUpRequest(requestedBytes, roundupPower2Divisions), UNIT_BYTES);
    const own = Math.min(room, (ends.get(event) ?? Number.POSITIVE_INFINITY) - address);
    const isUncut = own - rounded <= LEAST_REST_BYTES || rounded >= maxSplitSizeBytes;
    const isWhole = blockBytes === undefined && !small && !expandable && own > rounded && isUncut;
    const block = { offsetBytes, bytes: isWhole ? own : rounded, requestedBytes };
    const isPossible = block.bytes <= room && requestedBytes > 0 && requestedBytes <= block.bytes;
    return isPossible && [offsetBytes, block.bytes].every((size) => size % UNIT_BYTES === 0) ? [{ event, block }] : [];
  });
}

/**
 * Where blocks whose sizes are not recorded must have ended, by the event of each: while they live, others come to lie behind them.
 * Cost: O(log blocks) an event, until the last of them is freed.
 */
function endsSeen(events: TraceEvents, segments: readonly EarlierSegment[]): Map<number, number> {
  const blocks = segments
    .flatMap((segment) => segment.blocks)
    .filter(({ blockBytes }) => blockBytes === undefined)
    .sort((a, b) => a.address - b.address);
  const starts = blocks.map(({ address }) => address);
  const live = new Map(blocks.map(({ event }) => [events.slotOf(event), event]));
  const ends = new Map<number, number>();
  for (let i = events.allocator?.earlierEvents ?? 0; i < events.length && live.size > 0; i++) {
    if (events.isFree(i)) live.delete(events.slotOf(i));
    else if (events.isAlloc(i)) {
      const block = blocks[lowerBound(starts, events.pointerOf(i)) - 1];
      if (block === undefined || live.get(events.slotOf(block.event)) !== block.event) continue;
      ends.set(block.event, Math.min(ends.get(block.event) ?? Number.POSITIVE_INFINITY, events.pointerOf(i)));
    }
  }
  return ends;
}
