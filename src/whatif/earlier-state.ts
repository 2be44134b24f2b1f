import type { PyTorchSettings } from '../../managers/pytorch/alloc-conf.js';
import type { RestoredBlock, RestoredSegment } from '../../managers/pytorch/restored-segment.js';
import { roundUpRequest } from '../../managers/pytorch/round-up.js';
import { alignUp, KiB, MiB } from '../core/units.js';
import type { EarlierSegment } from '../trace/trace-events.js';
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
  return earlier.map((segment) => {
    const { pool, stream, small: isSmall, address, bytes, expandable } = segment;
    const blocks = blocksOf(segment, settings, (event) => events.bytesOf(event));
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
function blocksOf(segment: EarlierSegment, settings: PyTorchSettings, requested: (event: number) => number) {
  const { roundupPower2Divisions, maxSplitSizeBytes } = settings;
  const { address: start, bytes, blocks, small, expandable } = segment;
  return blocks.flatMap(({ event, address, blockBytes }, i): { event: number; block: RestoredBlock }[] => {
    const requestedBytes = requested(event);
    const offsetBytes = address - start;
    const room = (blocks[i + 1]?.address ?? start + bytes) - address;
    const rounded = blockBytes ?? alignUp(roundUpRequest(requestedBytes, roundupPower2Divisions), UNIT_BYTES);
    const isUncut = room - rounded <= LEAST_REST_BYTES || rounded >= maxSplitSizeBytes;
    const isWhole = blockBytes === undefined && !small && !expandable && room > rounded && isUncut;
    const block = { offsetBytes, bytes: isWhole ? room : rounded, requestedBytes };
    const isPossible = block.bytes <= room && requestedBytes > 0 && requestedBytes <= block.bytes;
    return isPossible && [offsetBytes, block.bytes].every((size) => size % UNIT_BYTES === 0) ? [{ event, block }] : [];
  });
}
