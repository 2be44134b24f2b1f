import { choice, element, part } from './dom.js';
import { formatAddress, formatAmount, formatBytes, formatCount } from './format.js';
import { siteCell } from './site-cell.js';
import { fillTable } from './tables.js';

/** @import { ReplayView } from './replay-view.js' */

const SHOWN_BLOCKS = 20;
const NO_SITE = element('span', { class: 'soft' }, 'not recorded');

/**
 * The biggest blocks at the chosen moment.
 *
 * @param {Pick<ReplayView, 'changed' | 'blocks' | 'momentText' | 'ageText'>} view
 */
export function biggestBlocks(view) {
  const show = () => {
    const blocks = view.blocks();
    const tagged = blocks.some(({ tag }) => tag !== '');
    const sited = blocks.some(({ site }) => site !== '');
    // Sites need room.
    part('biggest').classList.toggle('wide', sited);
    const biggest = blocks.sort((a, b) => b.bytes - a.bytes).slice(0, SHOWN_BLOCKS);
    part('biggest-lead').textContent =
      `${formatAmount(blocks.length, 'block')} live ${view.momentText()}${biggest.length < blocks.length ? `; the biggest ${formatCount(biggest.length)}` : ''}${biggest.length === 0 ? '.' : ':'}`;
    fillTable(
      part('biggest-table'),
      [
        { heading: 'size', numeric: true },
        { heading: 'address', numeric: true },
        { heading: 'age', numeric: true },
        ...(tagged ? [{ heading: 'tag' }] : []),
        ...(sited ? [{ heading: 'site', wide: true }] : []),
      ],
      biggest.map(({ bytes, address, age, tag, site }) => [
        formatBytes(bytes),
        element('code', {}, formatAddress(address)),
        view.ageText(age),
        ...(tagged ? [tag] : []),
        ...(sited ? [site === '' ? NO_SITE.cloneNode(true) : siteCell(site)] : []),
      ]),
    );
  };
  view.changed.on(show);
  show();
}

/**
 * What is never freed, with its tags and sites.
 *
 * @param {ReplayView} view
 */
export function leakSection(view) {
  const { leaks, tags, sites } = view.data;
  const lead = part('leaks-lead');
  if (leaks.blocks === 0) {
    lead.textContent = 'Every block is freed by the end.';
    return;
  }
  const known = leaks.groups.some(({ site }) => site > 0);
  lead.textContent =
    `${formatAmount(leaks.blocks, 'block')}, ${formatBytes(leaks.bytes)}, ${leaks.blocks === 1 ? 'is' : 'are'} never freed` +
    (leaks.omittedGroups > 0
      ? `; of ${formatAmount(leaks.groups.length + leaks.omittedGroups, 'group')} the largest ${formatCount(leaks.groups.length)} are shown.`
      : '.') +
    ' Where a signal ended the program, what was live then need not be a leak.' +
    (known ? '' : ' The trace has no sites: record it with sites to see where they come from.');
  const tagged = leaks.groups.some(({ tag }) => tag > 0);
  fillTable(
    part('leaks-table'),
    [
      { heading: 'bytes', numeric: true },
      { heading: 'blocks', numeric: true },
      { heading: 'first at event', numeric: true },
      ...(tagged ? [{ heading: 'tag' }] : []),
      { heading: 'site', wide: true },
    ],
    leaks.groups.map(({ bytes, blocks, event, tag, site }) => [
      formatBytes(bytes),
      formatCount(blocks),
      formatCount(event),
      ...(tagged ? [tags[tag - 1] ?? ''] : []),
      site === 0 ? NO_SITE.cloneNode(true) : siteCell(sites[site - 1] ?? ''),
    ]),
  );
}

/**
 * How many allocations there are of each size, and how many of them live at the chosen moment.
 *
 * @param {Pick<ReplayView, 'changed' | 'blocks' | 'sizes'>} view
 */
export function sizeSection(view) {
  /** @type {'allocations' | 'bytes'} */
  let measure = 'allocations';
  const show = () => {
    const { sizes } = view;
    const live = sizes.map(() => ({ allocations: 0, bytes: 0 }));
    for (const { bytes } of view.blocks()) {
      const place = sizes.findIndex(({ from, to }) => bytes >= from && bytes < to);
      const row = live[place];
      if (row === undefined) continue;
      row.allocations++;
      row.bytes += bytes;
    }
    const format = measure === 'bytes' ? formatBytes : formatCount;
    const most = Math.max(1, ...sizes.map((size) => size[measure]));
    const mostLive = Math.max(1, ...live.map((row) => row[measure]));
    const bar = (/** @type {number} */ value, /** @type {number} */ of, /** @type {string} */ kind) => {
      const made = element('span', { class: `bar ${kind}`, 'aria-hidden': 'true' });
      made.style.width = value === 0 ? '0' : `max(1px, ${(value / of) * 100}%)`;
      return element('span', { class: 'measure' }, format(value), element('span', { class: 'track' }, made));
    };
    fillTable(
      part('sizes-table'),
      [{ heading: 'size' }, { heading: `all ${measure}`, numeric: true }, { heading: 'live', numeric: true }],
      // A row reaches up to the next one: what has no allocation is left out.
      sizes.flatMap((size, i) =>
        size.allocations === 0
          ? []
          : [
              [
                size.to === 1 ? 'nothing' : `from ${formatBytes(size.from)}`,
                bar(size[measure], most, 'all'),
                bar(live[i]?.[measure] ?? 0, mostLive, 'now'),
              ],
            ],
      ),
    );
  };
  part('sizes-controls').replaceChildren(
    choice(
      'by',
      [
        ['allocations', 'allocations'],
        ['bytes', 'bytes'],
      ],
      (value) => {
        measure = value === 'bytes' ? 'bytes' : 'allocations';
        show();
      },
    ),
  );
  view.changed.on(show);
  show();
}
