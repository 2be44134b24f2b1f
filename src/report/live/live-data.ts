import type { MemoryStatistic } from '../../core/memory-statistics.js';
import type { LeakTable, SizeClass } from '../report-data.js';

/** The first message of a stream: everything up to now. Times are ms since the dashboard began. */
export interface LiveHello {
  readonly statistics: readonly LiveStatistic[];
  readonly managers: readonly LiveManager[];
  readonly samples: readonly LiveSample[];
  readonly map: LiveMap;
  /** Handles that were dropped without being disposed, the newest last. */
  readonly leaks: LiveLeaks;
}

/** A manager of the host, or one of the last that stopped. They are in the order in which they were first seen. */
export interface LiveManager {
  /** Its number among all that the dashboard has seen, from 0 on. */
  readonly id: number;
  readonly name: string;
  readonly slot: string;
}

/** The readings of all managers at one time. */
export interface LiveSample {
  readonly ms: number;
  /** By the id of the manager. */
  readonly managers: Readonly<Record<number, LiveReading>>;
}

/** Figures of one manager, added up over its devices. */
export interface LiveReading {
  readonly active: boolean;
  /** In the order of the hello's statistics. */
  readonly values: readonly number[];
}

/** The description of a figure: a row of the table of statistics. */
export type LiveStatistic = Pick<MemoryStatistic, 'name' | 'unit' | 'kind' | 'help'>;

/** A block: address, bytes, age in ms, tag, site. */
export type LiveBlock = readonly [number, number, number, string, string];

/** The memory of the ordinary slot now. */
export interface LiveMap {
  /** The biggest ones, when there are very many. */
  readonly blocks: readonly LiveBlock[];
  readonly blockCount: number;
  /** Start and bytes. */
  readonly segments: readonly (readonly [number, number])[];
  readonly fragmentation: number;
  readonly sizes: readonly SizeClass[];
}

/** A message of the stream after the first. */
export interface LiveUpdate extends Pick<LiveHello, 'managers' | 'leaks'> {
  readonly sample: LiveSample;
  /** Not in every message. */
  readonly map: LiveMap | null;
}

export interface LiveLeaks extends Pick<LeakTable, 'blocks' | 'bytes'> {
  readonly newest: readonly { readonly bytes: number; readonly site: string; readonly ms: number }[];
}
