import { Chart } from './chart.js';
import { axisChoice, zoomButtons } from './chart-controls.js';
import { element, lineSample, part, settingText, swatch, toggle } from './dom.js';
import { formatAmount, formatBytes, formatCount, formatShare, formatTick, formatTime } from './format.js';
import { fillTable } from './tables.js';

/**
 * @import { WhatIfFailure, WhatIfPageData, WhatIfRunData } from '../report-data.js'
 * @import { WhatIfCurves, WhatIfView } from './whatif-view.js'
 */

/** More curves at once cannot be told apart. */
const SHOWN_CURVES = 8;
/** With more runs than these, allocated bytes are left out until they are asked for. */
const FEW_CURVES = 3;
const ROWS = 24;

const RESULT_COLUMNS = [
  { heading: 'setting' },
  { heading: 'limit', numeric: true },
  { heading: 'outcome' },
  {
    heading: 'peak reserved',
    numeric: true,
    hint: 'The most memory that the allocator held at once: what the card has to have.',
  },
  {
    heading: 'peak allocated',
    numeric: true,
    hint: 'The most memory that was in use at once, rounded as the allocator rounds it.',
  },
  {
    heading: 'fragmented',
    numeric: true,
    hint: 'The share of reserved memory that was not in use when the most was allocated.',
  },
  { heading: 'retries', numeric: true, hint: 'How often all cached memory was given back to serve a request.' },
  { heading: 'OOMs', numeric: true, hint: 'Requests that could not be served.' },
  {
    heading: 'native calls',
    numeric: true,
    hint: 'Calls to the driver for memory + calls that gave memory back: each may make the program wait for the card.',
  },
  { heading: 'least limit', numeric: true, hint: 'The smallest limit that was seen to fit, found by bisection.' },
];

/**
 * All of a page that compares settings: results, curves, failures.
 *
 * @param {WhatIfView} view
 */
export function whatIfSections(view) {
  results(view);
  curves(view);
  failures(view);
}

/** @param {WhatIfView} view */
function results(view) {
  const { runs } = view.data;
  part('managers-heading').textContent = 'Results';
  const most = Math.max(1, ...runs.map(({ peakReservedBytes }) => peakReservedBytes));
  const rows = view.runs.map(({ data, colour }) => {
    const bar = element('span', { class: 'bar', 'aria-hidden': 'true' });
    bar.style.width = `${(data.peakReservedBytes / most) * 100}%`;
    bar.style.background = `var(${colour})`;
    const track = element('span', { class: 'track' }, bar);
    return [
      element('span', { class: 'name' }, swatch(colour), settingText(data.setting)),
      data.limitBytes === null ? 'none' : data.limit,
      data.fits ? element('strong', { class: 'badge' }, 'fits') : failureLink(view, data),
      element('span', { class: 'measure' }, formatBytes(data.peakReservedBytes), track),
      formatBytes(data.peakAllocatedBytes),
      formatShare(data.fragmentation),
      formatCount(data.retries),
      formatCount(data.ooms),
      `${formatCount(data.nativeAllocs)} + ${formatCount(data.nativeFrees)}`,
      data.leastLimitBytes === null ? '–' : formatBytes(data.leastLimitBytes),
    ];
  });
  part('manager-table').classList.add('results');
  part('manager-table').dataset['cards'] = '1000';
  fillTable(part('manager-table'), RESULT_COLUMNS, rows);
  part('winner').replaceChildren(...verdict(view.data));
  part('notes').replaceChildren(...view.data.notes.map((note) => element('li', {}, note)));
}

/**
 * How many fit, and what those trade.
 *
 * @param {WhatIfPageData} data
 */
function verdict({ runs, verdict: trade }) {
  const fitting = runs.filter(({ fits }) => fits);
  const [only] = fitting;
  if (runs.length === 1) return [only === undefined ? 'It does not fit.' : 'It fits.'];
  const count =
    fitting.length === runs.length ? 'All of these fit.' : `${formatCount(fitting.length)} of ${formatCount(runs.length)} fit`;
  if (fitting.length === runs.length) return [`${count} `, settingText(trade ?? '')];
  if (fitting.length === 1 && only !== undefined) return [`${count}: `, element('strong', {}, settingText(only.label)), '.'];
  return trade === null ? [`${count}.`] : [`${count}. `, settingText(trade)];
}

/**
 * @param {WhatIfView} view
 * @param {WhatIfRunData} run
 */
function failureLink(view, run) {
  const { failure } = run;
  if (failure === null) return element('span', { class: 'failure' }, 'does not fit');
  return showButton(view, failure, `fails at event ${formatCount(failure.event)}`);
}

/**
 * A button that chooses the moment of a failure.
 *
 * @param {WhatIfView} view
 * @param {WhatIfFailure} failure
 * @param {string} text
 */
function showButton(view, failure, text) {
  const button = element('button', { type: 'button', class: 'failure', title: 'Show the moment in the chart' }, text);
  button.addEventListener('click', () => {
    view.choose(view.pointOf(failure.event));
    part('memory').scrollIntoView({ block: 'start' });
  });
  return button;
}

/** @param {WhatIfView} view */
function failures(view) {
  const failed = view.data.runs.filter(({ failure }) => failure !== null);
  part('failures').hidden = failed.length === 0;
  part('failures-lead').textContent =
    'The requests that could not be served, each with the program that made it where the file tells.';
  part('failure-list').replaceChildren(
    ...failed.map((run) => failureCard(view, run, /** @type {WhatIfFailure} */ (run.failure))),
  );
}

/**
 * @param {WhatIfView} view
 * @param {WhatIfRunData} run
 * @param {WhatIfFailure} failure
 */
function failureCard(view, run, failure) {
  const limit = run.limitBytes === null ? '' : ` under a limit of ${run.limit}`;
  const time = run.failedAtMs === null ? '' : `, ${formatTime(run.failedAtMs)}`;
  const step = failure.step === null ? [] : [', in ', element('strong', {}, failure.step)];
  return element(
    'article',
    {},
    element('h3', { class: 'name' }, swatch(colourOf(view, run)), settingText(run.label)),
    element(
      'p',
      {},
      `${formatBytes(failure.requestedBytes)} could not be served${limit}: event ${formatCount(failure.event)} of `,
      `${formatCount(view.data.events)}${time}`,
      ...step,
      '. ',
      showButton(view, failure, 'In the chart'),
    ),
    failure.frames.length === 0
      ? element('p', { class: 'note' }, 'The file has no frames for this request.')
      : element('ol', { class: 'frames' }, ...failure.frames.map(frameItem)),
  );
}

/** @param {WhatIfFailure['frames'][number]} frame */
function frameItem({ name, filename, line }) {
  return element('li', {}, element('code', {}, name === '' ? `${filename}:${line}` : `${name} (${filename}:${line})`));
}

/**
 * @param {WhatIfView} view
 * @param {WhatIfRunData} run
 */
function colourOf(view, run) {
  return view.runs.find(({ data }) => data === run)?.colour ?? '';
}

/** @param {WhatIfView} view */
function curves(view) {
  const { runs, group, data } = view;
  const shown = { reserved: true, allocated: runs.length <= FEW_CURVES };
  const runShown = runs.map((_, place) => place < SHOWN_CURVES);
  /** @type {number | null} */
  let hovered = null;
  const limits = new Map(data.runs.map(({ limitBytes, limit }) => [limitBytes, limit]));
  const chart = new Chart(
    part('memory-chart'),
    view.x(),
    [
      ...runs.map(({ data: run, colour, reserved }, place) => ({
        label: `${run.label}, reserved`,
        colour,
        values: reserved,
        hidden: runShown[place] === false,
      })),
      ...runs.map(({ data: run, colour, allocated }, place) => ({
        label: `${run.label}, allocated`,
        colour,
        values: allocated,
        dotted: true,
        hidden: runShown[place] === false || !shown.allocated,
      })),
    ],
    {
      label: `Memory over time under ${formatAmount(runs.length, 'setting')}: reserved and allocated bytes`,
      format: formatTick,
      bytes: true,
      group,
      levels: () => [...limits].flatMap(([y, limit]) => (y === null ? [] : [{ y, text: `limit ${limit}` }])),
      marks: () =>
        runs.flatMap((run, place) => (run.data.failure === null || runShown[place] === false ? [] : [markOf(view, run)])),
      onHover: (index) => {
        hovered = index;
        readout();
      },
    },
  );
  const apply = () => {
    runShown.forEach((on, place) => {
      chart.showCurve(place, on && shown.reserved);
      chart.showCurve(runs.length + place, on && shown.allocated);
    });
    readout();
  };
  const quantity = (/** @type {keyof typeof shown} */ name, /** @type {string} */ hint, /** @type {string} */ sample) => {
    const change = (/** @type {boolean} */ on) => {
      shown[name] = on;
      apply();
    };
    const button = toggle(name, shown[name], change, lineSample(sample));
    button.title = hint;
    return button;
  };
  part('memory-controls').replaceChildren(
    quantity('reserved', 'Memory that the allocator holds', 'reserved'),
    quantity('allocated', 'Memory that is in use', 'cached'),
    element('span', { class: 'gap' }),
    ...zoomButtons(group),
    ...(view.hasClock ? [axisChoice((byTime) => view.useTime(byTime))] : []),
  );

  const where = element('p', { class: 'where' });
  const readings = element('div', { class: 'readings' });
  const cells = runs.map(({ data: run, colour }, place) => {
    const values = element('span', { class: 'values' });
    const change = (/** @type {boolean} */ on) => {
      runShown[place] = on;
      apply();
    };
    const button = toggle(settingText(run.label), runShown[place] === true, change, swatch(colour));
    button.title = 'Show or hide this setting';
    readings.append(element('div', { class: 'reading' }, button, values));
    return values;
  });
  part('memory-readout').replaceChildren(where, readings);

  function readout() {
    const at = hovered ?? view.moment;
    where.textContent = `${hovered === null ? 'Chosen moment' : 'Pointer'}, ${view.textOf(at)}`;
    runs.forEach(({ data: run, reserved, allocated }, place) => {
      const held = reserved[at] ?? Number.NaN;
      const equal = chart.equalTo(place);
      const same = equal === null ? '' : `; the same curve as ${runs[equal]?.data.label}`;
      const text = `${formatBytes(held)} reserved, ${formatBytes(allocated[at] ?? Number.NaN)} allocated${endOf(view, run, at)}${same}`;
      /** @type {HTMLElement} */ (cells[place]).textContent =
        run.reserved.length === 0 ? 'no curve' : Number.isNaN(held) ? 'stopped' : text;
    });
  }

  function table() {
    const last = view.events.length - 1;
    const places = [...new Set(Array.from({ length: ROWS + 1 }, (_, row) => Math.round((last * row) / ROWS)))];
    const columns = runs.map(({ data: run }) => ({ heading: `${run.label} reserved`, numeric: true }));
    const rows = places.map((at) => [
      formatCount(view.events[at] ?? 0),
      ...runs.map(({ data: run, reserved }) => `${formatBytes(reserved[at] ?? Number.NaN)}${endOf(view, run, at)}`),
    ]);
    fillTable(part('memory-table'), [{ heading: 'event', numeric: true }, ...columns], rows);
  }

  part('memory-as-table').addEventListener('toggle', table, { once: true });
  view.changed.on(() => {
    readout();
    group.redraw();
  });
  view.axisChanged.on(() => {
    chart.setData(view.x(), [...runs.map(({ reserved }) => reserved), ...runs.map(({ allocated }) => allocated)]);
    readout();
  });
  readout();
}

/**
 * What is said beside the figures of a point that a run failed in: they are of the time before.
 *
 * @param {WhatIfView} view
 * @param {WhatIfRunData} run
 * @param {number} point
 */
function endOf(view, { failure }, point) {
  return failure !== null && view.pointOf(failure.event) === point
    ? `, up to its failure at event ${formatCount(failure.event)}`
    : '';
}

/**
 * @param {WhatIfView} view
 * @param {WhatIfCurves} run
 */
function markOf(view, { data: run, colour, reserved }) {
  const point = view.pointOf(run.failure?.event ?? 0);
  const held = reserved[point] ?? Number.NaN;
  const y = Number.isNaN(held) ? (reserved[point - 1] ?? 0) : held;
  return { x: view.failureX(run), y, colour, text: `${formatTick(run.failure?.requestedBytes ?? 0)} refused` };
}
