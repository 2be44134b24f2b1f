import { AddressMap } from './address-map.js';
import { biggestBlocks, leakSection, sizeSection } from './block-sections.js';
import { element, part } from './dom.js';
import { frontierSection } from './frontier-section.js';
import { showHints } from './hints.js';
import { managerSection } from './manager-section.js';
import { detailCharts, memorySection } from './memory-section.js';
import { momentBar } from './moment-bar.js';
import { Columns } from './payload.js';
import { ReplayView } from './replay-view.js';
import { followTheme } from './theme.js';

/** @import { Fact, ReportData } from '../report-data.js' */

/**
 * @param {string} place
 * @param {readonly Fact[]} facts
 */
function showFacts(place, facts) {
  part(place).replaceChildren(
    ...facts.map(({ label, value }) => element('div', {}, element('dt', {}, label), element('dd', {}, value))),
  );
}

/** @param {ReportData} data */
async function showReport(data) {
  const view = new ReplayView(data, await Columns.unpack(part('report-columns').textContent ?? ''));
  managerSection(view);
  if (data.tune !== null) frontierSection(data.tune);
  momentBar(view);
  const map = new AddressMap(view);
  memorySection(view);
  detailCharts(view);
  sizeSection(view);
  biggestBlocks(view);
  leakSection(view);
  followTheme(() => {
    view.group.redraw();
    map.update();
  });
}

const report = /** @type {ReportData} */ (JSON.parse(part('report-data').textContent ?? ''));
part('title').textContent = report.title;
showFacts('facts', report.facts);
showFacts('settings', report.settings);
showHints();
await showReport(report);
document.documentElement.dataset['ready'] = 'true';
