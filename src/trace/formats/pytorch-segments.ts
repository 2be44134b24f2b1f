import { AddressRanges } from './address-ranges.js';

/** A live block of a snapshot. */
export interface SnapshotBlock {
  readonly address: number;
  readonly bytes: number;
  /** True for a part of the segment that no block lies in. */
  readonly free: boolean;
  readonly site: string;
}

/** A segment of a snapshot; its blocks tile it. */
export interface SnapshotSegment {
  readonly address: number;
  readonly bytes: number;
  readonly allocatedBytes: number;
  readonly stream: number;
  /** True for addresses that blocks had while no native call of the trace covered them. */
  readonly madeUp: boolean;
  readonly blocks: readonly SnapshotBlock[];
}

interface LiveBlock {
  readonly bytes: number;
  readonly stream: number;
  readonly site: string;
}

/** Follows the native memory and the blocks of one device, for the segments that a snapshot ends with. */
export class SnapshotSegments {
  readonly #native = new AddressRanges();
  readonly #starts = new Map<number, number>();
  /** Where blocks were that lay in no native memory: a trace without native calls, or from before it began. */
  readonly #bare = new AddressRanges();
  readonly #live = new Map<number, LiveBlock>();

  alloc(address: number, block: LiveBlock): void {
    this.#live.set(address, block);
    if (!this.#native.has(address, address + block.bytes)) this.#bare.add(address, address + block.bytes);
  }

  free(address: number): void {
    this.#live.delete(address);
  }

  nativeAlloc(address: number, bytes: number): void {
    this.#native.add(address, address + bytes);
    this.#starts.set(address, bytes);
  }

  /** @returns whether that is all that one native call got */
  nativeFree(address: number, bytes: number): boolean {
    this.#native.remove(address, address + bytes);
    const whole = this.#starts.get(address) === bytes;
    this.#starts.delete(address);
    return whole;
  }

  /** The segments at the end, by address. Cost: O(n log n). */
  segments(): SnapshotSegment[] {
    const native = new AddressRanges();
    for (const [start, end] of this.#native) native.add(start, end);
    for (const [start, end] of this.#bare) native.remove(start, end);
    const live = [...this.#live].sort(([a], [b]) => a - b);
    for (const [address, { bytes }] of live) {
      if (native.has(address, address + bytes)) continue;
      this.#bare.add(address, address + bytes);
      native.remove(address, address + bytes);
    }
    const borders = [...this.#starts.keys()].sort((a, b) => a - b);
    const whole = [
      ...[...native].map(([start, end]) => ({ start, end, madeUp: false })),
      ...[...this.#bare].map(([start, end]) => ({ start, end, madeUp: true })),
    ].sort((a, b) => a.start - b.start);
    const segments: SnapshotSegment[] = [];
    let nextBorder = 0;
    let nextBlock = 0;
    for (const { start, end, madeUp } of whole) {
      let from = start;
      let blocks: SnapshotBlock[] = [];
      let at = start;
      let stream = 0;
      const close = (to: number) => {
        if (at < to) blocks.push({ address: at, bytes: to - at, free: true, site: '' });
        const allocatedBytes = blocks.reduce((sum, block) => sum + (block.free ? 0 : block.bytes), 0);
        if (to > from) segments.push({ address: from, bytes: to - from, allocatedBytes, stream, madeUp, blocks });
        [from, at, blocks, stream] = [to, to, [], 0];
      };
      // Cuts where a native call's memory begins, unless a block lies across.
      const cutUpTo = (address: number) => {
        while (nextBorder < borders.length && borders[nextBorder]! <= address) {
          const border = borders[nextBorder++]!;
          if (!madeUp && border > from && border >= at && border < end) close(border);
        }
      };
      for (; nextBlock < live.length && live[nextBlock]![0] < end; nextBlock++) {
        const [address, block] = live[nextBlock]!;
        // Blocks that overlap are in no true trace: the later one is left out.
        if (address < at) continue;
        cutUpTo(address);
        if (at < address) blocks.push({ address: at, bytes: address - at, free: true, site: '' });
        if (blocks.every((other) => other.free)) stream = block.stream;
        blocks.push({ address, bytes: block.bytes, free: false, site: block.site });
        at = address + block.bytes;
      }
      cutUpTo(end);
      close(end);
    }
    return segments;
  }
}
