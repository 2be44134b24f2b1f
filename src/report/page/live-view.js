import { ChartGroup } from './chart-group.js';
import { formatAmount, formatCount, formatTime, MS_PER_SECOND } from './format.js';
import { managerColour } from './theme.js';
import { Signal } from './view.js';

/**
 * @import { LiveBudgets, LiveHello, LiveLeaks, LiveManager, LiveMap, LiveReading, LiveSample, LiveStatistic, LiveUpdate } from '../live/live-data.js'
 * @import { Block, Run, Segment } from './view.js'
 */

const KEPT_SAMPLES = 1200;

/** What a running program's managers hold: now, and over the last minutes. */
export class LiveView {
  /** @type {Run[]} */
  runs = [];
  run = 0;
  /** Sent when the program was read again. */
  changed = new Signal();
  /** Sent when there are other managers than before. */
  managersChanged = new Signal();
  group;
  /** @type {LiveSample[]} */
  samples = [];
  /** @type {readonly LiveManager[]} */
  managers = [];
  /** @type {readonly LiveStatistic[]} */
  statistics = [];
  /** @type {LiveMap} */
  #map = {
    blocks: [],
    blockCount: 0,
    sites: [],
    stacks: null,
    segments: [],
    fragmentation: 0,
    sizes: [],
    growth: { overMs: 0, groups: [] },
  };
  /** @type {LiveLeaks} */
  leaks = { blocks: 0, bytes: 0, newest: [] };
  /** @type {LiveBudgets} */
  budgets = { count: 0, shown: [] };

  constructor() {
    this.group = new ChartGroup({
      toX: (x) => x,
      toMoment: (x) => x,
      format: (seconds) => formatTime(seconds * MS_PER_SECOND),
      unit: () => '',
      // The moment is now: the right edge.
      moment: () => Number.NaN,
      choose: () => undefined,
      step: null,
      extent: () => this.#extent(),
    });
  }

  /** @param {LiveHello} hello */
  begin(hello) {
    this.statistics = hello.statistics;
    this.samples = [...hello.samples];
    this.#map = hello.map;
    this.leaks = hello.leaks;
    this.budgets = hello.budgets;
    this.#setManagers(hello.managers);
    this.changed.send();
  }

  /** @param {LiveUpdate} update */
  add(update) {
    this.samples.push(update.sample);
    if (this.samples.length > KEPT_SAMPLES) this.samples.shift();
    if (update.map !== null) this.#map = update.map;
    this.leaks = update.leaks;
    if (update.budgets !== null) this.budgets = update.budgets;
    this.#setManagers(update.managers);
    this.changed.send();
  }

  /** When the samples were taken, in seconds. */
  seconds() {
    return Float64Array.from(this.samples, ({ ms }) => ms / MS_PER_SECOND);
  }

  /**
   * One figure of a manager over the samples; NaN while it was not there.
   *
   * @param {number} run
   * @param {(reading: LiveReading) => number} read
   */
  curve(run, read) {
    const id = this.managers[run]?.id ?? -1;
    return Float64Array.from(this.samples, ({ managers }) => {
      const reading = managers[id];
      return reading === undefined ? Number.NaN : read(reading);
    });
  }

  /**
   * Makes a function that reads one statistic of a manager.
   *
   * @param {string} name
   * @returns {(reading: LiveReading) => number}
   */
  reader(name) {
    const place = this.statistics.findIndex((statistic) => statistic.name === name);
    return ({ values }) => values[place] ?? Number.NaN;
  }

  /** The last readings, in the order of the managers; undefined for one that has stopped. */
  get now() {
    const last = this.samples.at(-1)?.managers ?? {};
    return this.managers.map(({ id }) => last[id]);
  }

  /** How many blocks there are, also when not all are shown. */
  get blockCount() {
    return this.#map.blockCount;
  }

  get fragmentation() {
    return this.#map.fragmentation;
  }

  get growth() {
    return this.#map.growth;
  }

  get sizes() {
    return this.#map.sizes;
  }

  /** What allocation sites hold; null when none is known. */
  get stacks() {
    return this.#map.stacks;
  }

  momentText() {
    return 'now';
  }

  ageText = (/** @type {number} */ ms) => formatTime(ms);

  /** @returns {Block[]} */
  blocks() {
    const { blocks, sites } = this.#map;
    return blocks.map(([address, bytes, age, tag, site]) => ({ address, bytes, padding: 0, age, tag, site: sites[site] ?? '' }));
  }

  /** @returns {Segment[]} */
  segments() {
    return this.#map.segments.map(([start, bytes]) => ({ start, bytes, paged: false }));
  }

  /** What the map's heading says. */
  mapText() {
    const { blocks, blockCount } = this.#map;
    return blocks.length < blockCount
      ? `The biggest ${formatCount(blocks.length)} of ${formatAmount(blockCount, 'block')} allocated since the dashboard began.`
      : `${formatAmount(blockCount, 'block')} allocated since the dashboard began.`;
  }

  /** @param {readonly LiveManager[]} managers */
  #setManagers(managers) {
    const before = this.managers;
    this.managers = managers;
    if (managers.length === before.length && managers.every(({ id }, place) => id === before[place]?.id)) return;
    this.runs = managers.map(({ id, name, slot }) => ({
      name: slot === 'ordinary' ? name : `${name} (${slot})`,
      failure: null,
      colour: managerColour(id),
    }));
    this.managersChanged.send();
  }

  /** @returns {readonly [number, number]} */
  #extent() {
    const first = (this.samples[0]?.ms ?? 0) / MS_PER_SECOND;
    const last = (this.samples.at(-1)?.ms ?? 0) / MS_PER_SECOND;
    return [first, Math.max(last, first + 1)];
  }
}
