import type { MemoryStatsSnapshot } from './stats.js';

/** One statistic that a manager keeps of a device: what it is called, what it counts, and how it is read. */
export interface MemoryStatistic {
  /** The field's words, joined by `_`. */
  readonly name: string;
  readonly unit: 'bytes' | 'count';
  /** A level rises and falls; a counter only rises. */
  readonly kind: 'level' | 'counter';
  /** One sentence. */
  readonly help: string;
  readonly read: (stats: MemoryStatsSnapshot) => number;
  /** Reads the highest value so far, of levels whose peak is published. */
  readonly readPeak?: (stats: MemoryStatsSnapshot) => number;
}

/**
 * All statistics, in the order in which they are shown. `printInfo`, Prometheus, OpenTelemetry and the live page derive from
 * this table: a new row appears in all of them.
 */
export const MEMORY_STATISTICS: readonly MemoryStatistic[] = [
  bytes('requested', 'requestedBytes', 'Bytes that callers asked for and hold.'),
  bytes('allocated', 'allocatedBytes', 'Bytes of the blocks that callers hold.'),
  bytes('active', 'activeBytes', 'Allocated bytes and those freed that a stream still uses.'),
  bytes('reserved', 'reservedBytes', 'Bytes of native memory that the manager holds.'),
  bytes('cached', 'cachedBytes', 'Reserved bytes that no caller and no stream uses.'),
  { name: 'blocks', unit: 'count', kind: 'level', help: 'Live blocks.', read: (stats) => stats.blocks.current },
  counter('allocations', 'Allocations.', (stats) => stats.blocks.total),
  counter('hits', 'Allocations served without a native call.', (stats) => stats.hits),
  counter('native_allocs', 'Native allocations, commits of pages included.', (stats) => stats.nativeAllocs),
  counter('native_frees', 'Native frees, decommits of pages included.', (stats) => stats.nativeFrees),
  counter('retries', 'Times that cached memory was given back to make room for an allocation.', (stats) => stats.retries),
  counter('ooms', 'Allocations that the manager refused because there was no memory.', (stats) => stats.ooms),
];

type BytesKey = 'requestedBytes' | 'allocatedBytes' | 'activeBytes' | 'reservedBytes' | 'cachedBytes';

function bytes(name: string, key: BytesKey, help: string): MemoryStatistic {
  return {
    name,
    unit: 'bytes',
    kind: 'level',
    help,
    read: (stats) => stats[key].current,
    readPeak: (stats) => stats[key].peak,
  };
}

function counter(name: string, help: string, read: MemoryStatistic['read']): MemoryStatistic {
  return { name, unit: 'count', kind: 'counter', help, read };
}
