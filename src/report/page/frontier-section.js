import { element, explanation, part, swatch } from './dom.js';
import { formatAmount, formatBytes, formatCount, formatTick } from './format.js';
import { GOALS } from './manager-section.js';
import { fillTable } from './tables.js';

/**
 * @import { TuneData, TunePoint } from '../report-data.js'
 * @import { Run } from './view.js'
 */

const SVG = 'http://www.w3.org/2000/svg';
const HEIGHT = 320;
const EDGE = { left: 72, right: 16, top: 24, bottom: 44 };
/** Between labels of the horizontal axis. */
const LABEL_SPACE = 64;
const TICKS = 5;
const MARGIN = 1.03;
const LARGE = 100_000;
const WIDE = 3;
const OTHER_COLOUR = '--map-other';
/** Settings that need more than so many times the least memory would squeeze the others together. */
const SHOWN_TIMES = 2;

/**
 * What a search tried: each setting as a point, the frontier as a line, and a table of both. Settings whose runs are on the page have the
 * colours of these.
 *
 * @param {TuneData} tune
 * @param {readonly Run[]} runs
 */
export function frontierSection(tune, runs) {
  part('frontier').hidden = false;
  const best = tune.points[tune.best];
  const knee = tune.points[tune.knee];
  const byCapacity = tune.goal === 'capacity';
  const memoryOf = (/** @type {TunePoint} */ point) =>
    byCapacity ? (point.leastCapacityBytes ?? Number.NaN) : point.peakReservedBytes;
  const memoryName = byCapacity ? 'least capacity' : 'peak reserved';
  const goals = { reserved: 'the least peak of reserved memory', time: 'the least time', capacity: 'the least capacity' };
  part('frontier-lead').replaceChildren(
    `Of ${formatCount(tune.points.length)} settings, the one with ${goals[tune.goal]}: `,
    element('code', {}, best?.code ?? ''),
    ...(knee === best
      ? ['. It is the knee, too']
      : ['. The knee, with the least product of memory and time: ', element('code', {}, knee?.code ?? '')]),
    explanation('The frontier holds the settings that no other one beats in memory and in time at once.'),
  );
  const colours = new Map(runs.map(({ name, colour }) => [name, colour]));
  const colourOf = (/** @type {TunePoint} */ point) => colours.get(nameOf(point)) ?? OTHER_COLOUR;
  const place = part('frontier-plot');
  const canvas = element('div');
  place.replaceChildren(canvas, legend());
  // Drawn as wide as it is shown: letters keep their size.
  new ResizeObserver(() => {
    if (canvas.clientWidth > 0) canvas.replaceChildren(plot(tune, canvas.clientWidth, { memoryOf, memoryName, colourOf }));
  }).observe(place);
  const sorted = [...tune.points].sort((a, b) => memoryOf(a) - memoryOf(b));
  const columns = [{ heading: 'settings' }, { heading: memoryName, numeric: true }, { heading: 'time an event', numeric: true }];
  const rows = (/** @type {readonly TunePoint[]} */ points) =>
    points.map((point) => {
      const name = element('span', { class: 'name' }, swatch(colourOf(point)), nameOf(point));
      if (point === best) name.append(element('strong', { class: 'badge' }, GOALS[tune.goal]));
      if (point === knee) name.append(element('strong', { class: 'badge' }, 'knee'));
      return [name, formatBytes(memoryOf(point)), `${formatCount(point.nsPerEvent)} ns`];
    });
  const shown = sorted.filter((point) => point.frontier || point === best || point === knee);
  fillTable(part('frontier-table'), columns, rows(shown));
  fillTable(part('others-table'), columns, rows(sorted.filter((point) => !shown.includes(point))));
}

/**
 * The name that the run of a setting has.
 *
 * @param {TunePoint} point
 */
function nameOf({ manager, settings }) {
  return `${manager}, ${settings}`;
}

/**
 * @param {TuneData} tune
 * @param {number} width
 * @param {{ memoryOf: (point: TunePoint) => number, memoryName: string, colourOf: (point: TunePoint) => string }} look
 */
function plot(tune, width, { memoryOf, memoryName, colourOf }) {
  const least = Math.min(...tune.points.map(memoryOf));
  const points = tune.points.filter((point) => memoryOf(point) <= least * SHOWN_TIMES || point.frontier);
  const left = tune.points.length - points.length;
  const scaleX = logScale(points.map(memoryOf), EDGE.left, width - EDGE.right);
  const scaleY = logScale(
    points.map(({ nsPerEvent }) => nsPerEvent),
    HEIGHT - EDGE.bottom,
    EDGE.top,
  );
  const root = drawn('svg', {
    width: String(width),
    height: String(HEIGHT),
    role: 'img',
    class: 'frontier',
    'aria-label': `${memoryName} against time an event of ${points.length} settings; the table below holds the same.`,
  });
  let labelled = Number.NEGATIVE_INFINITY;
  for (const value of scaleX.ticks) {
    const at = scaleX.at(value);
    const x = String(at);
    root.append(drawn('line', { x1: x, x2: x, y1: String(EDGE.top), y2: String(HEIGHT - EDGE.bottom), class: 'grid' }));
    if (at - labelled < LABEL_SPACE) continue;
    labelled = at;
    root.append(label(x, HEIGHT - EDGE.bottom + 18, formatTick(value), 'middle'));
  }
  for (const value of scaleY.ticks) {
    const y = scaleY.at(value);
    root.append(
      drawn('line', { x1: String(EDGE.left), x2: String(width - EDGE.right), y1: String(y), y2: String(y), class: 'grid' }),
    );
    root.append(label(String(EDGE.left - 8), y + 4, `${formatCount(value)} ns`, 'end'));
  }
  const beyond = left === 0 ? '' : `; ${formatAmount(left, 'setting')} further to the right`;
  root.append(
    label(String(width - EDGE.right), HEIGHT - 6, `${memoryName} →${beyond}`, 'end'),
    label('0', EDGE.top - 4, 'time an event ↑', 'start'),
  );
  const frontier = points.filter((point) => point.frontier).sort((a, b) => memoryOf(a) - memoryOf(b));
  const line = frontier.map((point) => `${scaleX.at(memoryOf(point))},${scaleY.at(point.nsPerEvent)}`).join(' ');
  root.append(drawn('polyline', { points: line, class: 'frontier-line' }));
  points.forEach((point) => {
    const wins = point === tune.points[tune.best];
    const dot = drawn('circle', {
      cx: String(scaleX.at(memoryOf(point))),
      cy: String(scaleY.at(point.nsPerEvent)),
      r: wins ? '8' : point.frontier ? '5.5' : '4',
      class: wins ? 'dot best' : point.frontier ? 'dot' : 'dot behind',
    });
    dot.style.fill = `var(${colourOf(point)})`;
    const title = drawn('title', {});
    title.textContent = `${nameOf(point)}: ${formatBytes(memoryOf(point))}, ${formatCount(point.nsPerEvent)} ns an event`;
    dot.append(title);
    root.append(dot);
  });
  return root;
}

/** Says whose the colours are. */
function legend() {
  const entry = (/** @type {Node} */ sign, /** @type {string} */ text) => element('span', { class: 'entry' }, sign, text);
  return element(
    'div',
    { class: 'legend' },
    element('span', {}, 'The colours are those of the curves below.'),
    entry(swatch(OTHER_COLOUR), 'a setting without curves'),
  );
}

/**
 * A logarithmic scale with round ticks: settings differ by factors.
 *
 * @param {readonly number[]} values - above 0
 * @param {number} from - where the least stands
 * @param {number} to
 */
function logScale(values, from, to) {
  const least = Math.min(...values) / MARGIN;
  const most = Math.max(...values) * MARGIN;
  const share = (/** @type {number} */ value) => Math.log(value / least) / Math.log(most / least);
  return { ticks: roundValues(least, most), at: (/** @type {number} */ value) => from + share(value) * (to - from) };
}

/**
 * Some round values of a range: powers of a factor when it is wide, else equal steps.
 *
 * @param {number} least
 * @param {number} most
 */
function roundValues(least, most) {
  const values = [];
  // Large values are bytes.
  const base = most > LARGE ? 2 : 10;
  const factors = base === 2 ? [1] : [1, 2, 5];
  if (most / least > WIDE) {
    for (let power = base ** Math.floor(Math.log(least) / Math.log(base)); power <= most; power *= base) {
      values.push(...factors.map((factor) => factor * power).filter((value) => value >= least && value <= most));
    }
    return values;
  }
  const rough = (most - least) / TICKS;
  const power = base ** Math.floor(Math.log(rough) / Math.log(base));
  const step = power * ((base === 2 ? [1, 2] : [1, 2, 5, 10]).find((factor) => factor * power >= rough) ?? base);
  for (let value = Math.ceil(least / step) * step; value <= most; value += step) values.push(value);
  return values;
}

/**
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string>} attributes
 * @returns {SVGElementTagNameMap[T]}
 */
function drawn(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/**
 * @param {string} x
 * @param {number} y
 * @param {string} text
 * @param {string} anchor
 */
function label(x, y, text, anchor) {
  const made = drawn('text', { x, y: String(y), 'text-anchor': anchor });
  made.textContent = text;
  return made;
}
