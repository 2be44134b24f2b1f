import { type BudgetReading, budgetReadings } from '../../core/budget-readings.js';
import {
  BUDGET_MEMBER_STATISTICS,
  BUDGET_STATISTICS,
  BUDGET_TENANT_STATISTICS,
  type BudgetStatistic,
} from '../../core/budget-statistics.js';
import { type MetricText, metricSample } from './metric-text.js';

/** What a row of samples is about, and its labels beside those of the budget. */
type Subject<T> = readonly [reading: T, labels: Readonly<Record<string, string>>];

/** The metrics of all budgets of this isolate, for Prometheus. */
export function budgetMetrics(): MetricText[] {
  const readings = budgetReadings();
  return [
    ...BUDGET_STATISTICS.map((statistic) => metric('budget', statistic, readings, ({ report }) => [[report, {}]])),
    ...BUDGET_MEMBER_STATISTICS.map((statistic) =>
      metric('budget_member', statistic, readings, ({ members }) =>
        members.map((member) => [member, { member: member.name, kind: member.kind }]),
      ),
    ),
    ...BUDGET_TENANT_STATISTICS.map((statistic) =>
      metric('budget_tenant', statistic, readings, ({ report }) =>
        report.tenants.map((tenant) => [tenant, { tenant: tenant.name }]),
      ),
    ),
  ];
}

function metric<T>(
  subject: string,
  { name: word, unit, kind, help, read }: BudgetStatistic<T>,
  readings: readonly BudgetReading[],
  subjectsOf: (reading: BudgetReading) => readonly Subject<T>[],
): MetricText {
  const name = `stowage_${subject}_${word}${unit === 'bytes' ? '_bytes' : ''}${kind === 'counter' ? '_total' : ''}`;
  const samples = readings.flatMap((reading) =>
    subjectsOf(reading).map(([of, labels]) =>
      metricSample(name, { budget: reading.name, memory: reading.report.memory, ...labels }, read(of)),
    ),
  );
  return { name, type: kind === 'counter' ? 'counter' : 'gauge', help, samples };
}
