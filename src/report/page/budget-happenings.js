import { reclaimText } from './budget-tables.js';
import { formatAmount, MS_PER_SECOND } from './format.js';

/**
 * @import { LiveBudget, LiveSample } from '../live/live-data.js'
 * @import { Happening } from './chart-drawing.js'
 */

const TOLD_RECLAIMS = 2;

/**
 * What a chart marks: reclaims, and the samples since whose forerunner requests were refused or the limit was passed.
 *
 * @param {readonly LiveSample[]} samples
 * @param {LiveBudget} budget
 * @returns {Happening[]}
 */
export function budgetHappenings(samples, budget) {
  /** @type {Happening[]} */
  const found = budget.reclaims.flatMap(({ ms }) =>
    ms === null ? [] : [{ x: ms / MS_PER_SECOND, shape: 'down', colour: '--text' }],
  );
  samples.forEach(({ ms }, i) => {
    const { refusals, overshoots } = newFaults(samples, budget, i);
    if (refusals > 0) found.push({ x: ms / MS_PER_SECOND, shape: 'cross', colour: '--bad' });
    if (overshoots > 0) found.push({ x: ms / MS_PER_SECOND, shape: 'up', colour: '--bad' });
  });
  return found;
}

/**
 * What happened around a sample, in words.
 *
 * @param {readonly LiveSample[]} samples
 * @param {LiveBudget} budget
 * @param {number} at - the sample
 * @param {number} nearMs - how far around it, where samples are nearer to each other
 */
export function happenedAt(samples, budget, at, nearMs) {
  const ms = samples[at]?.ms ?? 0;
  const halfway = (/** @type {number} */ to) => Math.abs((samples[to]?.ms ?? ms) - ms) / 2;
  // Few samples lie far apart: what happened between two is told at the nearer one all the same.
  const isNear = (/** @type {{ ms: number | null }} */ thing) =>
    thing.ms !== null && Math.abs(thing.ms - ms) <= Math.max(nearMs, halfway(thing.ms < ms ? at - 1 : at + 1));
  const faults = samples.flatMap((sample, i) => (isNear(sample) ? [newFaults(samples, budget, i)] : []));
  const refusals = faults.reduce((sum, fault) => sum + fault.refusals, 0);
  const overshoots = faults.reduce((sum, fault) => sum + fault.overshoots, 0);
  const near = budget.reclaims.filter(isNear);
  const told = [
    ...(refusals > 0 ? [`${formatAmount(refusals, 'request')} refused.`] : []),
    ...(overshoots > 0 ? [`${formatAmount(overshoots, 'overshoot')}.`] : []),
    ...near.slice(-TOLD_RECLAIMS).map(reclaimText),
    ...(near.length > TOLD_RECLAIMS ? [`${formatAmount(near.length - TOLD_RECLAIMS, 'more reclaim')}: see the table.`] : []),
  ];
  return told.length === 0 ? 'Nothing was reclaimed or refused then.' : told.join(' ');
}

/**
 * What was refused, and went past the limit, between a sample and the one before.
 *
 * @param {readonly LiveSample[]} samples
 * @param {LiveBudget} budget
 * @param {number} at
 */
function newFaults(samples, { id }, at) {
  const now = samples[at]?.budgets[id];
  const before = samples[at - 1]?.budgets[id];
  if (now === undefined || before === undefined) return { refusals: 0, overshoots: 0 };
  return { refusals: now.refusals - before.refusals, overshoots: now.overshoots - before.overshoots };
}
