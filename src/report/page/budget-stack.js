import { COLOURS, managerColour } from './theme.js';

/** @import { LiveBudget, LiveSample } from '../live/live-data.js' */

/** The last colour is like that of the others. */
const MOST_PARTS = COLOURS - 1;
const OTHERS_COLOUR = '--map-other';
/** What a limit may be times the most that was held, so that its past is drawn. */
const NEAR_LIMIT = 2;

/**
 * @typedef {object} StackPart - what one member held, or the others together
 * @property {number | null} id - null for the others
 * @property {string} name
 * @property {string} colour
 */

/** Who held what of one budget over the samples. The members that held the most have a part each, at the bottom who came first. */
export class BudgetStack {
  /** @type {readonly StackPart[]} */
  parts = [];
  /** Up to where each part reaches, by sample. @type {readonly Float64Array[]} */
  tops = [];
  /** What each part held, by sample. @type {readonly Float64Array[]} */
  held = [];
  /** The limit by sample, where it is drawn; NaN all along when it did not change. */
  limits = new Float64Array();
  /** @type {Map<number, number>} the places of colours, by the ids of members */
  #colours = new Map();

  /**
   * Reads the samples.
   *
   * @param {readonly LiveSample[]} samples
   * @param {LiveBudget} budget
   * @returns {boolean} whether there are other parts than before
   */
  read(samples, budget) {
    const readings = samples.map(({ budgets }) => budgets[budget.id]);
    const ids = mostHeld(readings, budget);
    this.held = [...ids, null].map((id) =>
      Float64Array.from(readings, (reading) => {
        if (reading === undefined) return Number.NaN;
        if (id !== null) return reading.held[id] ?? 0;
        return Math.max(
          0,
          ids.reduce((rest, shown) => rest - (reading.held[shown] ?? 0), reading.usedBytes),
        );
      }),
    );
    const hasOthers = this.held.at(-1)?.some((bytes) => bytes > 0) === true;
    if (!hasOthers && ids.length > 0) this.held = this.held.slice(0, -1);
    const sum = new Float64Array(samples.length);
    this.tops = this.held.map((held) => {
      held.forEach((bytes, i) => {
        sum[i] = (sum[i] ?? 0) + bytes;
      });
      return sum.slice();
    });
    const limits = Float64Array.from(readings, (reading) => reading?.limitBytes ?? Number.NaN);
    const most = this.tops.at(-1)?.reduce((high, top) => (top > high ? top : high), 0) ?? 0;
    const isSame = limits.every((limit) => Number.isNaN(limit) || limit === budget.limitBytes);
    this.limits = limits.map((limit) => (isSame || limit > most * NEAR_LIMIT ? Number.NaN : limit));
    return this.#name(ids, budget);
  }

  /**
   * @param {readonly number[]} ids
   * @param {LiveBudget} budget
   */
  #name(ids, budget) {
    for (const id of [...this.#colours.keys()]) if (!ids.includes(id)) this.#colours.delete(id);
    for (const id of ids) {
      if (this.#colours.has(id)) continue;
      let place = 0;
      while ([...this.#colours.values()].includes(place)) place++;
      this.#colours.set(id, place);
    }
    const before = this.parts;
    const parts = this.held.map((_, i) => {
      const id = ids[i];
      if (id === undefined) return { id: null, name: ids.length === 0 ? 'held' : 'others', colour: OTHERS_COLOUR };
      return { id, name: budget.names[id] ?? '', colour: managerColour(this.#colours.get(id) ?? 0) };
    });
    this.parts = parts;
    return parts.length !== before.length || parts.some(({ id }, i) => id !== before[i]?.id);
  }
}

/**
 * The ids of the members that held the most at any time, in their order.
 *
 * @param {readonly (LiveSample['budgets'][number] | undefined)[]} readings
 * @param {LiveBudget} budget
 */
function mostHeld(readings, budget) {
  /** @type {Map<number, number>} */
  const peaks = new Map();
  for (const reading of readings) {
    for (const [key, bytes] of Object.entries(reading?.held ?? {})) {
      const id = Number(key);
      if (budget.names[id] !== undefined && bytes > (peaks.get(id) ?? 0)) peaks.set(id, bytes);
    }
  }
  const most = [...peaks].sort(([, a], [, b]) => b - a).slice(0, MOST_PARTS);
  return most.map(([id]) => id).sort((a, b) => a - b);
}
