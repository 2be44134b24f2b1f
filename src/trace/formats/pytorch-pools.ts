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
 * Of a segment that was gone at the end the pool is that of the allocations around it on its stream, if they agree (a capture
 * takes all memory of its stream from its pool), and the default pool if not. What was unmapped belongs to the expandable
 * segment beside it.
 *
 * Cost: O(entries * log n), O(n) where native memory changes; nothing where there are no private pools.
 */
export function devicePools(segments: readonly StateSegment[], history: readonly HistoryEntry[]): DevicePools {
  if (segments.every(({ pool }) => pool === '')) return ALL_DEFAULT;
  const owners = new Owners();
  for (const { address, bytes, pool } of segments) owners.add(address, address + bytes, pool);
  const expandable = segments.filter((segment) => segment.expandable).sort((a, b) => a.address - b.address);
  const pools = new Array<string>(history.length).fill('');
  const gone: number[] = [];
  for (let i = history.length - 1; i >= 0; i--) {
    const { action, address, bytes, stream } = history[i]!;
    const kind = KIND_OF_ACTION.get(action);
    if (kind === TraceKind.outOfMemory) pools[i] = REFUSED;
    else if (kind !== TraceKind.nativeFree) pools[i] = owners.at(address);
    else {
      pools[i] = action === 'segment_unmap' ? poolBeside(expandable, address, stream) : `${GONE}${gone.push(i) - 1}`;
      owners.add(address, address + bytes, pools[i]!);
    }
    if (kind === TraceKind.nativeAlloc) owners.remove(address, address + bytes);
  }
  const guesses = guessGone(history, pools);
  const settled = (pool: string) => (pool.startsWith(GONE) ? (guesses.get(pool) ?? '') : pool);
  return {
    of: (entry) => settled(pools[entry]!),
    before: (address) => settled(owners.at(address)),
    unknownBytes: gone.reduce((sum, i) => sum + history[i]!.bytes, 0),
  };
}

/** Begins what stands for the pool of a segment that was gone at the end. */
const GONE = '?';
/** Stands for that of a request that was refused. */
const REFUSED = '!';

/** Guesses the pools of segments that were gone at the end, and of refusals, from the allocations around them on their stream. */
function guessGone(history: readonly HistoryEntry[], pools: string[]): Map<string, string> {
  const guesses = new Map<string, string>();
  const lastKnown = new Map<number, string>();
  const waiting = new Map<number, string[]>();
  history.forEach(({ action, stream }, i) => {
    const pool = pools[i]!;
    if (pool === REFUSED) pools[i] = lastKnown.get(stream) ?? '';
    if (action === 'segment_alloc' && pool.startsWith(GONE)) {
      guesses.set(pool, lastKnown.get(stream) ?? '');
      waiting.set(stream, [...(waiting.get(stream) ?? []), pool]);
    } else if (action === 'alloc' && !pool.startsWith(GONE)) {
      for (const name of waiting.get(stream) ?? []) if (guesses.get(name) !== pool) guesses.delete(name);
      waiting.delete(stream);
      lastKnown.set(stream, pool);
    }
  });
  // Nothing came behind these on their stream.
  for (const names of waiting.values()) for (const name of names) guesses.delete(name);
  return guesses;
}

/** The pool of the expandable segment that an address belongs to: that below it on its stream, or else above. */
function poolBeside(expandable: readonly StateSegment[], address: number, stream: number): string {
  const own = expandable.filter((segment) => segment.stream === stream);
  const segment = own.findLast((below) => below.address <= address) ?? own[0];
  return segment?.pool ?? '';
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
    this.remove(start, end);
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
