import { budgetHappenings, happenedAt } from './budget-happenings.js';
import { BudgetStack } from './budget-stack.js';
import { memberTable, overTimeTable, reclaimTable, tenantTable } from './budget-tables.js';
import { Chart } from './chart.js';
import { element, swatch } from './dom.js';
import { formatAmount, formatBytes, formatShare, formatTick, formatTime, MS_PER_SECOND } from './format.js';
import { scrolled } from './tables.js';

/**
 * @import { LiveBudget } from '../live/live-data.js'
 * @import { LiveView } from './live-view.js'
 */

/** A reclaim is at the pointer when it is so near, as a share of what the chart shows. */
const NEAR = 1 / 80;

/** One budget: its state in words, who held what over time, and tables of members, tenants and reclaims. */
export class BudgetPanel {
  #view;
  #stack = new BudgetStack();
  #article = element('article', { class: 'budget' });
  #heading = element('h3');
  #lead = element('p', { class: 'lead' });
  #faults = element('p', { class: 'lead failure' });
  #place = element('div', { class: 'chart' });
  #where = element('p', { class: 'where' });
  #readings = element('div', { class: 'legend' });
  #detail = element('p', { class: 'detail soft' });
  #members = element('table', { class: 'compact', 'data-cards': '620' });
  #tenants = element('table', { class: 'compact', 'data-cards': '620' });
  #reclaims = element('table', { class: 'compact', 'data-cards': '620' });
  #overTime = element('table', { class: 'compact' });
  #details = element('details', {}, element('summary', {}, 'Over time as a table'));
  /** @type {HTMLElement} */
  #tenantPart;
  /** @type {HTMLElement} */
  #reclaimPart;
  /** @type {Chart | undefined} */
  #chart;
  /** @type {LiveBudget | undefined} */
  #budget;
  /** @type {number | null} */
  #hovered = null;

  /**
   * @param {LiveView} view
   * @param {HTMLElement} place
   */
  constructor(view, place) {
    this.#view = view;
    this.#tenantPart = element('div', {}, element('h4', {}, 'Tenants'), scrolled(this.#tenants, 'Tenants'));
    this.#reclaimPart = element(
      'div',
      {},
      element('h4', {}, 'Reclaims'),
      element('p', { class: 'note' }, 'Memory that was given back so that somebody else could have it, the newest first.'),
      scrolled(this.#reclaims, 'Reclaims', 'rows'),
    );
    this.#details.append(scrolled(this.#overTime, 'Who held what over time', 'matrix'));
    this.#details.addEventListener('toggle', () => this.#showOverTime());
    this.#article.append(
      ...[this.#heading, this.#lead, this.#faults, this.#place],
      element('div', { class: 'readout' }, this.#where, this.#readings, this.#detail),
      this.#details,
      ...[element('h4', {}, 'Members'), scrolled(this.#members, 'Members')],
      ...[this.#tenantPart, this.#reclaimPart],
    );
    place.append(this.#article);
  }

  /**
   * Shows the present state.
   *
   * @param {LiveBudget} budget
   * @param {boolean} isNew - false when only the samples are
   */
  show(budget, isNew) {
    this.#budget = budget;
    const isOther = this.#stack.read(this.#view.samples, budget);
    if (isNew) this.#showState(budget);
    if (isOther || this.#chart === undefined) this.#makeChart(budget);
    else this.#chart.setData(this.#view.seconds(), this.#curves());
    this.#showReadings();
    if (!isNew) return;
    this.#showOverTime();
    memberTable(this.#members, budget, this.#stack.parts);
    tenantTable(this.#tenants, budget.tenants, budget.tenantCount);
    reclaimTable(this.#reclaims, budget.reclaims, budget.reclaimCount);
  }

  /** Takes the panel off the page. */
  remove() {
    if (this.#chart !== undefined) this.#view.group.remove(this.#chart);
    this.#article.remove();
  }

  /** @param {LiveBudget} budget */
  #showState(budget) {
    const { name, memory, hasEnded, limitBytes, usedBytes, peakBytes } = budget;
    this.#heading.textContent = `${name} (${memory})${hasEnded ? ', ended' : ''}`;
    const used = formatBytes(usedBytes);
    const held =
      limitBytes === null
        ? `${used} held, without a limit`
        : `${used} of ${formatBytes(limitBytes)} held (${formatShare(usedBytes / limitBytes, 0)})`;
    const { reclaimCount, reclaimedBytes } = budget;
    const back = reclaimCount === 0 ? '' : ` ${formatAmount(reclaimCount, 'reclaim')} gave back ${formatBytes(reclaimedBytes)}.`;
    this.#lead.textContent = `${held}, at most ${formatBytes(peakBytes)} so far.${back}`;
    const { refusals, overshoots, overshootBytes } = budget;
    const faults = [
      ...(refusals === 0 ? [] : [`${formatAmount(refusals, 'request')} refused.`]),
      ...(overshoots === 0
        ? []
        : [`${formatAmount(overshoots, 'overshoot')}, at most ${formatBytes(overshootBytes)} past the limit.`]),
    ];
    this.#faults.textContent = faults.join(' ');
    this.#faults.hidden = faults.length === 0;
    this.#tenantPart.hidden = budget.tenantCount === 0;
    this.#reclaimPart.hidden = budget.reclaims.length === 0;
  }

  /** The limit lies behind the stack: its bands are between neighbours. */
  #curves() {
    return [...this.#stack.tops, this.#stack.limits];
  }

  /** @param {LiveBudget} budget */
  #makeChart(budget) {
    if (this.#chart !== undefined) this.#view.group.remove(this.#chart);
    const { parts: stacked, tops } = this.#stack;
    const parts = stacked.map(({ name, colour }, i) => ({ label: name, colour, values: tops[i] ?? [], stacked: true }));
    const limits = { label: 'limit', colour: '--bad', values: this.#stack.limits, dotted: true };
    this.#chart = new Chart(this.#place, this.#view.seconds(), [...parts, limits], {
      label: `Who held what of the budget ${budget.name} over the last minutes, one on the other, with its limit and what happened`,
      format: formatTick,
      bytes: true,
      group: this.#view.group,
      levels: () => this.#levels(),
      happenings: () => budgetHappenings(this.#view.samples, this.#budget ?? budget),
      onHover: (index) => {
        this.#hovered = index;
        this.#showReadings();
      },
    });
  }

  #levels() {
    const limitBytes = this.#budget?.limitBytes ?? null;
    return limitBytes === null ? [] : [{ y: limitBytes, text: `limit ${formatBytes(limitBytes)}` }];
  }

  /** Tells what was held at the pointer, or is held now, and what happened then. */
  #showReadings() {
    const budget = this.#budget;
    if (budget === undefined) return;
    const { samples } = this.#view;
    const at = this.#hovered ?? samples.length - 1;
    const sample = samples[at];
    const reading = sample?.budgets[budget.id];
    const when = this.#hovered === null ? 'Now' : `At ${formatTime(sample?.ms ?? 0)}`;
    const limit = reading === undefined || reading.limitBytes === null ? '' : ` of ${formatBytes(reading.limitBytes)}`;
    this.#where.textContent =
      reading === undefined ? `${when}: the budget is not there` : `${when}: ${formatBytes(reading.usedBytes)}${limit} held`;
    this.#readings.replaceChildren(
      ...this.#stack.parts.map(({ name, colour }, i) =>
        element('span', { class: 'entry' }, swatch(colour), `${name} ${formatBytes(this.#stack.held[i]?.[at] ?? Number.NaN)}`),
      ),
      ...this.#shapes(budget),
    );
    this.#detail.textContent =
      this.#hovered === null
        ? 'Point into the chart, or press the arrow keys in it, to read what happened at a time.'
        : this.#happenedAt(budget, at);
  }

  /** @param {LiveBudget} budget */
  #shapes({ reclaims, refusals, overshoots }) {
    const entry = (/** @type {string} */ sign, /** @type {string} */ text, /** @type {string} */ name) =>
      element('span', { class: 'entry' }, element('span', { class: name, 'aria-hidden': 'true' }, sign), text);
    return [
      ...(reclaims.length === 0 ? [] : [entry('▼', 'reclaim', '')]),
      ...(overshoots === 0 ? [] : [entry('▲', 'overshoot', 'failure')]),
      ...(refusals === 0 ? [] : [entry('✕', 'refusal', 'failure')]),
    ];
  }

  /** @param {LiveBudget} budget @param {number} at - a sample */
  #happenedAt(budget, at) {
    const { group, samples } = this.#view;
    const [from, to] = group.zoom ?? group.axis.extent();
    return happenedAt(samples, budget, at, (to - from) * MS_PER_SECOND * NEAR);
  }

  #showOverTime() {
    if (!this.#details.open) return;
    overTimeTable(this.#overTime, this.#view.samples, this.#stack);
  }
}
