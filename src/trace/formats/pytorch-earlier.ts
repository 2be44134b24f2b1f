import { AddressRanges } from './address-ranges.js';
import type { HistoryEntry, StateBlock, StateSegment } from './pytorch-snapshot.js';

/** What is reserved or allocated when a history begins. */
export interface EarlierState {
  /** Native memory, by address; what was one native call is one item. */
  readonly reserved: readonly { readonly address: number; readonly bytes: number; readonly stream: number }[];
  /** Allocated blocks, by address. */
  readonly blocks: readonly (StateBlock & { readonly stream: number })[];
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
  const blocks = new Map<number, StateBlock & { readonly stream: number }>();
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
    switch (action) {
      case 'alloc':
        blocks.delete(address);
        break;
      // A free that was requested before the history began has its completion alone in it.
      case 'free_requested':
      case 'free_completed':
        blocks.set(address, { address, bytes, stream, frames: undefined });
        break;
      case 'segment_alloc':
      case 'segment_map':
        reserved.remove(address, address + bytes);
        borders.delete(address);
        break;
      case 'segment_free':
        borders.add(address);
        add(address, bytes, stream);
        break;
      case 'segment_unmap':
        add(address, bytes, stream);
        break;
    }
  }
  const starts = [...borders].sort((a, b) => a - b);
  let nextStart = 0;
  const pieces = [...reserved].flatMap(([start, end]) => {
    const cuts = [start];
    for (; nextStart < starts.length && starts[nextStart]! < end; nextStart++) {
      if (starts[nextStart]! > start) cuts.push(starts[nextStart]!);
    }
    return cuts.map((address, i) => ({
      address,
      bytes: (cuts[i + 1] ?? end) - address,
      stream: streams.get(address) ?? 0,
    }));
  });
  return { reserved: pieces, blocks: [...blocks.values()].sort((a, b) => a.address - b.address) };
}
