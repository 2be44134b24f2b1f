/** @import { Chart } from './chart.js' */

/**
 * @typedef {object} ChartAxis - shared by charts that zoom together
 * @property {(event: number) => number} toX
 * @property {(x: number) => number} toMoment - the nearest moment
 * @property {(x: number) => string} format
 * @property {() => string} unit - said once beside the axis; '' where each number has its own
 * @property {() => number} moment
 * @property {(moment: number) => void} choose
 * @property {((steps: number) => void) | null} step - chooses the moment so many steps away; null where none can be chosen: keys then move
 *   the cursor
 * @property {() => readonly [number, number]} extent - of the whole, in x
 */

/** Charts that show the same stretch of the run. */
export class ChartGroup {
  /** @type {Chart[]} */
  #charts = [];
  /** @type {ChartAxis} */
  axis;
  /** @type {readonly [number, number] | null} */
  zoom = null;

  /** @param {ChartAxis} axis */
  constructor(axis) {
    this.axis = axis;
  }

  /**
   * Takes a chart out, and off the page: another one takes its place.
   *
   * @param {Chart} chart
   */
  remove(chart) {
    this.#charts = this.#charts.filter((other) => other !== chart);
    chart.remove();
  }

  /** @param {Chart} chart */
  add(chart) {
    this.#charts.push(chart);
  }

  /**
   * Shows a stretch in all charts; null shows everything.
   *
   * @param {readonly [number, number] | null} stretch
   */
  show(stretch) {
    const [least, most] = this.axis.extent();
    this.zoom = stretch === null ? null : [Math.max(least, stretch[0]), Math.min(most, stretch[1])];
    for (const chart of this.#charts) chart.rescale();
  }

  /**
   * Zooms around the chosen moment, in by a factor below 1.
   *
   * @param {number} factor
   */
  zoomBy(factor) {
    const [least, most] = this.axis.extent();
    const [from, to] = this.zoom ?? [least, most];
    const moment = this.axis.toX(this.axis.moment());
    const centre = moment >= from && moment <= to ? moment : (from + to) / 2;
    const length = (to - from) * factor;
    if (length >= most - least) this.show(null);
    else if (length > 0) {
      const start = Math.min(Math.max(centre - length / 2, least), most - length);
      this.show([start, start + length]);
    }
  }

  /** Keeps the chosen moment in sight. */
  follow() {
    if (this.zoom === null) return;
    const [from, to] = this.zoom;
    const x = this.axis.toX(this.axis.moment());
    if (x >= from && x <= to) return;
    const start = x - (to - from) / 2;
    const [least, most] = this.axis.extent();
    const begin = Math.min(Math.max(start, least), most - (to - from));
    this.show([begin, begin + to - from]);
  }

  redraw() {
    for (const chart of this.#charts) chart.redraw();
  }
}
