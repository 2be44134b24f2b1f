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

/** The segments from before the recording on the program's device, by address. @param divisions - of the recorded setting */
export function earlierMemory({ events, device }: RecordedProgram, divisions: readonly number[]): EarlierMemory[] {
  const earlier = events.allocator?.earlier.filter((segment) => segment.device === device) ?? [];
  return earlier.map((segment) => {
    const blocks = blocksOf(segment, divisions, (event) => events.bytesOf(event));
    const { pool, stream, small: isSmall, address, bytes, expandable } = segment;
    return {
      segment: { pool, stream, isSmall, address, bytes, blocks },
      expandable,
      events: segment.blocks.map(({ event }) => event),
    };
  });
}

/** The blocks of a segment. Where a block's size is not recorded, it follows from its bytes and from what comes behind it. */
function blocksOf(segment: EarlierSegment, divisions: readonly number[], requested: (event: number) => number): RestoredBlock[] {
  const { address: start, bytes, blocks, small, expandable } = segment;
  return blocks.map(({ event, address, blockBytes }, i) => {
    const requestedBytes = requested(event);
    const room = (blocks[i + 1]?.address ?? start + bytes) - address;
    const rounded = Math.min(room, blockBytes ?? alignUp(roundUpRequest(requestedBytes, divisions), UNIT_BYTES));
    const isWhole = blockBytes === undefined && !small && !expandable && room - rounded <= LEAST_REST_BYTES;
    return { offsetBytes: address - start, bytes: isWhole ? room : rounded, requestedBytes };
  });
}
