import { counted } from './counted.js';
import { INSPECT } from './inspect.js';
import { formatBytes } from './units.js';

/** One quantity over time: now, at its highest, and added up over all increases. */
export interface MemoryStat {
  readonly current: number;
  readonly peak: number;
  readonly total: number;
}

/** What is counted as it happens, each with a sentence about it. */
const EVENTS = {
  nativeAllocs: 'Native allocations, commits of pages included.',
  nativeFrees: 'Native frees, decommits of pages included.',
  retries: 'Times that cached memory was given back to make room for an allocation.',
  ooms: 'Allocations that the manager refused because there was no memory.',
} as const;

type EventCounts = Readonly<Record<keyof typeof EVENTS, number>>;

/**
 * What a manager holds on one device, in PyTorch's words.
 * `requested <= allocated <= active <= reserved` and `cached == reserved - active`. Beside the quantities it has the counters
 * `nativeAllocs`, `nativeFrees`, `retries` and `ooms`: see {@link MEMORY_STATISTICS}.
 */
export interface MemoryStatsSnapshot extends EventCounts {
  /** Bytes that callers asked for and hold. */
  readonly requestedBytes: MemoryStat;
  /** Bytes of the blocks they got. */
  readonly allocatedBytes: MemoryStat;
  /** Allocated bytes and those freed that a stream still uses. */
  readonly activeBytes: MemoryStat;
  /** Bytes of native memory that the manager holds. */
  readonly reservedBytes: MemoryStat;
  /** Reserved bytes that no caller and no stream uses. */
  readonly cachedBytes: MemoryStat;
  /** Live blocks; `total` is the number of allocations. */
  readonly blocks: MemoryStat;
  /** Allocations served without a native call. */
  readonly hits: number;
}

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
  ...eventNames().map((event) => counter(snakeCase(event), EVENTS[event], (stats) => stats[event])),
];

/** What a manager's report says. */
export interface ManagerInfo {
  readonly message: string;
  /** The manager's. */
  readonly name: string;
  readonly device: number;
  readonly capacityBytes: number;
  readonly stats: MemoryStatsSnapshot;
}

/** Writes a manager's report for `printInfo`: who and where, then all statistics, levels and counters. */
export function formatInfo({ message, name, device, capacityBytes, stats }: ManagerInfo): string {
  const line = (kind: MemoryStatistic['kind']) => statisticsText(stats, (statistic) => statistic.kind === kind);
  const where = `Device: ${device}, capacity ${formatBytes(capacityBytes)}`;
  return `${message}\nType: ${name}\n${where}\nHeld: ${line('level')}\nCounted: ${line('counter')}\n`;
}

function statisticsText(stats: MemoryStatsSnapshot, isWanted: (statistic: MemoryStatistic) => boolean): string {
  return MEMORY_STATISTICS.filter(isWanted)
    .map(({ name, unit, read }) => `${name.replaceAll('_', ' ')} ${unit === 'bytes' ? formatBytes(read(stats)) : read(stats)}`)
    .join(', ');
}

/** Says what is held, in one line. */
export function heldText({ allocatedBytes, blocks, reservedBytes }: MemoryStatsSnapshot): string {
  const held = `${formatBytes(allocatedBytes.current)} allocated in ${counted(blocks.current, 'block')}`;
  return `${held}, ${formatBytes(reservedBytes.current)} reserved`;
}

/** Lets `console.log` write a snapshot in one line; `{ ...stats }` has the numbers alone. */
export function asSnapshot(stats: MemoryStatsSnapshot): MemoryStatsSnapshot {
  const inspect = () => `MemoryStatsSnapshot { ${statisticsText(stats, (statistic) => statistic.read(stats) !== 0)} }`;
  return Object.defineProperty(stats, INSPECT, { value: inspect });
}

/** Counts what one manager holds on one device. Where the quantities are kept is a subclass's matter. */
export abstract class DeviceStats {
  nativeAllocs = 0;
  nativeFrees = 0;
  retries = 0;
  ooms = 0;
  /** Allocations that needed a native call. */
  misses = 0;

  abstract get allocatedBytes(): number;
  abstract get activeBytes(): number;
  abstract get reservedBytes(): number;
  abstract get liveBlocks(): number;

  get cachedBytes(): number {
    return this.reservedBytes - this.activeBytes;
  }

  /** The quantities, and the highest bytes that were active and cached at once. */
  protected abstract quantities(): Pick<MemoryStatsSnapshot, 'requestedBytes' | 'allocatedBytes' | 'reservedBytes' | 'blocks'> & {
    readonly activePeakBytes: number;
    readonly cachedPeakBytes: number;
  };

  snapshot(): MemoryStatsSnapshot {
    const { activePeakBytes, cachedPeakBytes, requestedBytes, allocatedBytes, reservedBytes, blocks } = this.quantities();
    const { activeBytes: active, nativeAllocs, nativeFrees, retries, ooms } = this;
    // Programs may ask often: spread properties, or those of a table, would take ten times as long.
    return asSnapshot({
      requestedBytes,
      allocatedBytes,
      blocks,
      reservedBytes,
      activeBytes: { current: active, peak: Math.max(allocatedBytes.peak, activePeakBytes), total: allocatedBytes.total },
      cachedBytes: {
        current: this.cachedBytes,
        peak: cachedPeakBytes,
        total: reservedBytes.total + allocatedBytes.total - active,
      },
      hits: blocks.total - this.misses,
      nativeAllocs,
      nativeFrees,
      retries,
      ooms,
    });
  }
}

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

function eventNames(): (keyof EventCounts)[] {
  return Object.keys(EVENTS) as (keyof EventCounts)[];
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
