import { type BatchObservableCallback, type Meter, metrics, type Observable } from '@opentelemetry/api';
import { budgetReadings } from '../core/budget-readings.js';
import {
  BUDGET_MEMBER_STATISTICS,
  BUDGET_STATISTICS,
  BUDGET_TENANT_STATISTICS,
  type BudgetStatistic,
} from '../core/budget-statistics.js';
import { checkOptionNames } from '../core/option-names.js';
import { OPEN_TELEMETRY_OPTIONS, type OpenTelemetryOptions, type PublishedStats } from './publish-memory-stats.js';

interface Instrument<T> {
  readonly instrument: Observable;
  readonly read: (reading: T) => number;
}

/**
 * Publishes what the budgets of this isolate hold as OpenTelemetry metrics, until it is disposed: once for a process,
 * however many hosts it has. They are read when the meter's reader collects, and cost nothing in between.
 *
 * `stowage.budget.<name>` has the attributes `budget` and `memory`; `stowage.budget.member.<name>` `member` and `kind` beside them,
 * `stowage.budget.tenant.<name>` `tenant`. Where there is no limit, nothing is told of it.
 */
export function publishBudgets(options: OpenTelemetryOptions = {}): PublishedStats {
  checkOptionNames('publishBudgets', options, OPEN_TELEMETRY_OPTIONS);
  const { meter = metrics.getMeter('stowage'), attributes } = options;
  const ofBudget = instruments(meter, 'budget', BUDGET_STATISTICS);
  const ofMember = instruments(meter, 'budget.member', BUDGET_MEMBER_STATISTICS);
  const ofTenant = instruments(meter, 'budget.tenant', BUDGET_TENANT_STATISTICS);
  const observe: BatchObservableCallback = (result) => {
    const tell = <T>(told: readonly Instrument<T>[], of: T, named: Record<string, string>) => {
      for (const { instrument, read } of told) {
        const value = read(of);
        if (Number.isFinite(value)) result.observe(instrument, value, { ...attributes, ...named });
      }
    };
    for (const { name, report, members } of budgetReadings()) {
      const named = { budget: name, memory: report.memory };
      tell(ofBudget, report, named);
      for (const member of members) tell(ofMember, member, { ...named, member: member.name, kind: member.kind });
      for (const tenant of report.tenants) tell(ofTenant, tenant, { ...named, tenant: tenant.name });
    }
  };
  const observables = [ofBudget, ofMember, ofTenant].flatMap((told) => told.map(({ instrument }) => instrument));
  meter.addBatchObservableCallback(observe, observables);
  const dispose = (): void => meter.removeBatchObservableCallback(observe, observables);
  return { dispose, [Symbol.dispose]: dispose };
}

function instruments<T>(meter: Meter, subject: string, statistics: readonly BudgetStatistic<T>[]): Instrument<T>[] {
  return statistics.map(({ name, unit, kind, help, read }) => {
    const settings = { description: help.replace(/\.$/, ''), ...(unit === 'bytes' ? { unit: 'By' } : {}) };
    const full = `stowage.${subject}.${name}`;
    const instrument =
      kind === 'counter' ? meter.createObservableCounter(full, settings) : meter.createObservableGauge(full, settings);
    return { instrument, read };
  });
}
