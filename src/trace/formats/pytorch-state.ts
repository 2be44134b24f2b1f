import { MiB } from '../../core/units.js';
import { TraceKind } from '../trace-events.js';
import { AddressRanges, lowerBound } from './address-ranges.js';
import { type HistoryEntry, KIND_OF_ACTION, type StateBlock, type StateSegment } from './pytorch-snapshot.js';

const SMALL_SEGMENT_BYTES = 2 * MiB;
/** By which an expandable segment of large blocks grows. */
const LARGE_PIECE_BYTES = 20 * MiB;

/** A block from before a history. */
export interface BlockBefore extends Omit<StateBlock, 'blockBytes' | 'inUse'>, Pick<StateSegment, 'stream'> {
  /** Undefined when the block is gone at the end, where its size stands. */
  readonly blockBytes: number | undefined;
}

/** Native memory from before a history. */
export type SegmentBefore = Pick<StateSegment, 'address' | 'bytes' | 'stream' | 'expandable' | 'small'>;

/** The state of one device before its history; both by address. */
export interface StateBefore {
  /** What was one native call is one item; of an expandable segment, what was mapped without a gap. */
  readonly reserved: readonly SegmentBefore[];
  readonly blocks: readonly BlockBefore[];
}

/**
 * Finds the state of one device before its history: the state at the end, followed backwards through the history. So
 * `reserved == sum(segment.total_size)` and `allocated == the allocated blocks` hold at the end, wherever the history begins.
 *
 * Cost: O(entries * log n), and O(n) where native memory changes.
 */
export function stateBefore(segments: readonly StateSegment[], history: readonly HistoryEntry[]): StateBefore {
  const reserved = new AddressRanges();
  /** Where a native call's memory begins that may touch its neighbour's. */
  const borders = new Set<number>();
  const owners = new Map<number, Pick<StateSegment, 'stream' | 'expandable' | 'small'>>();
  const blocks = new Map<number, BlockBefore>();
  const add = (address: number, bytes: number, stream: number, expandable: boolean, small: boolean) => {
    reserved.add(address, address + bytes);
    owners.set(address, { stream, expandable, small });
  };
  for (const { address, bytes, stream, madeUp, expandable, small, blocks: allocated } of segments) {
    for (const block of allocated) blocks.set(block.address, { ...block, stream });
    if (madeUp) continue;
    add(address, bytes, stream, expandable, small);
    // Pieces of an expandable segment were one before what lies between them was unmapped.
    if (!expandable) borders.add(address);
  }
  for (let i = history.length - 1; i >= 0; i--) {
    const { action, address, bytes, stream } = history[i]!;
    const kind = KIND_OF_ACTION.get(action);
    if (kind === TraceKind.alloc) blocks.delete(address);
    // A free that was requested before the history began has its completion alone in it.
    else if (kind === TraceKind.free) blocks.set(address, { address, bytes, blockBytes: undefined, stream, frames: undefined });
    else if (kind === TraceKind.nativeAlloc) {
      reserved.remove(address, address + bytes);
      borders.delete(address);
    } else if (kind === TraceKind.nativeFree) {
      const whole = action === 'segment_free';
      if (whole) borders.add(address);
      // What came and went is told by its size.
      add(address, bytes, stream, !whole, bytes % LARGE_PIECE_BYTES !== 0 && (!whole || bytes === SMALL_SEGMENT_BYTES));
    }
  }
  const starts = [...owners.keys()].sort((a, b) => a - b);
  return {
    reserved: reserved.piecesAt(borders).map(([address, end]) => {
      // Of what began before, and was mapped piece by piece, a part may be left.
      const { stream = 0, expandable = false, small = false } = owners.get(starts[lowerBound(starts, address + 1) - 1]!) ?? {};
      return { address, bytes: end - address, stream, expandable, small };
    }),
    blocks: [...blocks.values()].sort((a, b) => a.address - b.address),
  };
}
