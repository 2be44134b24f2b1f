import { ChartGroup } from './chart-group.js';
import { formatCount, formatShort, formatTime } from './format.js';
import { managerColour } from './theme.js';
import { Signal } from './view.js';

/**
 * @import { Columns } from './payload.js'
 * @import { WhatIfPageData, WhatIfRunData } from '../report-data.js'
 *
 * @typedef {object} WhatIfCurves
 * @property {WhatIfRunData} data
 * @property {string} colour - the name of its colour in the style sheet
 * @property {ArrayLike<number>} reserved - NaN after a failure
 * @property {ArrayLike<number>} allocated
 */

const STEPS_ON_CHART = 200;

/** Settings of an allocator over the same events, with a chosen moment: a point of their curves. */
export class WhatIfView {
  data;
  /** @type {readonly WhatIfCurves[]} */
  runs;
  /** Sent when another moment is chosen. */
  changed = new Signal();
  /** Sent when the axis goes from events to time or back. */
  axisChanged = new Signal();
  group;
  moment;
  /** Events done at each point. */
  events;
  #times;
  #byTime = false;

  /**
   * @param {WhatIfPageData} data
   * @param {Columns} columns
   */
  constructor(data, columns) {
    this.data = data;
    const points = Math.max(1, Math.ceil(data.events / data.stride));
    this.events = Float64Array.from({ length: points }, (_, i) => Math.min(data.events, (i + 1) * data.stride));
    this.#times = data.times === null ? null : columns.get(data.times);
    const whole = (/** @type {ArrayLike<number>} */ values) =>
      Float64Array.from({ length: points }, (_, i) => values[i] ?? Number.NaN);
    this.runs = data.runs.map((run, place) => ({
      data: run,
      colour: managerColour(place),
      reserved: whole(columns.get(run.reserved)),
      allocated: whole(columns.get(run.allocated)),
    }));
    const failure = data.runs.find((run) => run.failure !== null)?.failure;
    this.moment = failure === undefined || failure === null ? this.#highest() : this.pointOf(failure.event);
    this.group = new ChartGroup({
      toX: (point) => this.x()[point] ?? 0,
      toMoment: (x) => this.#nearest(x),
      format: (x) => (this.#byTime ? formatTime(x) : formatShort(x)),
      unit: () => (this.#byTime ? '' : ' events'),
      moment: () => this.moment,
      choose: (point) => this.choose(point),
      step: (steps) => this.#step(steps),
      extent: () => [0, this.x().at(-1) ?? 1],
    });
  }

  get hasClock() {
    return this.#times !== null;
  }

  /** Where the points stand on the axis. */
  x() {
    return this.#byTime && this.#times !== null ? this.#times : this.events;
  }

  /**
   * The point whose bucket holds an event.
   *
   * @param {number} event
   */
  pointOf(event) {
    return Math.min(Math.floor(event / this.data.stride), this.events.length - 1);
  }

  /** @param {number} point */
  choose(point) {
    this.moment = Math.min(Math.max(point, 0), this.events.length - 1);
    this.group.follow();
    this.changed.send();
  }

  /** @param {boolean} byTime */
  useTime(byTime) {
    this.#byTime = byTime;
    this.group.zoom = null;
    this.axisChanged.send();
  }

  /**
   * A point in words.
   *
   * @param {number} point
   */
  textOf(point) {
    const time = this.#times === null ? '' : `, ${formatTime(this.#times[point] ?? 0)}`;
    return `event ${formatCount(this.events[point] ?? 0)} of ${formatCount(this.data.events)}${time}`;
  }

  /**
   * Where a failure stands on the axis.
   *
   * @param {WhatIfRunData} run
   */
  failureX(run) {
    return this.#byTime ? (run.failedAtMs ?? 0) : (run.failure?.event ?? 0) + 1;
  }

  /** @param {number} steps */
  #step(steps) {
    const [from, to] = this.group.zoom ?? this.group.axis.extent();
    const shown = this.#nearest(to) - this.#nearest(from);
    this.choose(this.moment + steps * Math.max(1, Math.round(shown / STEPS_ON_CHART)));
  }

  /** The point at which the most is reserved under any setting. */
  #highest() {
    let [most, place] = [Number.NEGATIVE_INFINITY, 0];
    for (const { reserved } of this.runs) {
      for (let i = 0; i < reserved.length; i++) {
        const value = reserved[i] ?? Number.NaN;
        if (value > most) [most, place] = [value, i];
      }
    }
    return place;
  }

  /** @param {number} x */
  #nearest(x) {
    const points = this.x();
    let low = 0;
    let high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((points[middle] ?? 0) < x) low = middle + 1;
      else high = middle;
    }
    const before = points[low - 1];
    return before !== undefined && x - before < (points[low] ?? 0) - x ? low - 1 : low;
  }
}
