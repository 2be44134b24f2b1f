/**
 * One limit over runtimes, engines, buffers, V8, workers and processes, divided among tenants.
 *
 * @module
 */

export type {
  BudgetMemberKind,
  BudgetMemberReading,
  BudgetReclaim,
  BudgetRefusal,
  BudgetReport,
  BudgetStep,
  BudgetTenantReading,
} from '../core/budget-report.js';
export type { BudgetEvents, BudgetOvershoot } from './budget-events.js';
export type { BudgetLedger, LedgerMember, LedgerMemberReading } from './budget-ledger.js';
export type { BudgetLimit } from './budget-limit.js';
export type { BudgetMemberOptions } from './budget-member.js';
export { type BudgetJoiner, MemoryBudget, type MemoryBudgetOptions } from './memory-budget.js';
export type { Pressure } from './pressure.js';
export type { BudgetReservation } from './reservation.js';
export type { ReserveOptions } from './reservation-line.js';
export type { BudgetTenant, TenantOptions } from './tenant.js';
