import { AddressRanges, lowerBound } from './address-ranges.js';
import type { HistoryEntry, StateSegment } from './pytorch-snapshot.js';

/** A part of a segment: a live block, or what lies between two. */
export interface SnapshotBlock extends Pick<HistoryEntry, 'address' | 'bytes'> {
  /** True for a part of the segment that no block lies in. */
  readonly free: boolean;
  readonly site: string;
}

/** A segment of a snapshot; its blocks tile it. */
export interface SnapshotSegment extends Omit<StateSegment, 'device' | 'pool' | 'expandable' | 'small' | 'blocks'> {
  readonly allocatedBytes: number;
  readonly blocks: readonly SnapshotBlock[];
}

type LiveBlock = Omit<SnapshotBlock, 'free'> & Pick<HistoryEntry, 'stream'>;

/** Follows the native memory and the blocks of one device, for the segments that a snapshot ends with. */
export class SnapshotSegments {
  readonly #native = new AddressRanges();
  /** The bytes of each native call, by its address. */
  readonly #calls = new Map<number, number>();
  /** Where blocks were that lay in no native memory: a trace without native calls, or from before it began. */
  readonly #bare = new AddressRanges();
  readonly #live = new Map<number, LiveBlock>();

  alloc(block: LiveBlock): void {
    this.#live.set(block.address, block);
    if (!this.#native.has(block.address, endOf(block))) this.#bare.add(block.address, endOf(block));
  }

  free(address: number): void {
    this.#live.delete(address);
  }

  nativeAlloc(address: number, bytes: number): void {
    this.#native.add(address, address + bytes);
    this.#calls.set(address, bytes);
  }

  /** @returns whether that is all that one native call got */
  nativeFree(address: number, bytes: number): boolean {
    this.#native.remove(address, address + bytes);
    const whole = this.#calls.get(address) === bytes;
    this.#calls.delete(address);
    return whole;
  }

  /** Ends the device. @returns its segments, by address. Cost: O(n log n) */
  end(): SnapshotSegment[] {
    const live = [...this.#live.values()].sort((a, b) => a.address - b.address);
    for (const [start, end] of this.#bare) this.#native.remove(start, end);
    for (const block of live) {
      if (this.#native.has(block.address, endOf(block))) continue;
      this.#bare.add(block.address, endOf(block));
      this.#native.remove(block.address, endOf(block));
    }
    // Blocks that overlap are in no true trace: the later one is left out.
    let occupied = 0;
    const blocks = live.filter((block) => block.address >= occupied && (occupied = endOf(block)));
    const starts = blocks.map(({ address }) => address);
    const ends = blocks.map(endOf);
    const isInBlock = (border: number) => {
      const block = lowerBound(ends, border);
      return starts[block]! < border && border < ends[block]!;
    };
    // Native calls whose memory touches are told apart, unless a block lies across.
    const borders = [...this.#calls.keys()].filter((border) => !isInBlock(border));
    const segmentOf = (start: number, end: number, madeUp: boolean) =>
      tiled(start, end, madeUp, blocks.slice(lowerBound(starts, start), lowerBound(starts, end)));
    return [
      ...this.#native.piecesAt(borders).map(([start, end]) => segmentOf(start, end, false)),
      ...Array.from(this.#bare, ([start, end]) => segmentOf(start, end, true)),
    ].sort((a, b) => a.address - b.address);
  }
}

/** Makes a segment of the live blocks in it, and of free ones between them. */
function tiled(start: number, end: number, madeUp: boolean, live: readonly LiveBlock[]): SnapshotSegment {
  const blocks: SnapshotBlock[] = [];
  let at = start;
  const fillUpTo = (address: number) => {
    if (at < address) blocks.push({ address: at, bytes: address - at, free: true, site: '' });
  };
  for (const { address, bytes, site } of live) {
    fillUpTo(address);
    blocks.push({ address, bytes, free: false, site });
    at = address + bytes;
  }
  fillUpTo(end);
  const allocatedBytes = live.reduce((sum, { bytes }) => sum + bytes, 0);
  return { address: start, bytes: end - start, allocatedBytes, stream: live[0]?.stream ?? 0, madeUp, blocks };
}

function endOf({ address, bytes }: LiveBlock): number {
  return address + bytes;
}
