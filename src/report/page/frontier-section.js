import { element, explanation, fillTable, part, swatch } from './dom.js';
import { formatBytes, formatCount, formatTick } from './format.js';
import { managerColour } from './theme.js';

/** @import { TuneData, TunePoint } from '../report-data.js' */

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 900;
const HEIGHT = 320;
const EDGE = { left: 84, right: 24, top: 16, bottom: 44 };
const TICKS = 5;

/**
 * What a search tried: each setting as a point, the frontier as a line, and a table of both.
 *
 * @param {TuneData} tune
 */
export function frontierSection(tune) {
  part('frontier').hidden = false;
  const best = tune.points[tune.best];
  const byCapacity = tune.goal === 'capacity';
  const memoryOf = (/** @type {TunePoint} */ point) =>
    byCapacity ? (point.leastCapacityBytes ?? Number.NaN) : point.peakReservedBytes;
  const memoryName = byCapacity ? 'least capacity' : 'peak reserved';
  const goals = { reserved: 'the least peak of reserved memory', time: 'the least time', capacity: 'the least capacity' };
  part('frontier-lead').replaceChildren(
    `Of ${formatCount(tune.points.length)} settings, the one with ${goals[tune.goal]}: `,
    element('code', {}, best?.code ?? ''),
    explanation('The frontier holds the settings that no other one beats in memory and in time at once.'),
  );
  const managers = [...new Set(tune.points.map(({ manager }) => manager))];
  const colourOf = (/** @type {TunePoint} */ point) => managerColour(managers.indexOf(point.manager));
  part('frontier-plot').replaceChildren(plot(tune, memoryOf, memoryName, colourOf), legend(managers));
  const order = [...tune.points].sort((a, b) => Number(b.frontier) - Number(a.frontier) || memoryOf(a) - memoryOf(b));
  fillTable(
    part('frontier-table'),
    [
      { heading: 'settings' },
      { heading: memoryName, numeric: true },
      { heading: 'time an event', numeric: true },
      { heading: 'frontier' },
    ],
    order.map((point) => {
      const name = element('span', { class: 'name' }, swatch(colourOf(point)), element('code', {}, point.code));
      if (point === best) name.append(element('strong', { class: 'badge' }, 'winner'));
      return [name, formatBytes(memoryOf(point)), `${formatCount(point.nsPerEvent)} ns`, point.frontier ? 'yes' : ''];
    }),
  );
}

/**
 * @param {TuneData} tune
 * @param {(point: TunePoint) => number} memoryOf
 * @param {string} memoryName
 * @param {(point: TunePoint) => string} colourOf
 */
function plot(tune, memoryOf, memoryName, colourOf) {
  const points = tune.points.filter((point) => Number.isFinite(memoryOf(point)));
  const scaleX = scaleOver(points.map(memoryOf), EDGE.left, WIDTH - EDGE.right);
  const scaleY = scaleOver(
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
  root.append(label(String(WIDTH - EDGE.right), HEIGHT - 6, `${memoryName} →`, 'end'));
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
    title.textContent = `${point.code}: ${formatBytes(memoryOf(point))}, ${formatCount(point.nsPerEvent)} ns an event`;
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
 * A linear scale with round ticks.
 *
 * @param {readonly number[]} values
 * @param {number} from - where the least stands
 * @param {number} to
 */
function scaleOver(values, from, to) {
  const least = Math.min(...values);
  const most = Math.max(...values);
  const margin = (most - least || most || 1) * 0.08;
  const low = Math.max(0, least - margin);
  const high = most + margin;
  const step = roundStep((high - low) / TICKS);
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) ticks.push(value);
  return { ticks, at: (/** @type {number} */ value) => from + ((value - low) / (high - low)) * (to - from) };
}

/** @param {number} rough */
function roundStep(rough) {
  const power = 2 ** Math.floor(Math.log2(rough));
  const decimal = 10 ** Math.floor(Math.log10(rough));
  // Large values are bytes.
  if (rough > 100_000) return rough / power > 1.5 ? power * 2 : power;
  return ([1, 2, 5, 10].find((factor) => factor * decimal >= rough) ?? 10) * decimal;
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
