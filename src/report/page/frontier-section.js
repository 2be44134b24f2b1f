import { element, explanation, fillTable, part, swatch } from './dom.js';
import { formatBytes, formatCount, formatTick } from './format.js';
import { GOALS } from './manager-section.js';
import { managerColour } from './theme.js';

/** @import { TuneData, TunePoint } from '../report-data.js' */

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 900;
const HEIGHT = 320;
const EDGE = { left: 84, right: 24, top: 16, bottom: 44 };
const TICKS = 5;
const MARGIN = 1.03;
const LARGE = 100_000;
const WIDE = 3;
/** Settings that need more than so many times the least memory would squeeze the others together. */
const SHOWN_TIMES = 2;

/**
 * What a search tried: each setting as a point, the frontier as a line, and a table of both.
 *
 * @param {TuneData} tune
 */
export function frontierSection(tune) {
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
  const managers = [...new Set(tune.points.map(({ manager }) => manager))];
  const colourOf = (/** @type {TunePoint} */ point) => managerColour(managers.indexOf(point.manager));
  part('frontier-plot').replaceChildren(plot(tune, memoryOf, memoryName, colourOf), legend(managers));
  const sorted = [...tune.points].sort((a, b) => memoryOf(a) - memoryOf(b));
  const columns = [{ heading: 'settings' }, { heading: memoryName, numeric: true }, { heading: 'time an event', numeric: true }];
  const rows = (/** @type {readonly TunePoint[]} */ points) =>
    points.map((point) => {
      const name = element('span', { class: 'name' }, swatch(colourOf(point)), `${point.manager}, ${point.settings}`);
      if (point === best) name.append(element('strong', { class: 'badge' }, GOALS[tune.goal]));
      if (point === knee) name.append(element('strong', { class: 'badge' }, 'knee'));
      return [name, formatBytes(memoryOf(point)), `${formatCount(point.nsPerEvent)} ns`];
    });
  const shown = sorted.filter((point) => point.frontier || point === best || point === knee);
  fillTable(part('frontier-table'), columns, rows(shown));
  fillTable(part('others-table'), columns, rows(sorted.filter((point) => !shown.includes(point))));
}

/**
 * @param {TuneData} tune
 * @param {(point: TunePoint) => number} memoryOf
 * @param {string} memoryName
 * @param {(point: TunePoint) => string} colourOf
 */
function plot(tune, memoryOf, memoryName, colourOf) {
  const least = Math.min(...tune.points.map(memoryOf));
  const points = tune.points.filter((point) => memoryOf(point) <= least * SHOWN_TIMES || point.frontier);
  const left = tune.points.length - points.length;
  const scaleX = logScale(points.map(memoryOf), EDGE.left, WIDTH - EDGE.right);
  const scaleY = logScale(
    points.map(({ nsPerEvent }) => nsPerEvent),
    HEIGHT - EDGE.bottom,
    EDGE.top,
  );
  const root = drawn('svg', {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    role: 'img',
    class: 'frontier',
    'aria-label': `${memoryName} against time an event of ${points.length} settings; the table below holds the same.`,
  });
  for (const value of scaleX.ticks) {
    const x = String(scaleX.at(value));
    root.append(drawn('line', { x1: x, x2: x, y1: String(EDGE.top), y2: String(HEIGHT - EDGE.bottom), class: 'grid' }));
    root.append(label(x, HEIGHT - EDGE.bottom + 18, formatTick(value), 'middle'));
  }
  for (const value of scaleY.ticks) {
    const y = scaleY.at(value);
    root.append(
      drawn('line', { x1: String(EDGE.left), x2: String(WIDTH - EDGE.right), y1: String(y), y2: String(y), class: 'grid' }),
    );
    root.append(label(String(EDGE.left - 8), y + 4, `${formatCount(value)} ns`, 'end'));
  }
  const beyond = left === 0 ? '' : `; ${left} settings lie further to the right`;
  root.append(label(String(WIDTH - EDGE.right), HEIGHT - 6, `${memoryName} →${beyond}`, 'end'));
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
    title.textContent = `${point.manager}, ${point.settings}: ${formatBytes(memoryOf(point))}, ${formatCount(point.nsPerEvent)} ns an event`;
    dot.append(title);
    root.append(dot);
  });
  return root;
}

/** @param {readonly string[]} managers */
function legend(managers) {
  const entries = managers.map((name, place) => element('span', { class: 'entry' }, swatch(managerColour(place)), name));
  return element('div', { class: 'legend' }, ...entries);
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
