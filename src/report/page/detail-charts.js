import { Chart } from './chart.js';
import { part } from './dom.js';
import { formatShare, formatShort } from './format.js';

/**
 * @import { RunData } from '../report-data.js'
 * @import { ReplayView } from './replay-view.js'
 */

/**
 * The smaller charts beside: fragmentation, native calls and hits.
 *
 * @param {ReplayView} view
 */
export function detailCharts(view) {
  const { data, columns, group } = view;
  const rates = Float64Array.from({ length: Math.ceil(data.events / data.rateStride) }, (_, i) =>
    Math.min(data.events, (i + 1) * data.rateStride),
  );
  /** @type {(() => void)[]} */
  const refreshes = [];
  const curves = (/** @type {(run: RunData) => ArrayLike<number>} */ valuesOf) =>
    data.runs.map((run, place) => ({ label: run.name, colour: view.runs[place]?.colour ?? '', values: valuesOf(run) }));
  const add = (
    /** @type {string} */ place,
    /** @type {ArrayLike<number>} */ events,
    /** @type {ReturnType<typeof curves>} */ lines,
    /** @type {Omit<ConstructorParameters<typeof Chart>[3], 'group'>} */ options,
  ) => {
    const x = () => Float64Array.from(events, (event) => view.toX(event));
    const chart = new Chart(part(place), x(), lines, { ...options, group });
    refreshes.push(() =>
      chart.setData(
        x(),
        lines.map(({ values }) => values),
      ),
    );
  };
  // Every run looks at the same events; one that failed at fewer of them.
  const looks = data.runs
    .map((run) => columns.get(run.fragmentationX))
    .reduce((a, b) => (b.length > a.length ? b : a), new Float64Array());
  add(
    'fragmentation-chart',
    looks,
    curves((run) => padded(columns.get(run.fragmentation), looks.length)),
    {
      label: 'Fragmentation over time by manager',
      format: (value) => formatShare(value, 0),
      share: true,
    },
  );
  add(
    'native-chart',
    rates,
    curves((run) => columns.get(run.nativeCalls)),
    {
      label: 'Native calls so far, by manager',
      format: formatShort,
    },
  );
  add(
    'hits-chart',
    rates,
    curves((run) => columns.get(run.hits)),
    {
      label: 'Share of allocations without a native call over time, by manager',
      format: (value) => formatShare(value, 0),
      share: true,
    },
  );
  view.axisChanged.on(() => {
    for (const refresh of refreshes) refresh();
  });
}

/**
 * @param {ArrayLike<number>} values
 * @param {number} length
 */
function padded(values, length) {
  return Float64Array.from({ length }, (_, i) => values[i] ?? Number.NaN);
}
