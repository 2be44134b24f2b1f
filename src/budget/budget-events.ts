import type { BudgetReclaim, BudgetRefusal } from '../core/budget-report.js';
import type { Pressure } from './pressure.js';

/** Bytes came that nobody could refuse: an engine that takes no refusal, or what is only watched. */
export interface BudgetOvershoot {
  readonly asking: string;
  readonly bytes: number;
  /** How much is held past the limit now. */
  readonly overshootBytes: number;
}

/** The events of a budget. */
export interface BudgetEvents {
  /** The budget is full: a listener may free memory, and says how much. */
  pressure: [pressure: Pressure];
  reclaim: [reclaim: BudgetReclaim];
  refusal: [refusal: BudgetRefusal];
  overshoot: [overshoot: BudgetOvershoot];
}
