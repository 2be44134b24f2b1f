import { element } from './dom.js';
import { formatAmount } from './format.js';
import { programLines } from './node-frames.js';

/**
 * Makes a stack readable: its first line, and the others on demand. Node's own frames are counted instead of shown.
 *
 * @param {string} site - a line a frame, the innermost first
 * @param {boolean} [whole] - whether Node's own frames are shown, too
 * @returns {Node}
 */
export function siteCell(site, whole = false) {
  const { lines, omitted } = whole ? { lines: site.split('\n'), omitted: 0 } : programLines(site);
  const [first = '', ...others] = lines;
  if (others.length + omitted === 0) return element('code', { class: 'site' }, first);
  return element(
    'details',
    { class: 'site' },
    element('summary', {}, element('code', {}, first)),
    ...(others.length === 0 ? [] : [element('code', { class: 'site' }, others.join('\n'))]),
    ...(omitted === 0 ? [] : [element('div', { class: 'soft' }, `${formatAmount(omitted, 'frame')} of Node’s own left out`)]),
  );
}
