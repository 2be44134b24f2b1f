import type { BudgetMemberReading, BudgetReclaim, BudgetReport } from '../../core/budget-report.js';
import type { MemoryStatistic } from '../../core/memory-statistics.js';
import type { Fact, LeakTable, SiteStacks, SizeClass } from '../report-data.js';

/** The first message of a stream: everything up to now. Times are ms since the dashboard began. */
export interface LiveHello {
  readonly statistics: readonly LiveStatistic[];
  readonly managers: readonly LiveManager[];
  readonly samples: readonly LiveSample[];
  readonly map: LiveMap;
  /** Handles that were dropped without being disposed, the newest last. */
  readonly leaks: LiveLeaks;
  readonly budgets: LiveBudgets;
  /** How the program ended; left out while it runs. */
  readonly ended?: string;
}

/** A live page and all that it shows. */
export interface LiveState {
  readonly title: string;
  readonly facts: readonly Fact[];
  readonly hello: LiveHello;
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
  /** By the id of the budget. */
  readonly budgets: Readonly<Record<number, LiveBudgetReading>>;
}

/** What one budget held. */
export interface LiveBudgetReading extends Pick<BudgetReport, 'usedBytes' | 'refusals' | 'overshoots'> {
  /** Null for no limit. */
  readonly limitBytes: number | null;
  /** Bytes that members held, those that held the most, by their ids; what is missing of `usedBytes` is that of others. */
  readonly held: Readonly<Record<number, number>>;
}

/** The budgets of this isolate. */
export interface LiveBudgets {
  /** How many there are; not all are shown of very many. */
  readonly count: number;
  /** Those that are shown, the last ones that ended among them, the oldest first. */
  readonly shown: readonly LiveBudget[];
}

/** A budget, as it is now or was when it ended. */
export interface LiveBudget
  extends Pick<BudgetReport, 'memory' | 'usedBytes' | 'peakBytes' | 'refusals' | 'overshoots' | 'overshootBytes'>,
    Pick<BudgetReport, 'reclaimCount' | 'reclaimedBytes'> {
  readonly id: number;
  readonly name: string;
  readonly hasEnded: boolean;
  readonly limitBytes: number | null;
  /** The names of the members in samples, by their ids. */
  readonly names: Readonly<Record<number, string>>;
  /** Those of today, the most held first; of very many not all. */
  readonly members: readonly LiveMember[];
  readonly memberCount: number;
  /** The most live bytes first; of very many not all. */
  readonly tenants: readonly LiveTenant[];
  readonly tenantCount: number;
  /** The last ones, the oldest first. */
  readonly reclaims: readonly LiveReclaim[];
}

/** A member, and its id in samples; null where it is not in them. */
export interface LiveMember extends BudgetMemberReading {
  readonly id: number | null;
}

/** A tenant; null for no limit. */
export type LiveTenant = Omit<BudgetReport['tenants'][number], 'limitBytes'> & { readonly limitBytes: number | null };

/** A reclaim, at a time since the dashboard began; null for one before that. */
export interface LiveReclaim extends Omit<BudgetReclaim, 'timeMs'> {
  readonly ms: number | null;
}

/** Figures of one manager, added up over its devices. */
export interface LiveReading {
  readonly active: boolean;
  /** In the order of the hello's statistics. */
  readonly values: readonly number[];
}

/** The description of a figure: a row of the table of statistics. */
export type LiveStatistic = Pick<MemoryStatistic, 'name' | 'unit' | 'kind' | 'help'>;

/** A block: address, bytes, age in ms, tag, and the place of its site among those of the map. */
export type LiveBlock = readonly [number, number, number, string, number];

/** The memory of the ordinary slot now. */
export interface LiveMap {
  /** The biggest ones, when there are very many. */
  readonly blocks: readonly LiveBlock[];
  readonly blockCount: number;
  /** Each a line a frame, the innermost first; '' is not known. */
  readonly sites: readonly string[];
  /** Null when no site is known. */
  readonly stacks: SiteStacks | null;
  /** Start and bytes. */
  readonly segments: readonly (readonly [number, number])[];
  readonly fragmentation: number;
  readonly sizes: readonly SizeClass[];
  readonly growth: LiveGrowth;
}

/** Which blocks hold more than some minutes ago. */
export interface LiveGrowth {
  /** How long ago, in ms. */
  readonly overMs: number;
  /** By tag and site, what grew the most first. Sites are empty where they are not recorded at each allocation. */
  readonly groups: readonly {
    readonly tag: string;
    readonly site: string;
    readonly bytes: number;
    readonly blocks: number;
    readonly grownBytes: number;
  }[];
}

/** A message of the stream after the first. */
export interface LiveUpdate extends Pick<LiveHello, 'managers' | 'leaks'> {
  readonly sample: LiveSample;
  /** Not in every message. */
  readonly map: LiveMap | null;
  /** As often as the map. */
  readonly budgets: LiveBudgets | null;
}

export interface LiveLeaks extends Pick<LeakTable, 'blocks' | 'bytes'> {
  readonly newest: readonly { readonly bytes: number; readonly site: string; readonly ms: number }[];
}
