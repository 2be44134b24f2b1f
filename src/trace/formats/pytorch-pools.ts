import { TraceKind } from '../trace-events.js';
import { lowerBound } from './address-ranges.js';
import { type HistoryEntry, KIND_OF_ACTION, type StateSegment } from './pytorch-snapshot.js';

/** The pools of one device's memory; '' is the default pool. */
export interface DevicePools {
  /** The pool of an entry's block or segment. */
  of(entry: number): string;
  /** The pool of an address before the history. */
  before(address: number): string;
  /** Bytes of segments that came and went within the history: their pool stands nowhere. */
  readonly unknownBytes: number;
}

const ALL_DEFAULT: DevicePools = { of: () => '', before: () => '', unknownBytes: 0 };

/**
 * Finds the pool of each block and segment. A snapshot names that of the segments that are there at the end; from there the
 * history is followed backwards, because an address can belong to one segment after another.
 *
 * What was given back lay in the default pool: a private pool keeps its memory as long as it lives, and those that are named
 * were alive at the end. (Of a pool that was gone by then nothing is known.) A refused request is taken to be of the pool that its
 * stream allocated from last.
 *
 * Cost: O(entries * log n), O(n) where native memory changes; nothing where there are no private pools.
 */
export function devicePools(segments: readonly StateSegment[], history: readonly HistoryEntry[]): DevicePools {
  if (segments.every(({ pool }) => pool === '')) return ALL_DEFAULT;
  const owners = new Owners();
  for (const { address, bytes, pool } of segments) owners.add(address, address + bytes, pool);
  const pools = new Array<string>(history.length).fill('');
  let unknownBytes = 0;
  for (let i = history.length - 1; i >= 0; i--) {
    const { action, address, bytes } = history[i]!;
    const kind = KIND_OF_ACTION.get(action);
    if (kind === TraceKind.nativeFree) unknownBytes += bytes;
    else if (kind !== TraceKind.outOfMemory) pools[i] = owners.at(address);
    if (kind === TraceKind.nativeAlloc) owners.remove(address, address + bytes);
  }
  const last = new Map<number, string>();
  history.forEach(({ action, stream }, i) => {
    if (action === 'alloc') last.set(stream, pools[i]!);
    else if (action === 'oom') pools[i] = last.get(stream) ?? '';
  });
  return { of: (entry) => pools[entry]!, before: (address) => owners.at(address), unknownBytes };
}

/** The pools of address ranges, in order. Cost: O(log n) to look up, O(n) to change. */
class Owners {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #pools: string[] = [];

  at(address: number): string {
    const place = lowerBound(this.#ends, address + 1);
    return this.#starts[place]! <= address ? this.#pools[place]! : '';
  }

  add(start: number, end: number, pool: string): void {
    this.#replace(lowerBound(this.#starts, start), 0, [[start, end, pool]]);
  }

  remove(start: number, end: number): void {
    const first = lowerBound(this.#ends, start + 1);
    const last = lowerBound(this.#starts, end);
    if (last <= first) return;
    const before = [this.#starts[first]!, start, this.#pools[first]!] as const;
    const behind = [end, this.#ends[last - 1]!, this.#pools[last - 1]!] as const;
    this.#replace(
      first,
      last - first,
      [before, behind].filter(([from, to]) => from < to),
    );
  }

  #replace(at: number, count: number, ranges: readonly (readonly [start: number, end: number, pool: string])[]): void {
    this.#starts.splice(at, count, ...ranges.map(([start]) => start));
    this.#ends.splice(at, count, ...ranges.map(([, end]) => end));
    this.#pools.splice(at, count, ...ranges.map(([, , pool]) => pool));
  }
}
