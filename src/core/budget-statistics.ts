import type { BudgetMemberReading, BudgetReport, BudgetTenantReading } from './budget-report.js';
import type { MemoryStatistic } from './memory-statistics.js';

/** One figure of a budget, of a member, or of a tenant: what it is called, what it counts, and how it is read. */
export interface BudgetStatistic<T> extends Pick<MemoryStatistic, 'name' | 'unit' | 'kind' | 'help'> {
  /** Reads it; infinity for no limit. */
  readonly read: (reading: T) => number;
}

/** The figures of a budget that Prometheus and OpenTelemetry have. */
export const BUDGET_STATISTICS: readonly BudgetStatistic<BudgetReport>[] = [
  level('limit', 'Bytes that may be held.', ({ limitBytes }) => limitBytes),
  level('used', 'Bytes that members hold; those of all processes where they share the budget.', ({ usedBytes }) => usedBytes),
  level('peak', 'The most bytes that members held at once.', ({ peakBytes }) => peakBytes),
  counter('refusals', 'count', 'Requests that were refused.', ({ refusals }) => refusals),
  counter(
    'overshoots',
    'count',
    'Times that bytes came which nobody could refuse, and went past the limit.',
    (r) => r.overshoots,
  ),
  counter('reclaims', 'count', 'Times that memory was given back so that somebody else could have it.', (r) => r.reclaimCount),
  counter('reclaimed', 'bytes', 'Bytes that were given back so that somebody else could have them.', (r) => r.reclaimedBytes),
];

/** Those of each member. */
export const BUDGET_MEMBER_STATISTICS: readonly BudgetStatistic<BudgetMemberReading>[] = [
  level('held', 'Bytes that a member holds.', ({ heldBytes }) => heldBytes),
  level('cached', 'Held bytes that the managers of a member cache.', ({ cachedBytes }) => cachedBytes),
];

/** Those of each tenant. */
export const BUDGET_TENANT_STATISTICS: readonly BudgetStatistic<BudgetTenantReading>[] = [
  level('live', 'Bytes of the live blocks of a tenant.', ({ liveBytes }) => liveBytes),
  level('limit', 'Bytes of live blocks that a tenant may have.', ({ limitBytes }) => limitBytes),
];

function level<T>(name: string, help: string, read: (reading: T) => number): BudgetStatistic<T> {
  return { name, unit: 'bytes', kind: 'level', help, read };
}

function counter(
  name: string,
  unit: MemoryStatistic['unit'],
  help: string,
  read: (report: BudgetReport) => number,
): BudgetStatistic<BudgetReport> {
  return { name, unit, kind: 'counter', help, read };
}
