import { element, part, swatch } from './dom.js';
import { formatBytes, formatCount, formatShare } from './format.js';
import { fillTable } from './tables.js';

/** @import { ReplayView } from './replay-view.js' */

/** What a search was for, in a word. */
export const GOALS = { reserved: 'least memory', time: 'least time', capacity: 'least capacity' };

const MANAGER_COLUMNS = [
  { heading: 'manager' },
  { heading: 'peak reserved', numeric: true, hint: 'The most native memory that the manager held at once.' },
  {
    heading: 'utilisation',
    numeric: true,
    hint: 'Peak of live bytes divided by the peak of reserved bytes: at 100 % not a byte more was reserved than the program needed.',
  },
  { heading: 'native calls', numeric: true, hint: 'Calls to the device or the system for memory and back, pages included.' },
  { heading: 'hit rate', numeric: true, hint: 'The share of allocations that needed no native call.' },
  {
    heading: 'time an event',
    numeric: true,
    hint: 'Wall time of an allocation or a free: the fastest of several replays that took turns, without a watcher.',
  },
  { heading: 'outcome' },
];

/**
 * The table of managers, the best of each respect marked, and what they trade.
 *
 * @param {ReplayView} view
 */
export function managerSection(view) {
  const { data } = view;
  const most = Math.max(...data.runs.map(({ peakReservedBytes }) => peakReservedBytes));
  const rows = data.runs.map((run, place) => {
    const name = element('span', { class: 'name' }, swatch(view.runs[place]?.colour ?? ''), run.name);
    const wins = data.winner?.run === place;
    const badge = (/** @type {string} */ text) => name.append(element('strong', { class: 'badge' }, text));
    if (wins) badge(GOALS[data.tune?.goal ?? 'reserved']);
    if (data.winner?.fastest === place) badge('fastest');
    if (data.winner?.knee === place) badge('knee');
    const bar = element('span', { class: 'bar', 'aria-hidden': 'true' });
    bar.style.width = `${(run.peakReservedBytes / most) * 100}%`;
    bar.style.background = `var(${view.runs[place]?.colour})`;
    const peak = element(
      'span',
      { class: 'measure' },
      formatBytes(run.peakReservedBytes),
      element('span', { class: 'track' }, bar),
    );
    return [
      name,
      peak,
      formatShare(run.utilisation),
      formatCount(run.nativeAllocs + run.nativeFrees),
      formatShare(run.hitRate, 2),
      run.nsPerEvent === null ? '–' : `${formatCount(run.nsPerEvent)} ns`,
      run.failure === null ? 'done' : element('span', { class: 'failure' }, run.failure),
    ];
  });
  const table = part('manager-table');
  fillTable(table, MANAGER_COLUMNS, rows);
  if (data.winner !== null) table.querySelectorAll('tbody tr')[data.winner.run]?.classList.add('winner');
  part('winner').textContent =
    data.winner?.verdict ?? (data.runs.length === 1 ? 'One run, so there is nothing to compare.' : 'No run came to its end.');
}
