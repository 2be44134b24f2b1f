import { AddressMap } from './address-map.js';
import { biggestBlocks, sizeSection } from './block-sections.js';
import { budgetSections } from './budget-section.js';
import { Chart } from './chart.js';
import { element, explanation, lineSample, part, swatch } from './dom.js';
import { FlameSection } from './flame-section.js';
import { formatAmount, formatBytes, formatCount, formatShare, formatShort, formatTick, formatTime } from './format.js';
import { growthSection } from './growth-section.js';
import { LiveView } from './live-view.js';
import { siteCell } from './site-cell.js';
import { fillTable } from './tables.js';

/** @import { LiveHello, LiveLeaks, LiveReading, LiveUpdate } from '../live/live-data.js' */

/** Fills the page from the stream of its own server. @returns what to draw anew in another theme */
export function showLive() {
  const view = new LiveView();
  part('winner').textContent = 'What the managers of the running program hold now.';
  const sample = (/** @type {string} */ name) => element('span', { class: 'entry' }, lineSample(name), name);
  const where = element('p', { class: 'where', id: 'memory-where' });
  part('memory-readout').replaceChildren(
    where,
    element('div', { class: 'legend' }, ...['live', 'reserved', 'cached'].map(sample)),
  );
  connect(view);
  managers(view);
  const map = new AddressMap(view);
  sizeSection(view);
  biggestBlocks(view);
  growthSection(view);
  leaks(view);
  budgetSections(view);
  const flame = flames(view);
  /** @type {Chart[]} */
  const shown = [];
  /** @type {readonly (() => void)[]} */
  let refreshes = [];
  view.managersChanged.on(() => {
    refreshes = charts(view, shown);
  });
  view.changed.on(() => {
    for (const refresh of refreshes) refresh();
    part('map-note').textContent =
      `${view.mapText()} Free memory outside its largest piece: ${formatShare(view.fragmentation, 0)}.`;
  });
  return () => {
    view.group.redraw();
    map.update();
    flame.redraw();
  };
}

/** @param {LiveView} view */
function flames(view) {
  const flame = new FlameSection(
    { live: 'live now', peak: 'live at the peak', allocated: 'allocated so far' },
    'No flame graph: no allocation site is known. Serve with `stowage serve --sites -- node app.js`, or `serveDashboard(host, { sites: true })`.',
  );
  /** @type {typeof view.stacks | undefined} */
  let shown;
  view.changed.on(() => {
    if (view.stacks === shown || view.samples.length === 0) return;
    shown = view.stacks;
    flame.show(shown);
  });
  return flame;
}

/** @param {LiveView} view */
function connect(view) {
  const state = part('connection');
  state.hidden = false;
  const show = (/** @type {boolean} */ on, /** @type {string} */ text) => {
    state.dataset['on'] = String(on);
    if (state.textContent !== text) state.textContent = text;
  };
  show(false, 'connecting');
  // The browser connects again by itself.
  const source = new EventSource('events');
  source.addEventListener('error', () =>
    show(false, 'not connected: the program has ended, or does not answer; this is its last state'),
  );
  source.addEventListener('hello', ({ data }) => {
    const hello = /** @type {LiveHello} */ (JSON.parse(data));
    const { ended } = hello;
    show(ended === undefined, ended ?? 'live');
    view.begin(hello);
    // Nothing comes any more.
    if (ended !== undefined) source.close();
  });
  source.addEventListener('update', ({ data }) => view.add(/** @type {LiveUpdate} */ (JSON.parse(data))));
}

/** @param {LiveView} view A column for each manager: there are more statistics than managers. */
function managers(view) {
  const table = part('manager-table');
  table.classList.add('compact');
  table.removeAttribute('data-cards');
  table.closest('.scroll')?.classList.add('matrix');
  view.changed.on(() => {
    const columns = view.runs.map(({ name, colour }) => ({
      heading: element('span', { class: 'name' }, swatch(colour), name),
      numeric: true,
    }));
    /** @type {(heading: string, hint: string, show: (reading: LiveReading) => string) => (string | Node)[]} */
    const row = (heading, hint, show) => [
      element('span', { class: 'name' }, heading, explanation(hint)),
      ...view.runs.map((_, place) => {
        const reading = view.now[place];
        return reading === undefined ? '–' : show(reading);
      }),
    ];
    const states = view.runs.map(
      (_, place) => ({ true: 'serves', false: 'drains' })[String(view.now[place]?.active)] ?? 'stopped',
    );
    const hitRate = hitRateOf(view);
    fillTable(
      part('manager-table'),
      [{ heading: 'manager' }, ...columns],
      [
        ['state', ...states],
        ...view.statistics.map(({ name, unit, help }, i) =>
          row(name.replaceAll('_', ' '), help, ({ values }) =>
            (unit === 'bytes' ? formatBytes : formatCount)(values[i] ?? Number.NaN),
          ),
        ),
        row('hit rate', 'The share of allocations that needed no native call.', (reading) => formatShare(hitRate(reading), 2)),
      ],
    );
  });
}

/**
 * @param {LiveView} view
 * @returns {(reading: LiveReading) => number} NaN before the first allocation
 */
function hitRateOf(view) {
  const hits = view.reader('hits');
  const allocations = view.reader('allocations');
  return (reading) => hits(reading) / allocations(reading);
}

/**
 * Makes the charts anew for the managers that there are.
 *
 * @param {LiveView} view
 * @param {Chart[]} shown - those that were made before; they are taken away
 * @returns {readonly (() => void)[]} what shows the new samples
 */
function charts(view, shown) {
  for (const chart of shown.splice(0)) view.group.remove(chart);
  /** @type {readonly (readonly [string, string, boolean, (reading: LiveReading) => number])[]} */
  const quantities = [
    ['live', '--live', true, view.reader('requested')],
    ['reserved', '', false, view.reader('reserved')],
    ['cached', '', false, view.reader('cached')],
  ];
  const lines = quantities.flatMap(([name, colour, filled, read]) =>
    view.runs.map((run, place) => ({
      label: `${run.name}, ${name}`,
      colour: colour === '' ? run.colour : colour,
      filled,
      dotted: name === 'cached',
      read: () => view.curve(place, read),
    })),
  );
  const add = (
    /** @type {string} */ id,
    /** @type {readonly { label: string, colour: string, filled?: boolean, dotted?: boolean, read: () => Float64Array }[]} */ curves,
    /** @type {Omit<ConstructorParameters<typeof Chart>[3], 'group'>} */ options,
  ) => {
    const chart = new Chart(
      part(id),
      view.seconds(),
      curves.map((curve) => ({ ...curve, values: curve.read() })),
      { ...options, group: view.group },
    );
    shown.push(chart);
    return () =>
      chart.setData(
        view.seconds(),
        curves.map((curve) => curve.read()),
      );
  };
  const byRun = (/** @type {(place: number) => Float64Array} */ read) =>
    view.runs.map(({ name, colour }, place) => ({ label: name, colour, read: () => read(place) }));
  const readout = memoryReadout(view);
  readout(null);
  const nativeAllocs = view.reader('native_allocs');
  const nativeFrees = view.reader('native_frees');
  return [
    add('memory-chart', lines, {
      label: 'Live, reserved and cached bytes over the last minutes',
      format: formatTick,
      bytes: true,
      onHover: readout,
    }),
    add(
      'native-chart',
      byRun((place) => view.curve(place, (reading) => nativeAllocs(reading) + nativeFrees(reading))),
      {
        label: 'Native calls so far',
        format: formatShort,
      },
    ),
    add(
      'hits-chart',
      byRun((place) => view.curve(place, hitRateOf(view))),
      {
        label: 'Share of allocations so far without a native call',
        format: (value) => formatShare(value, 0),
        share: true,
      },
    ),
  ];
}

/**
 * Tells what managers held where the cursor is in the chart.
 *
 * @param {LiveView} view
 */
function memoryReadout(view) {
  const [live, reserved, cached] = [view.reader('requested'), view.reader('reserved'), view.reader('cached')];
  return (/** @type {number | null} */ at) => {
    const sample = at === null ? undefined : view.samples[at];
    const parts = view.managers.flatMap(({ id }, run) => {
      const reading = sample?.managers[id];
      if (reading === undefined) return [];
      const bytes = `${formatBytes(live(reading))} live, ${formatBytes(reserved(reading))} reserved, ${formatBytes(cached(reading))} cached`;
      return [view.runs.length === 1 ? bytes : `${view.runs[run]?.name}: ${bytes}`];
    });
    part('memory-where').textContent =
      sample === undefined
        ? 'Point into the chart, or press the arrow keys in it, to read what was held at a time.'
        : `At ${formatTime(sample.ms)}: ${parts.join('; ')}`;
  };
}

/** @param {LiveView} view */
function leaks(view) {
  let shown = -1;
  view.changed.on(() => {
    const { blocks, bytes, newest } = view.leaks;
    if (blocks === shown) return;
    shown = blocks;
    part('leaks-lead').textContent =
      blocks === 0
        ? 'No handle was dropped without being disposed so far.'
        : `${formatAmount(blocks, 'handle')}, ${formatBytes(bytes)}, ${blocks === 1 ? 'was' : 'were'} dropped without being disposed${newest.length < blocks ? `; the newest ${formatCount(newest.length)}` : ''}:`;
    fillTable(
      part('leaks-table'),
      blocks === 0
        ? []
        : [
            { heading: 'bytes', numeric: true },
            { heading: 'handles', numeric: true },
            { heading: 'last at', numeric: true },
            { heading: 'site', wide: true },
          ],
      grouped(newest).map(({ bytes, handles, ms, site }) => [
        formatBytes(bytes),
        formatCount(handles),
        formatTime(ms),
        site === '' ? element('span', { class: 'soft' }, 'not recorded') : siteCell(site),
      ]),
    );
  });
}

/**
 * Puts the leaks of a site together, the newest first.
 *
 * @param {LiveLeaks['newest']} leaks - the newest last
 */
function grouped(leaks) {
  /** @type {Map<string, { bytes: number, handles: number, ms: number, site: string }>} */
  const groups = new Map();
  for (const { bytes, site, ms } of [...leaks].reverse()) {
    const group = groups.get(site) ?? { bytes: 0, handles: 0, ms, site };
    group.bytes += bytes;
    group.handles++;
    groups.set(site, group);
  }
  return [...groups.values()];
}
