import { ChartGroup } from './chart-group.js';
import { formatAmount, formatCount, formatShort, formatTime } from './format.js';
import { managerColour } from './theme.js';
import { Signal } from './view.js';

/**
 * @import { Columns } from './payload.js'
 * @import { ReportData } from '../report-data.js'
 * @import { Block, Run, Segment } from './view.js'
 */

const STEPS_ON_SCREEN = 200;

/** A finished run of each manager, with a chosen moment: a number of events done. */
export class ReplayView {
  data;
  columns;
  /** @type {readonly Run[]} */
  runs;
  /** Sent when the moment or the run that the map shows has changed. */
  changed = new Signal();
  /** Sent when the axis goes from events to time or back. */
  axisChanged = new Signal();
  group;
  moment;
  run;
  #byTime = false;
  /** Moments that can be shown, ascending. */
  #moments;
  #times;

  /**
   * @param {ReportData} data
   * @param {Columns} columns
   */
  constructor(data, columns) {
    this.data = data;
    this.columns = columns;
    this.runs = data.runs.map(({ name, failure }, place) => ({ name, failure, colour: managerColour(place) }));
    this.run = data.winner?.run ?? 0;
    const moments = new Set(data.moments.map(({ at }) => at));
    for (let at = 0; at <= data.events; at += data.stride) moments.add(at);
    moments.add(data.events);
    this.#moments = Float64Array.from(moments).sort();
    this.#times = data.clock === null ? null : columns.get(data.clock.times);
    this.moment = data.moments[0]?.at ?? data.events;
    this.group = new ChartGroup({
      toX: (event) => this.toX(event),
      toMoment: (x) => this.nearest(this.#eventAt(x)),
      format: (x) => (this.#byTime ? formatTime(x) : formatShort(x)),
      unit: () => (this.#byTime ? '' : ' events'),
      moment: () => this.moment,
      choose: (moment) => this.choose(moment),
      step: (steps) => this.step(steps),
      extent: () => [0, this.toX(data.events)],
    });
  }

  get hasClock() {
    return this.#times !== null;
  }

  get sizes() {
    return this.data.sizes;
  }

  get momentCount() {
    return this.#moments.length;
  }

  get momentPlace() {
    return this.#placeOf(this.moment);
  }

  /** @param {number} place */
  chooseByPlace(place) {
    this.choose(this.#moments[Math.min(Math.max(place, 0), this.#moments.length - 1)] ?? 0);
  }

  /** @param {number} moment - one that {@link nearest} gives */
  choose(moment) {
    this.moment = moment;
    this.group.follow();
    this.changed.send();
  }

  /** @param {number} run */
  chooseRun(run) {
    this.run = run;
    this.changed.send();
  }

  /**
   * Goes so many steps, each of them visible at the present zoom.
   *
   * @param {number} steps
   */
  step(steps) {
    const [from, to] = this.group.zoom ?? this.group.axis.extent();
    const shown = this.#placeOf(this.#eventAt(to)) - this.#placeOf(this.#eventAt(from));
    this.chooseByPlace(this.momentPlace + steps * Math.max(1, Math.round(shown / STEPS_ON_SCREEN)));
  }

  /** @param {boolean} byTime */
  useTime(byTime) {
    this.#byTime = byTime;
    this.group.zoom = null;
    this.axisChanged.send();
  }

  /**
   * The moment that can be shown nearest to an event.
   *
   * @param {number} event
   */
  nearest(event) {
    const place = this.#placeOf(event);
    const at = this.#moments[place] ?? 0;
    const before = this.#moments[place - 1];
    return before !== undefined && event - before < at - event ? before : at;
  }

  /**
   * Where an event stands on the axis.
   *
   * @param {number} event
   */
  toX(event) {
    return this.#byTime ? this.timeOf(event) : event;
  }

  /**
   * When an event took place, in ms.
   *
   * @param {number} event
   */
  timeOf(event) {
    const times = this.#times;
    const { clock } = this.data;
    if (times === null || clock === null) return 0;
    const mark = event / clock.stride;
    const before = times[Math.min(Math.floor(mark), times.length - 1)] ?? 0;
    const after = times[Math.min(Math.floor(mark) + 1, times.length - 1)] ?? before;
    return before + (after - before) * (mark % 1);
  }

  /** The chosen moment in words. */
  momentText() {
    const { events } = this.data;
    const time = this.hasClock ? `, ${formatTime(this.timeOf(this.moment))}` : '';
    return this.moment === events
      ? `at the end, after ${events === 1 ? 'the only event' : `all ${formatCount(events)} events`}${time}`
      : `after event ${formatCount(this.moment)} of ${formatCount(events)}${time}`;
  }

  /** The unit of ages. */
  ageText = (/** @type {number} */ age) => formatAmount(age, 'event');

  /**
   * The blocks that live at the chosen moment in a run.
   *
   * @returns {Block[]}
   */
  blocks(run = this.run) {
    const { columns, data, moment } = this;
    const shown = data.runs[run];
    if (shown === undefined || moment > shown.events) return [];
    const born = columns.get(data.blocks.born);
    const died = columns.get(data.blocks.died);
    const bytes = columns.get(data.blocks.bytes);
    const address = columns.get(shown.address);
    const padding = columns.get(shown.padding);
    const tag = data.blocks.tag === null ? null : columns.get(data.blocks.tag);
    const site = data.blocks.site === null ? null : columns.get(data.blocks.site);
    const blocks = [];
    for (let i = 0; i < born.length; i++) {
      const from = /** @type {number} */ (born[i]);
      // Blocks stand in the order in which they were born.
      if (from > moment) break;
      const at = /** @type {number} */ (address[i]);
      if (moment >= /** @type {number} */ (died[i]) || at === 0) continue;
      blocks.push({
        address: at,
        bytes: /** @type {number} */ (bytes[i]),
        padding: padding[i] ?? 0,
        age: moment - from,
        tag: data.tags[(tag?.[i] ?? 0) - 1] ?? '',
        site: data.sites[(site?.[i] ?? 0) - 1] ?? '',
      });
    }
    return blocks;
  }

  /**
   * The native memory of a run at the chosen moment, by address.
   *
   * @returns {Segment[]}
   */
  segments(run = this.run) {
    const shown = this.data.runs[run];
    if (shown === undefined || this.moment > shown.events) return [];
    const { start, bytes, born, died, paged } = shown.segments;
    const [starts, sizes, from, to, pages] = [start, bytes, born, died, paged].map((column) => this.columns.get(column));
    /** @type {Segment[]} */
    const segments = [];
    for (let i = 0; i < start.length; i++) {
      const value = (/** @type {typeof starts} */ column) => /** @type {number} */ (column?.[i]);
      if (value(from) <= this.moment && this.moment < value(to)) {
        segments.push({ start: value(starts), bytes: value(sizes), paged: value(pages) === 1 });
      }
    }
    return segments.sort((a, b) => a.start - b.start);
  }

  /**
   * What the program and a run hold at the chosen moment; NaN where the run had stopped.
   *
   * @param {number} run
   */
  totals(run) {
    const stopped = this.moment > (this.data.runs[run]?.events ?? 0);
    let live = 0;
    let allocated = 0;
    for (const { bytes, padding } of this.blocks(run)) {
      live += bytes;
      allocated += bytes + padding;
    }
    const reserved = stopped ? Number.NaN : this.segments(run).reduce((sum, { bytes }) => sum + bytes, 0);
    return { live, reserved, cached: reserved - allocated };
  }

  /** @param {number} x */
  #eventAt(x) {
    if (!this.#byTime) return x;
    let low = 0;
    let high = this.#moments.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.timeOf(this.#moments[middle] ?? 0) < x) low = middle + 1;
      else high = middle;
    }
    return this.#moments[low] ?? 0;
  }

  /**
   * The place of the first moment at an event or after it.
   *
   * @param {number} event
   */
  #placeOf(event) {
    let low = 0;
    let high = this.#moments.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#moments[middle] ?? 0) < event) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
