import type { BudgetMemberKind, BudgetReport } from '../core/budget-report.js';
import { counted } from '../core/counted.js';
import { exactBytes } from '../core/units.js';

/** What nobody here can give back, and a budget below, which has a line of its own. */
const NOT_OURS: readonly BudgetMemberKind[] = ['watched', 'process', 'budget'];

/**
 * Formats as one line what a budget went through, for the end of the process. Nothing when no request was refused, the limit
 * was kept, and all members gave back what they held.
 */
export function formatBudgetAtExit(report: BudgetReport): string {
  const { name, memory, limitBytes, peakBytes, refusals, overshoots, overshootBytes, reclaimCount, reclaimedBytes } = report;
  const holders = report.members.filter(({ kind, heldBytes }) => heldBytes > 0 && !NOT_OURS.includes(kind));
  if (refusals === 0 && overshoots === 0 && holders.length === 0) return '';
  const limit = limitBytes === Number.POSITIVE_INFINITY ? 'no limit' : `limit ${exactBytes(limitBytes)}`;
  const past = overshoots === 0 ? '' : `, at most ${exactBytes(overshootBytes)} past the limit`;
  const back = reclaimCount === 0 ? '' : `, ${exactBytes(reclaimedBytes)} in all`;
  const facts = [
    `${limit}, peak ${exactBytes(peakBytes)}`,
    counted(refusals, 'refusal'),
    `${counted(overshoots, 'overshoot')}${past}`,
    `${counted(reclaimCount, 'reclaim')}${back}`,
    ...holders.map((holder) => `${JSON.stringify(holder.name)} still holds ${exactBytes(holder.heldBytes)}`),
  ];
  return `stowage: budget ${JSON.stringify(name)} (${memory}): ${facts.join('; ')}\n`;
}
