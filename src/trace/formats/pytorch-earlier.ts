import { TraceKind } from '../trace-events.js';
import { AddressRanges } from './address-ranges.js';
import { type HistoryEntry, KIND_OF_ACTION, type StateBlock, type StateSegment } from './pytorch-snapshot.js';

type EarlierBlock = StateBlock & Pick<StateSegment, 'stream'>;

/** The memory that is reserved or allocated when a history begins. */
export interface EarlierState {
  /** Native memory, by address; what was one native call is one item. */
  readonly reserved: readonly Omit<EarlierBlock, 'frames'>[];
  /** Allocated blocks, by address. */
  readonly blocks: readonly EarlierBlock[];
}

/**
 * Finds the state of one device before its history: the state at the end, followed backwards through the history. So
 * `reserved == sum(segment.total_size)` and `allocated == the allocated blocks` hold at the end, wherever the history begins.
 *
 * Cost: O(entries * log n), and O(n) where native memory changes.
 */
export function stateBefore(segments: readonly StateSegment[], history: readonly HistoryEntry[]): EarlierState {
  const reserved = new AddressRanges();
  /** Where a native call's memory begins that may touch its neighbour's. */
  const borders = new Set<number>();
  const streams = new Map<number, number>();
  const blocks = new Map<number, EarlierBlock>();
  const add = (address: number, bytes: number, stream: number) => {
    reserved.add(address, address + bytes);
    streams.set(address, stream);
  };
  for (const { address, bytes, stream, madeUp, blocks: allocated } of segments) {
    for (const block of allocated) blocks.set(block.address, { ...block, stream });
    if (madeUp) continue;
    add(address, bytes, stream);
    borders.add(address);
  }
  for (let i = history.length - 1; i >= 0; i--) {
    const { action, address, bytes, stream } = history[i]!;
    const kind = KIND_OF_ACTION.get(action);
    if (kind === TraceKind.alloc) blocks.delete(address);
    // A free that was requested before the history began has its completion alone in it.
    else if (kind === TraceKind.free) blocks.set(address, { address, bytes, stream, frames: undefined });
    else if (kind === TraceKind.nativeAlloc) {
      reserved.remove(address, address + bytes);
      borders.delete(address);
    } else if (kind === TraceKind.nativeFree) {
      if (action === 'segment_free') borders.add(address);
      add(address, bytes, stream);
    }
  }
  const pieces = reserved
    .piecesAt(borders)
    .map(([address, end]) => ({ address, bytes: end - address, stream: streams.get(address) ?? 0 }));
  return { reserved: pieces, blocks: [...blocks.values()].sort((a, b) => a.address - b.address) };
}
