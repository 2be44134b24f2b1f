import { drawHappenings, drawLevels, drawMarks, FONT } from './chart-drawing.js';
import { curveLayers, dashesOf } from './curve-layers.js';
import { element } from './dom.js';
import { colour } from './theme.js';

/**
 * @import uPlotTypes from 'uplot'
 * @import { Happening, Level, Mark } from './chart-drawing.js'
 * @import { ChartGroup } from './chart-group.js'
 * @import { CurveLayer } from './curve-layers.js'
 */

/**
 * @typedef {object} Curve
 * @property {string} label
 * @property {string} colour - the name of its colour in the style sheet
 * @property {ArrayLike<number>} values
 * @property {boolean} [dotted]
 * @property {boolean} [filled]
 * @property {boolean} [stacked] - filled in its colour down to the stacked curve before it
 * @property {boolean} [hidden]
 *
 * @typedef {object} ChartOptions
 * @property {string} label - what the chart shows, for screen readers
 * @property {(value: number) => string} format
 * @property {boolean} [bytes] - ticks are powers of two
 * @property {boolean} [share] - the scale goes from 0 to 1
 * @property {(index: number | null) => void} [onHover]
 * @property {() => readonly Level[]} [levels] - of those far above all curves the name alone is drawn
 * @property {() => readonly Mark[]} [marks]
 * @property {() => readonly Happening[]} [happenings]
 * @property {ChartGroup} group
 */

const uPlot = /** @type {typeof uPlotTypes} */ (Reflect.get(globalThis, 'uPlot'));
const BYTE_STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power);
const ZOOM_STEP = 0.6;
const FAR_STEPS = 10;
/** How many steps of the cursor a chart is wide. */
const CURSOR_STEPS = 100;
/** A level so many times as high as the curves would press them to the ground. */
const FAR_LEVEL = 2;
/** Behind a colour of six digits. */
const STACKED_ALPHA = 'a6';

/** One chart: curves over the run, with the chosen moment as a line. Zooms with its group; keyboard and pointer alike. */
export class Chart {
  #plot;
  #options;
  #element;
  #curves;
  /** @type {ArrayLike<number>[]} */
  #values;
  /** @type {boolean[]} */
  #shown;
  /** @type {CurveLayer[]} */
  #layers = [];
  #dragged = false;
  #resizing = new ResizeObserver(() => {
    this.#plot.setSize({ width: this.#element.clientWidth, height: this.#element.clientHeight });
  });

  /**
   * @param {HTMLElement} place
   * @param {ArrayLike<number>} x
   * @param {readonly Curve[]} curves
   * @param {ChartOptions} options
   */
  constructor(place, x, curves, options) {
    this.#options = options;
    this.#curves = curves;
    this.#values = curves.map(({ values }) => values);
    this.#shown = curves.map(({ hidden }) => hidden !== true);
    this.#element = element('div', { class: 'plot', tabindex: '0', role: 'group', 'aria-roledescription': 'chart' });
    this.#element.setAttribute(
      'aria-label',
      `${options.label}. Arrow keys ${options.group.axis.step === null ? 'read the values' : 'choose the moment'}, plus and minus zoom, 0 shows everything.`,
    );
    place.replaceChildren(this.#element);
    this.#plot = new uPlot(
      this.#settings(curves),
      /** @type {uPlotTypes.AlignedData} */ (/** @type {unknown} */ ([x, ...curves.map(({ values }) => withGaps(values))])),
      this.#element,
    );
    this.#layer();
    this.#element.addEventListener('keydown', (event) => this.#onKey(event));
    this.#element.addEventListener('blur', () => this.#plot.setCursor({ left: -1, top: -1 }));
    this.#plot.over.addEventListener('click', (event) => this.#onClick(event));
    this.#plot.over.addEventListener('dblclick', () => options.group.show(null));
    new ResizeObserver(() =>
      this.#plot.setSize({ width: this.#element.clientWidth, height: this.#element.clientHeight }),
    ).observe(this.#element);
    options.group.add(this);
  }

  /**
   * Replaces the values; the curves stay.
   *
   * @param {ArrayLike<number>} x
   * @param {readonly ArrayLike<number>[]} values
   */
  setData(x, values) {
    this.#values = [...values];
    this.#layer();
    this.#plot.setData(/** @type {uPlotTypes.AlignedData} */ (/** @type {unknown} */ ([x, ...values.map(withGaps)])), false);
    this.rescale();
  }

  /**
   * @param {number} curve
   * @param {boolean} shown
   */
  showCurve(curve, shown) {
    this.#shown[curve] = shown;
    this.#layer();
    this.#plot.setSeries(curve + 1, { show: shown });
  }

  /**
   * The first curve that is shown and has the same values all along; null for none.
   *
   * @param {number} curve
   */
  equalTo(curve) {
    return this.#layers[curve]?.equal ?? null;
  }

  /** Has curves that lie on each other be seen all. Areas are: what lies on them has another shape. */
  #layer() {
    const isLine = (/** @type {Curve} */ { filled, stacked }) => filled !== true && stacked !== true;
    const layersOf = (/** @type {boolean} */ isDotted) =>
      curveLayers(
        this.#curves.map((curve, i) => {
          const isDrawn = this.#shown[i] === true && isLine(curve) && (curve.dotted === true) === isDotted;
          return isDrawn ? (this.#values[i] ?? null) : null;
        }),
      );
    const [lines, dots] = [layersOf(false), layersOf(true)];
    this.#layers = this.#curves.flatMap(({ dotted }, i) => (dotted === true ? dots[i] : lines[i]) ?? []);
    this.#curves.forEach((curve, i) => {
      const series = this.#plot.series[i + 1];
      const layer = this.#layers[i];
      if (series !== undefined && layer !== undefined && isLine(curve))
        series.dash = dashesOf(layer, curve.dotted === true).map((length) => length * devicePixelRatio);
    });
  }

  rescale() {
    const [min, max] = this.#options.group.zoom ?? this.#options.group.axis.extent();
    this.#plot.setScale('x', { min, max });
  }

  redraw() {
    this.#plot.redraw(false, true);
  }

  /** Takes the chart off the page. */
  remove() {
    this.#resizing.disconnect();
    this.#plot.destroy();
    this.#element.remove();
  }

  /**
   * @param {readonly Curve[]} curves
   * @returns {uPlotTypes.Options}
   */
  #settings(curves) {
    const { group, format, bytes = false, share = false, levels = () => [], marks, happenings, onHover } = this.#options;
    const text = () => colour('--text-soft');
    const lines = { stroke: () => colour('--grid'), width: 1 };
    const [min, max] = group.axis.extent();
    return {
      width: Math.max(1, this.#element.clientWidth),
      height: Math.max(1, this.#element.clientHeight),
      legend: { show: false },
      padding: [8, 12, 0, 0],
      cursor: {
        drag: { x: true, y: false, dist: 4, setScale: false },
        sync: { key: 'stowage' },
        y: false,
        points: { size: 6 },
        bind: { dblclick: () => null },
      },
      scales: {
        x: { time: false, min, max, auto: false },
        y: {
          range: (_, low, high) => {
            if (share) return [0, 1];
            const most = Math.max(
              high,
              ...levels()
                .map(({ y }) => y)
                .filter((y) => y <= high * FAR_LEVEL),
            );
            return [Math.min(0, low), most > low ? most * 1.04 : low + 1];
          },
        },
      },
      axes: [
        {
          stroke: text,
          grid: { ...lines, show: false },
          ticks: { ...lines, size: 4 },
          font: FONT,
          values: (_, splits) => splits.map((x, i) => `${group.axis.format(x)}${i === 0 ? group.axis.unit() : ''}`),
          size: 28,
          space: 90,
        },
        {
          stroke: text,
          grid: lines,
          ticks: { show: false },
          font: FONT,
          size: 74,
          values: (_, splits) => splits.map(format),
          ...(bytes ? { incrs: BYTE_STEPS } : {}),
        },
      ],
      series: [
        {},
        ...curves.map((curve) => ({
          label: curve.label,
          show: curve.hidden !== true,
          stroke: () => colour(curve.colour),
          width: curve.filled === true || curve.stacked === true ? 1 : curve.dotted === true ? 1.5 : 2,
          points: { show: false },
          spanGaps: true,
          ...(curve.filled === true ? { fill: () => colour('--live-fill') } : {}),
          ...(curve.stacked === true ? { fill: () => `${colour(curve.colour)}${STACKED_ALPHA}` } : {}),
        })),
      ],
      bands: curves.flatMap((curve, place) =>
        place > 0 && curve.stacked === true ? [{ series: /** @type {[number, number]} */ ([place + 1, place]) }] : [],
      ),
      hooks: {
        draw: [
          (plot) => this.#drawMoment(plot),
          (plot) => drawLevels(plot, levels()),
          (plot) => drawMarks(plot, marks?.() ?? []),
          (plot) => drawHappenings(plot, happenings?.() ?? []),
        ],
        setCursor: [
          (plot) => onHover?.(plot.cursor.left === undefined || plot.cursor.left < 0 ? null : (plot.cursor.idx ?? null)),
        ],
        setSelect: [(plot) => this.#onSelect(plot)],
      },
    };
  }

  /** @param {uPlotTypes} plot */
  #drawMoment(plot) {
    const { axis } = this.#options.group;
    const x = Math.round(plot.valToPos(axis.toX(axis.moment()), 'x', true));
    const { left, top, width, height } = plot.bbox;
    if (!(x >= left && x <= left + width)) return;
    const { ctx } = plot;
    ctx.save();
    ctx.fillStyle = colour('--moment');
    ctx.fillRect(x - devicePixelRatio, top, 2 * devicePixelRatio, height);
    ctx.restore();
  }

  /** @param {uPlotTypes} plot */
  #onSelect(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    this.#options.group.show([plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')]);
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.#dragged = true;
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const dragged = this.#dragged;
    this.#dragged = false;
    if (dragged || event.detail > 1) return;
    const { axis } = this.#options.group;
    const { left } = this.#plot.over.getBoundingClientRect();
    axis.choose(axis.toMoment(this.#plot.posToVal(event.clientX - left, 'x')));
  }

  /**
   * Moves the cursor among the points that are shown, from the last one.
   *
   * @param {number} steps - each of them visible
   */
  #moveCursor(steps) {
    const { data, cursor } = this.#plot;
    const [x] = data;
    const [min, max] = this.#options.group.zoom ?? this.#options.group.axis.extent();
    const places = Array.from(x.keys()).filter((i) => (x[i] ?? 0) >= min && (x[i] ?? 0) <= max);
    const isShown = cursor.left !== undefined && cursor.left !== null && cursor.left >= 0;
    const from = isShown ? places.indexOf(cursor.idx ?? -1) : places.length;
    const far = Math.max(1, Math.round(places.length / CURSOR_STEPS));
    const place = places[Math.min(Math.max(from + steps * far, 0), places.length - 1)];
    if (place === undefined) return;
    this.#plot.setCursor({ left: this.#plot.valToPos(x[place] ?? 0, 'x'), top: 0 });
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { group } = this.#options;
    const steps = event.shiftKey ? FAR_STEPS : 1;
    const go = group.axis.step ?? ((/** @type {number} */ by) => this.#moveCursor(by));
    /** @type {Record<string, () => void>} */
    const actions = {
      ArrowLeft: () => go(-steps),
      ArrowRight: () => go(steps),
      Home: () => go(Number.NEGATIVE_INFINITY),
      End: () => go(Number.POSITIVE_INFINITY),
      '+': () => group.zoomBy(ZOOM_STEP),
      '=': () => group.zoomBy(ZOOM_STEP),
      '-': () => group.zoomBy(1 / ZOOM_STEP),
      0: () => group.show(null),
      Escape: () => group.show(null),
    };
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  }
}

/**
 * Puts null, which is how the library knows a gap, where there is no number.
 *
 * @param {ArrayLike<number>} values
 * @returns {ArrayLike<number | null>}
 */
function withGaps(values) {
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) return Array.from(values, (value) => (Number.isNaN(value) ? null : value));
  }
  return values;
}
