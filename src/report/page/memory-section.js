import { Chart } from './chart.js';
import { axisChoice, zoomButtons } from './chart-controls.js';
import { element, lineSample, part, swatch, toggle } from './dom.js';
import { formatAmount, formatBytes, formatCount, formatTick, formatTime } from './format.js';
import { fillTable } from './tables.js';

/** @import { ReplayView } from './replay-view.js' */

const TABLE_ROWS = 24;
const MANY_RUNS = 3;

/**
 * The main chart: what the program holds, and what each manager reserved and cached for it; with the values at the
 * pointer or at the chosen moment, and a table of the same.
 *
 * @param {ReplayView} view
 */
export function memorySection(view) {
  const { data, columns, group } = view;
  const events = columns.get(data.curveX);
  const live = columns.get(data.live);
  const reserved = data.runs.map((run) => columns.get(run.reserved));
  const cached = data.runs.map((run) => columns.get(run.cached));
  const shown = { live: true, reserved: true, cached: data.runs.length <= MANY_RUNS };
  const runShown = data.runs.map(() => true);
  /** @type {number | null} */
  let hovered = null;

  const x = () => Float64Array.from(events, (event) => view.toX(event));
  const chart = new Chart(
    part('memory-chart'),
    x(),
    [
      { label: 'live', colour: '--live', values: live, filled: true },
      ...view.runs.map(({ name, colour }, run) => ({ label: `${name}, reserved`, colour, values: reserved[run] ?? [] })),
      ...view.runs.map(({ name, colour }, run) => ({
        label: `${name}, cached`,
        colour,
        values: cached[run] ?? [],
        dotted: true,
        hidden: !shown.cached,
      })),
    ],
    {
      label: `Memory over time of ${formatAmount(data.runs.length, 'manager')}: live, reserved and cached bytes`,
      format: formatTick,
      bytes: true,
      group,
      onHover: (index) => {
        hovered = index;
        readout();
      },
    },
  );

  const apply = () => {
    chart.showCurve(0, shown.live);
    runShown.forEach((on, run) => {
      chart.showCurve(1 + run, on && shown.reserved);
      chart.showCurve(1 + data.runs.length + run, on && shown.cached);
    });
    readout();
  };
  const quantity = (/** @type {keyof typeof shown} */ name, /** @type {string} */ hint) => {
    const button = toggle(
      name,
      shown[name],
      (on) => {
        shown[name] = on;
        apply();
      },
      lineSample(name),
    );
    button.title = hint;
    return button;
  };
  const controls = [
    quantity('live', 'Bytes that the program holds'),
    quantity('reserved', 'Bytes of native memory that the manager holds'),
    quantity('cached', 'Reserved bytes that no block takes up: kept for later requests'),
    element('span', { class: 'gap' }),
    ...zoomButtons(group),
  ];
  if (view.hasClock) controls.push(axisChoice((byTime) => view.useTime(byTime)));
  part('memory-controls').replaceChildren(...controls);

  const where = element('p', { class: 'where' });
  const readings = element('div', { class: 'readings' });
  part('memory-readout').replaceChildren(where, readings);
  const cells = view.runs.map(({ name, colour }, run) => {
    const values = element('span', { class: 'values' });
    const button = toggle(
      name,
      true,
      (on) => {
        runShown[run] = on;
        apply();
      },
      swatch(colour),
    );
    button.title = 'Show or hide this manager';
    readings.append(element('div', { class: 'reading' }, button, values));
    return values;
  });

  const tell = (/** @type {string} */ subject, /** @type {number} */ event, /** @type {number} */ liveBytes) => {
    const time = view.hasClock ? `, ${formatTime(view.timeOf(event))}` : '';
    where.textContent = `${subject}, event ${formatCount(event)}${time}: ${formatBytes(liveBytes)} live`;
  };
  const tellRun = (/** @type {number} */ run, /** @type {number} */ held, /** @type {number} */ kept) => {
    const cell = cells[run];
    if (cell === undefined) return;
    const equal = chart.equalTo(1 + run);
    const same = equal === null ? '' : `; the same curve as ${view.runs[equal - 1]?.name}`;
    cell.textContent = Number.isNaN(held) ? 'stopped' : `${formatBytes(held)} reserved, ${formatBytes(kept)} cached${same}`;
  };
  function readout() {
    if (hovered === null) {
      tell('Chosen moment', view.moment, view.totals(view.run).live);
      for (let run = 0; run < cells.length; run++) {
        const { reserved: held, cached: kept } = view.totals(run);
        tellRun(run, held, kept);
      }
      return;
    }
    const at = hovered;
    tell('Pointer', Math.round(events[at] ?? 0), live[at] ?? 0);
    for (let run = 0; run < cells.length; run++) tellRun(run, reserved[run]?.[at] ?? Number.NaN, cached[run]?.[at] ?? Number.NaN);
  }

  function table() {
    const rows = [];
    for (let row = 0; row <= TABLE_ROWS; row++) {
      const at = Math.round(((events.length - 1) * row) / TABLE_ROWS);
      const bytes = reserved.map((values) => formatBytes(values[at] ?? Number.NaN));
      rows.push([formatCount(events[at] ?? 0), formatBytes(live[at] ?? 0), ...bytes]);
    }
    const headings = [
      { heading: 'event', numeric: true },
      { heading: 'live', numeric: true },
    ];
    fillTable(
      part('memory-table'),
      [...headings, ...view.runs.map(({ name }) => ({ heading: `${name} reserved`, numeric: true }))],
      rows,
    );
  }

  part('memory-as-table').addEventListener('toggle', table, { once: true });
  view.changed.on(() => {
    readout();
    group.redraw();
  });
  view.axisChanged.on(() => {
    chart.setData(x(), [live, ...reserved, ...cached]);
    readout();
  });
  readout();
}
