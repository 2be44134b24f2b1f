import { element, part } from './dom.js';
import { formatBytes, formatCount, formatTime, MS_PER_SECOND } from './format.js';
import { siteCell } from './site-cell.js';
import { fillTable } from './tables.js';

/** @import { LiveView } from './live-view.js' */

const MS_PER_MINUTE = 60 * MS_PER_SECOND;

/**
 * Which tags and sites hold more than some minutes ago.
 *
 * @param {LiveView} view
 */
export function growthSection(view) {
  view.changed.on(() => {
    const { overMs, groups } = view.growth;
    const sited = groups.some(({ site }) => site !== '');
    const over = formatTime(overMs);
    part('growth-lead').textContent =
      groups.length === 0
        ? `Nothing holds more than ${over} ago.`
        : `What holds more than ${over} ago, by tag and site.` +
          (sited ? '' : ' Sites are not recorded: stowage serve --sites shows where blocks come from.');
    fillTable(
      part('growth-table'),
      groups.length === 0
        ? []
        : [
            { heading: 'grown by', numeric: true },
            { heading: 'a minute', numeric: true },
            { heading: 'live now', numeric: true },
            { heading: 'blocks', numeric: true },
            { heading: 'tag' },
            ...(sited ? [{ heading: 'site', wide: true }] : []),
          ],
      groups.map(({ grownBytes, bytes, blocks, tag, site }) => [
        formatBytes(grownBytes),
        // Of some seconds it would be a guess.
        overMs < MS_PER_MINUTE / 2 ? '–' : formatBytes(Math.round((grownBytes * MS_PER_MINUTE) / overMs)),
        formatBytes(bytes),
        formatCount(blocks),
        tag === '' ? element('span', { class: 'soft' }, 'none') : tag,
        ...(sited ? [site === '' ? element('span', { class: 'soft' }, 'not recorded') : siteCell(site)] : []),
      ]),
    );
  });
}
