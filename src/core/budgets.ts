import type { BudgetReport } from './budget-report.js';
import { processState } from './process-state.js';

declare module './process-state.js' {
  interface ProcessState {
    readonly budgets: Set<ReportsBudget>;
    /** Told when a budget of this isolate refuses. */
    readonly refusalListeners: Set<() => void>;
  }
}

/** Something that tells what it holds. */
export interface ReportsBudget {
  report(): BudgetReport;
}

/** The budgets of this isolate that have not ended, for those who show them. */
export function budgets(): Set<ReportsBudget> {
  return processState().budgets;
}
