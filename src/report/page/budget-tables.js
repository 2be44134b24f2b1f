import { element, swatch } from './dom.js';
import { formatBytes, formatCount, formatTime } from './format.js';
import { fillTable } from './tables.js';

/**
 * @import { LiveBudget, LiveReclaim, LiveSample, LiveTenant } from '../live/live-data.js'
 * @import { BudgetStack, StackPart } from './budget-stack.js'
 */

const OVER_TIME_ROWS = 24;

/** @type {(heading: string, hint?: string) => { heading: string, numeric: true, hint?: string }} */
const figure = (heading, hint) => ({ heading, numeric: true, ...(hint === undefined ? {} : { hint }) });

/**
 * Who holds what now.
 *
 * @param {HTMLElement} table
 * @param {LiveBudget} budget
 * @param {readonly StackPart[]} parts
 */
export function memberTable(table, { members, memberCount }, parts) {
  const colourOf = (/** @type {number | null} */ id) =>
    id === null ? undefined : parts.find((shown) => shown.id === id)?.colour;
  const columns = [
    { heading: 'member' },
    { heading: 'kind' },
    figure('held'),
    figure(
      'of it cached',
      'Held bytes that no block takes up. Whole segments of them are the first to go when others need memory.',
    ),
    figure('peak'),
    figure('minimum', 'What it keeps when others need memory.'),
    figure('priority', 'Those of lower priority give way first.'),
  ];
  const rows = members.map(({ id, name, kind, heldBytes, cachedBytes, peakBytes, minimumBytes, priority }) => {
    const colour = colourOf(id);
    const named = element('span', { class: 'name' }, ...(colour === undefined ? [] : [swatch(colour)]), name);
    return [named, kind, ...[heldBytes, cachedBytes, peakBytes, minimumBytes].map(formatBytes), String(priority)];
  });
  fillTable(table, columns, [...rows, ...more(memberCount - members.length, columns.length)]);
}

/**
 * What tenants have.
 *
 * @param {HTMLElement} table
 * @param {readonly LiveTenant[]} tenants
 * @param {number} count - also of those that are left out
 */
export function tenantTable(table, tenants, count) {
  const columns = [
    { heading: 'tenant' },
    figure('live', 'Bytes of its live blocks, as they were asked for.'),
    figure('limit'),
    figure('minimum', 'What no other tenant gets.'),
    figure('priority', 'Those of lower priority are named first when tenants are to give way.'),
    figure('peak'),
    figure('refusals'),
  ];
  const rows = tenants.map(({ name, liveBytes, limitBytes, minimumBytes, priority, peakBytes, refusals }) => [
    element('span', { class: 'name' }, name),
    formatBytes(liveBytes),
    limitBytes === null ? 'none' : formatBytes(limitBytes),
    formatBytes(minimumBytes),
    String(priority),
    formatBytes(peakBytes),
    formatCount(refusals),
  ]);
  fillTable(table, columns, [...rows, ...more(count - tenants.length, columns.length)]);
}

/**
 * What was given back, and why.
 *
 * @param {HTMLElement} table
 * @param {readonly LiveReclaim[]} reclaims
 * @param {number} count - also of those that are forgotten
 */
export function reclaimTable(table, reclaims, count) {
  const columns = [
    { heading: 'at' },
    { heading: 'asking' },
    { heading: 'from' },
    { heading: 'step' },
    figure('wanted', 'What was missing, and a little more, so that the next request need not ask again.'),
    figure('given back'),
  ];
  const rows = [...reclaims]
    .reverse()
    .map(({ ms, asking, from, step, wantedBytes, freedBytes }) => [
      ms === null ? 'before' : formatTime(ms),
      ...[asking, from, step],
      ...[wantedBytes, freedBytes].map(formatBytes),
    ]);
  fillTable(table, columns, [...rows, ...more(count - reclaims.length, columns.length)]);
}

/** @param {LiveReclaim} reclaim */
export function reclaimText({ ms, asking, from, step, wantedBytes, freedBytes }) {
  const when = ms === null ? '' : `${formatTime(ms)}: `;
  return `${when}${asking} wanted ${formatBytes(wantedBytes)}, ${from} gave ${formatBytes(freedBytes)} (${step}).`;
}

/**
 * The chart as a table.
 *
 * @param {HTMLElement} table
 * @param {readonly LiveSample[]} samples
 * @param {BudgetStack} stack
 */
export function overTimeTable(table, samples, { parts, held, tops }) {
  const steps = Math.min(OVER_TIME_ROWS, samples.length - 1);
  const rows = Array.from({ length: steps + 1 }, (_, row) => {
    const at = steps === 0 ? 0 : Math.round(((samples.length - 1) * row) / steps);
    const bytes = [...held, tops.at(-1) ?? []].map((values) => formatBytes(values[at] ?? Number.NaN));
    return [formatTime(samples[at]?.ms ?? 0), ...bytes];
  });
  fillTable(table, [{ heading: 'at' }, ...parts.map(({ name }) => figure(name)), figure('all')], rows);
}

/**
 * A row that says how many others there are.
 *
 * @param {number} left
 * @param {number} columns
 */
function more(left, columns) {
  return left <= 0 ? [] : [[`and ${formatCount(left)} more`, ...Array.from({ length: columns - 1 }, () => '')]];
}
