import { BudgetPanel } from './budget-panel.js';
import { part } from './dom.js';
import { formatCount } from './format.js';

/** @import { LiveView } from './live-view.js' */

/**
 * A panel for each budget of the program; nothing while there is none.
 *
 * @param {LiveView} view
 */
export function budgetSections(view) {
  /** @type {Map<number, BudgetPanel>} */
  const panels = new Map();
  let told = view.budgets;
  view.changed.on(() => {
    const { shown, count } = view.budgets;
    const isNew = told !== view.budgets;
    told = view.budgets;
    if (isNew) {
      const ids = shown.map(({ id }) => id);
      for (const [id, panel] of panels) {
        if (ids.includes(id)) continue;
        panel.remove();
        panels.delete(id);
      }
      for (const { id } of shown) if (!panels.has(id)) panels.set(id, new BudgetPanel(view, part('budget-list')));
      const isEmpty = shown.length === 0;
      part('budgets').hidden = isEmpty;
      part('budgets-skip').hidden = isEmpty;
      const living = shown.filter(({ hasEnded }) => !hasEnded).length;
      part('budgets-lead').textContent = living < count ? `${formatCount(living)} of ${formatCount(count)} are shown.` : '';
    }
    for (const budget of shown) panels.get(budget.id)?.show(budget, isNew);
  });
}
