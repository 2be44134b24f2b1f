import type { ProfileMeasure } from '../trace/profile/profile-measure.js';

/**
 * The data of a report page: JSON, and one binary payload with the long columns.
 * The page's script reads these types as well. Moments are numbers of events done: 0 is before the first one.
 */
export interface ReportData {
  readonly version: 1;
  readonly mode: 'replay';
  readonly title: string;
  /** The subject of the page, in the header's order. */
  readonly facts: readonly Fact[];
  /** How it was made. */
  readonly settings: readonly Fact[];
  /** The number of events; the last moment. */
  readonly events: number;
  /** Events from one moment that the map can show to the next. */
  readonly stride: number;
  /** Events from one point of the curves of native calls and hits to the next. */
  readonly rateStride: number;
  /** Moments beside the multiples of `stride`, each with its name. */
  readonly moments: readonly NamedMoment[];
  readonly runs: readonly RunData[];
  readonly winner: Winner | null;
  /** Where the points of the curves are, in events; each bucket has two, its lowest and its highest value. */
  readonly curveX: Column;
  /** Bytes that the program holds. */
  readonly live: Column;
  /** Time of the moments at multiples of `clock.stride`, in ms; absent when the trace has no times. */
  readonly clock: Clock | null;
  readonly blocks: BlockColumns;
  /** Names that blocks refer to by number, from 1; number 0 is none. */
  readonly tags: readonly string[];
  readonly sites: readonly string[];
  readonly sizes: readonly SizeClass[];
  readonly leaks: LeakTable;
  /** Null when the trace has no sites. */
  readonly stacks: SiteStacks | null;
  readonly tune: TuneData | null;
}

/** The first data of a page whose content comes by a stream. */
export interface LivePageData extends Pick<ReportData, 'version' | 'title' | 'facts'> {
  readonly mode: 'live';
}

/** The data of a page that compares settings of an allocator, under limits. */
export interface WhatIfPageData extends Pick<ReportData, 'version' | 'title' | 'facts' | 'settings' | 'events'> {
  readonly mode: 'whatif';
  /** What is to be said beside the figures, such as what a file does not tell. */
  readonly notes: readonly string[];
  /** Events from one point of the curves to the next; the last point is at the last event. */
  readonly stride: number;
  /** When the points are, in ms; null when the trace has no times. */
  readonly times: Column | null;
  readonly runs: readonly WhatIfRunData[];
  /** What the runs that fit trade, in sentences; null where fewer than two fit. */
  readonly verdict: string | null;
}

/** One setting under one limit, on the page. */
export interface WhatIfRunData extends Omit<WhatIfRun, 'curve'> {
  /** Tells its setting from the others: the manager, the configuration. */
  readonly setting: string;
  /** Its limit in words. */
  readonly limit: string;
  /** Tells the run from the others: the setting, and the limit. */
  readonly label: string;
  /** When it failed, in ms; null when it did not, or when the trace has no times. */
  readonly failedAtMs: number | null;
  /** Shorter than the others when the run failed. */
  readonly reserved: Column;
  readonly allocated: Column;
}

/** What a program would have needed under one setting and limit. */
export interface WhatIfRun {
  /** A `PYTORCH_ALLOC_CONF`; null for a manager that has none. */
  readonly conf: string | null;
  readonly manager: string;
  /** Null for none. */
  readonly limitBytes: number | null;
  /** Whose memory the limit is, such as a card's name. @defaultValue the page shows the bytes alone */
  readonly limitName?: string | undefined;
  readonly fits: boolean;
  readonly failure: WhatIfFailure | null;
  readonly peakReservedBytes: number;
  readonly peakAllocatedBytes: number;
  /** `1 - allocated / reserved`, when the most was allocated. */
  readonly fragmentation: number;
  readonly retries: number;
  readonly ooms: number;
  readonly nativeAllocs: number;
  readonly nativeFrees: number;
  /** The smallest limit that was seen to fit; null when it was not searched. */
  readonly leastLimitBytes: number | null;
  /** @defaultValue the page shows no curve of it */
  readonly curve?: WhatIfCurve | undefined;
}

/** The request that cannot be served. */
export interface WhatIfFailure {
  readonly event: number;
  readonly requestedBytes: number;
  /** The step or annotation that surrounds it; null when the file names none. */
  readonly step: string | null;
  /** The program's stack, the innermost frame first; empty when it is not known. */
  readonly frames: readonly Readonly<Record<'name' | 'filename', string> & Record<'line', number>>[];
}

/** Memory over the events: the highest value of each bucket of `stride` events, up to the last event that was done. */
export interface WhatIfCurve {
  readonly stride: number;
  readonly reserved: ArrayLike<number>;
  readonly allocated: ArrayLike<number>;
}

/** A column in the binary payload. */
export interface Column {
  readonly type: 'f64' | 'u32' | 'u16';
  readonly offset: number;
  readonly length: number;
}

export interface Fact {
  readonly label: string;
  readonly value: string;
}

export interface NamedMoment {
  readonly name: string;
  readonly at: number;
}

/** What the runs trade. */
export interface Winner {
  /** The run that is the best by what was asked for: the least memory, unless it is said otherwise. */
  readonly run: number;
  /** What it gives and what it costs against others, in sentences. */
  readonly verdict: string;
  /** The run with the least time. */
  readonly fastest?: number | undefined;
  /** The run with the least product of memory and time. */
  readonly knee?: number | undefined;
}

export interface Clock {
  readonly stride: number;
  readonly times: Column;
}

/** The blocks that live at one of the moments at least. A block lives at `m` when `born <= m < died`. */
export type BlockColumns = Readonly<Record<'born' | 'died' | 'bytes', Column> & Record<'tag' | 'site', Column | null>>;

/** The replay of the trace under one manager. */
export interface RunData {
  readonly name: string;
  readonly device: string;
  /** Why the run stopped before its end. */
  readonly failure: string | null;
  /** Events that were done; all of them unless it failed. */
  readonly events: number;
  readonly peakReservedBytes: number;
  /** Peak of live bytes / peak of reserved bytes; null when it failed. */
  readonly utilisation: number | null;
  readonly hitRate: number;
  readonly nativeAllocs: number;
  readonly nativeFrees: number;
  /** Of a run without a watcher; null when it failed. */
  readonly nsPerEvent: number | null;
  readonly reserved: Column;
  readonly cached: Column;
  /** Native calls since the start, at the end of each bucket. */
  readonly nativeCalls: Column;
  /** The share of a bucket's allocations that needed no native call; NaN for a bucket without allocations. */
  readonly hits: Column;
  /** Share of free reserved bytes outside the largest free range. */
  readonly fragmentation: Column;
  readonly fragmentationX: Column;
  /** Of each block of the report; 0 for one that this run never had. */
  readonly address: Column;
  /** Of each block of the report: how many bytes larger than asked for it is. */
  readonly padding: Column;
  readonly segments: SegmentColumns;
}

/**
 * Native memory: it exists at `m` when `born <= m < died`. Pages that touch are one range; other segments stay apart.
 * `paged` is 1 for committed pages of a reserved range, 0 for a segment of its own.
 */
export type SegmentColumns = Readonly<Record<'start' | 'bytes' | 'born' | 'died' | 'paged', Column>>;

/** Allocations of `from` to below `to` bytes. */
export interface SizeClass {
  readonly from: number;
  readonly to: number;
  readonly allocations: number;
  readonly bytes: number;
}

/** The blocks that are never freed, by tag and site. */
export interface LeakTable extends Pick<LeakGroupData, 'blocks' | 'bytes'> {
  /** Most bytes first; the rest is left out. */
  readonly groups: readonly LeakGroupData[];
  readonly omittedGroups: number;
}

export interface LeakGroupData {
  readonly blocks: number;
  readonly bytes: number;
  /** The first of them is made by this event. */
  readonly event: number;
  readonly tag: number;
  readonly site: number;
}

/** Allocation sites for flame graphs. */
export interface SiteStacks {
  /** What there are amounts of; a list of amounts has one for each. */
  readonly measures: readonly ProfileMeasure[];
  /** What stacks refer to by place. */
  readonly frames: readonly SiteFrame[];
  /** Those that are among the heaviest of any measure. */
  readonly sites: readonly SiteStack[];
  /** All other sites together. */
  readonly others: SiteAmounts;
  /** Blocks whose site is not known. */
  readonly unknown: SiteAmounts;
  /** How many sites there are, the others included. */
  readonly siteCount: number;
}

/** A line of a program; an empty file where there is none. */
export type SiteFrame = readonly [name: string, file: string, line: number];

/** Bytes and blocks, by measure. */
export type SiteAmounts = Readonly<Record<'bytes' | 'blocks', readonly number[]>>;

/** A site, and what was allocated there. */
export interface SiteStack extends SiteAmounts {
  /** The places of its frames, the innermost first. */
  readonly stack: readonly number[];
}

/** The result of a search for the best settings. */
export interface TuneData {
  readonly goal: TuneGoal;
  readonly points: readonly TunePoint[];
  readonly best: number;
  /** The place of the point with the least product of memory and time. */
  readonly knee: number;
}

export type TuneGoal = 'reserved' | 'time' | 'capacity';

export interface TunePoint extends Pick<RunData, 'peakReservedBytes'> {
  readonly manager: string;
  /** The settings that differ from the manager's defaults. */
  readonly settings: string;
  /** An expression that makes the manager. */
  readonly code: string;
  readonly nsPerEvent: number;
  /** The least capacity that the trace was seen to run in; null when it was not searched. */
  readonly leastCapacityBytes: number | null;
  /** No other point is better in one respect and as good in the other. */
  readonly frontier: boolean;
}
