/** What a member of a budget is. */
export type BudgetMemberKind = 'memory' | 'budget' | 'watched' | 'segment' | 'reserved' | 'process';

/** What one member of a budget holds. */
export interface BudgetMemberReading {
  readonly name: string;
  /**
   * `memory` is that of a host or slot, `budget` one below this, `watched` what is sampled and cannot be refused (V8's heap), `segment` a
   * shared one, `reserved` what is taken ahead of a job, `process` another isolate or process.
   */
  readonly kind: BudgetMemberKind;
  readonly heldBytes: number;
  /** How much of that its managers cache; 0 where that cannot be told. */
  readonly cachedBytes: number;
  /** The most that it held at once. */
  readonly peakBytes: number;
  /** What it keeps when others need memory. */
  readonly minimumBytes: number;
  /** Those of lower priority give way first. */
  readonly priority: number;
}

/** What a tenant of a budget has. */
export interface BudgetTenantReading {
  /** The tag of its allocations. */
  readonly name: string;
  /** Bytes of its live blocks, as they were asked for. */
  readonly liveBytes: number;
  readonly peakBytes: number;
  readonly limitBytes: number;
  readonly minimumBytes: number;
  readonly priority: number;
  /** Allocations that were refused. */
  readonly refusals: number;
}

/** How a budget makes room, in this order. */
export type BudgetStep = 'own cache' | 'caches of others' | 'C library' | 'listeners' | 'dropped handles' | 'other processes';

/** Memory that was given back so that somebody else could have it. */
export interface BudgetReclaim {
  /** Milliseconds since 1970. */
  readonly timeMs: number;
  /** Who needed it; the budget itself when its limit fell, or what it watches grew. */
  readonly asking: string;
  /** Who gave it. */
  readonly from: string;
  readonly step: BudgetStep;
  readonly wantedBytes: number;
  readonly freedBytes: number;
}

/** What a budget holds, and what it did so that it stayed within its limit. */
export interface BudgetReport {
  readonly name: string;
  /** The kind of memory: `host`, or a device's name and id. */
  readonly memory: string;
  readonly limitBytes: number;
  readonly usedBytes: number;
  readonly peakBytes: number;
  /** The most held first. */
  readonly members: readonly BudgetMemberReading[];
  readonly tenants: readonly BudgetTenantReading[];
  /** Requests that were refused. For one allocation a manager may make several: of a large segment, then of a smaller one. */
  readonly refusals: number;
  /** How often bytes that nobody could refuse went past the limit. */
  readonly overshoots: number;
  /** The most that was held past the limit. */
  readonly overshootBytes: number;
  /** How often others gave memory back, and how much that was in all. */
  readonly reclaimCount: number;
  readonly reclaimedBytes: number;
  /** The last 64 of them, the oldest first. */
  readonly reclaims: readonly BudgetReclaim[];
}

/** Why a budget refused: who holds what, what was tried, and how much would have to go. */
export interface BudgetRefusal {
  readonly name: string;
  readonly limitBytes: number;
  readonly usedBytes: number;
  /** Who asked. */
  readonly asking: string;
  /** How many bytes would have to go. */
  readonly missingBytes: number;
  readonly members: readonly BudgetMemberReading[];
  readonly tried: readonly { readonly step: BudgetStep; readonly freedBytes: number }[];
}
