import { AddressMap } from './address-map.js';
import { biggestBlocks, leakSection, sizeSection } from './block-sections.js';
import { detailCharts } from './detail-charts.js';
import { element, part } from './dom.js';
import { FlameSection } from './flame-section.js';
import { frontierSection } from './frontier-section.js';
import { showHints } from './hints.js';
import { showLive } from './live-sections.js';
import { managerSection } from './manager-section.js';
import { memorySection } from './memory-section.js';
import { momentBar } from './moment-bar.js';
import { Columns } from './payload.js';
import { ReplayView } from './replay-view.js';
import { watchScroll } from './tables.js';
import { followTheme } from './theme.js';
import { whatIfSections } from './whatif-sections.js';
import { WhatIfView } from './whatif-view.js';

/** @import { Fact, LivePageData, ReportData, WhatIfPageData } from '../report-data.js' */

/**
 * @param {string} place
 * @param {readonly Fact[]} facts
 */
function showFacts(place, facts) {
  part(place).replaceChildren(
    ...facts.map(({ label, value }) => element('div', {}, element('dt', {}, label), element('dd', {}, value))),
  );
}

const unpacked = () => Columns.unpack(part('report-columns').textContent ?? '');

/** @param {ReportData} data */
async function showReport(data) {
  showFacts('settings', data.settings);
  const view = new ReplayView(data, await unpacked());
  managerSection(view);
  if (data.tune !== null) frontierSection(data.tune, view.runs);
  momentBar(view);
  const map = new AddressMap(view);
  memorySection(view);
  detailCharts(view);
  sizeSection(view);
  biggestBlocks(view);
  leakSection(view);
  const flame = new FlameSection(
    { peak: 'live at the peak', live: 'live at the end', allocated: 'allocated in all' },
    'No flame graph: the trace has no allocation sites. Record them with `stowage record --sites -- node app.js`.',
  );
  flame.show(data.stacks);
  followTheme(() => {
    view.group.redraw();
    map.update();
    flame.redraw();
  });
}

/** @param {WhatIfPageData} data */
async function showWhatIf(data) {
  showFacts('settings', data.settings);
  const view = new WhatIfView(data, await unpacked());
  whatIfSections(view);
  followTheme(() => view.group.redraw());
}

const page = /** @type {ReportData | LivePageData | WhatIfPageData} */ (JSON.parse(part('report-data').textContent ?? ''));
part('title').textContent = page.title;
showFacts('facts', page.facts);
for (const one of document.querySelectorAll('[data-modes]')) {
  one.toggleAttribute('hidden', one.getAttribute('data-modes')?.split(' ').includes(page.mode) !== true);
}
showHints();
for (const box of document.querySelectorAll('.scroll')) watchScroll(/** @type {HTMLElement} */ (box));
if (page.mode === 'live') followTheme(showLive());
else if (page.mode === 'whatif') await showWhatIf(page);
else await showReport(page);
document.documentElement.dataset['ready'] = 'true';
