import type { BudgetMemberReading, BudgetReport } from './budget-report.js';
import { budgets, type ReportsBudget } from './budgets.js';

/** What one budget holds now. */
export interface BudgetReading {
  readonly budget: ReportsBudget;
  /** Its name, with a number behind it where an older budget has that name: `process`, `process #2`. It stays as long as the budget lives. */
  readonly name: string;
  readonly report: BudgetReport;
  /** Its members, those of one name and kind added up, the most held first. */
  readonly members: readonly BudgetMemberReading[];
}

const given = new WeakMap<ReportsBudget, string>();

/** Reads what every budget of this isolate holds now. Cost: O(managers x devices) a budget. */
export function budgetReadings(): BudgetReading[] {
  return Array.from(budgets(), (budget) => {
    const report = budget.report();
    return { budget, name: nameOf(budget, report.name), report, members: addedUp(report.members) };
  });
}

function nameOf(budget: ReportsBudget, wanted: string): string {
  const known = given.get(budget);
  if (known !== undefined) return known;
  const taken = new Set(Array.from(budgets(), (other) => given.get(other)));
  let name = wanted;
  for (let n = 2; taken.has(name); n++) name = `${wanted} #${n}`;
  given.set(budget, name);
  return name;
}

function addedUp(members: readonly BudgetMemberReading[]): BudgetMemberReading[] {
  const byKey = new Map<string, BudgetMemberReading>();
  for (const member of members) {
    const key = `${member.kind} ${member.name}`;
    const other = byKey.get(key);
    byKey.set(key, other === undefined ? member : sum(other, member));
  }
  return [...byKey.values()].sort((a, b) => b.heldBytes - a.heldBytes);
}

function sum(a: BudgetMemberReading, b: BudgetMemberReading): BudgetMemberReading {
  return {
    ...a,
    heldBytes: a.heldBytes + b.heldBytes,
    cachedBytes: a.cachedBytes + b.cachedBytes,
    peakBytes: a.peakBytes + b.peakBytes,
    minimumBytes: a.minimumBytes + b.minimumBytes,
    priority: Math.min(a.priority, b.priority),
  };
}
