/**
 * How a curve is drawn beside those that it lies on.
 *
 * @typedef {object} CurveLayer
 * @property {number} place - among those that coincide, from the lowest, 0
 * @property {number} count - how many coincide; 1 for a curve on its own
 * @property {number | null} equal - the place of the first curve that is the same all along
 */

/** Curves nearer than this share of the highest value cannot be told apart. */
const INDISTINCT = 1 / 250;
/** Curves that share less than this part of their points are seen anyway. */
const SHARED_PART = 1 / 5;
/** Of curves that are equal some points may differ: a run may be watched one event later. */
const EQUAL_SHARE = 0.995;
/** And by this share of the highest value, which is less than what is written of a value. */
const EQUAL_WITHIN = 1 / 10_000;
const DASH_LENGTH = 9;
const DOT_LENGTH = 2;
const DOT_STEP = 5;

/**
 * Finds the curves that would hide each other. Cost: O(points x pairs of curves).
 *
 * @param {readonly (ArrayLike<number> | null)[]} curves - null for one that is not drawn
 * @returns {CurveLayer[]}
 */
export function curveLayers(curves) {
  const most = Math.max(0, ...curves.map((values) => (values === null ? 0 : highest(values))));
  /** @type {(CurveLayer & { group: number })[]} */
  const layers = [];
  for (const [i, values] of curves.entries()) {
    /** @type {CurveLayer & { group: number }} */
    const layer = { place: 0, count: 1, equal: null, group: i };
    layers.push(layer);
    if (values === null) continue;
    for (let below = 0; below < i; below++) {
      const other = curves[below] ?? null;
      const under = layers[below];
      if (other === null || under === undefined) continue;
      const { shared, same } = compared(values, other, most);
      if (shared < SHARED_PART) continue;
      if (same >= EQUAL_SHARE) layer.equal ??= under.equal ?? below;
      layer.place = Math.max(layer.place, under.place + 1);
      // Groups that this curve joins become one.
      for (const each of layers) if (each.group === layer.group) each.group = under.group;
    }
  }
  return layers.map(({ place, equal, group }) => ({
    place,
    equal,
    count: 1 + Math.max(...layers.filter((other) => other.group === group).map((other) => other.place)),
  }));
}

/**
 * The dashes by which curves that coincide are all seen. A line lies over the ones below it with gaps; dots stand beside each other.
 *
 * @param {CurveLayer} layer
 * @param {boolean} isDotted
 * @returns {number[]} none for a whole line
 */
export function dashesOf({ place, count }, isDotted) {
  if (isDotted) return [0, place * DOT_STEP, DOT_LENGTH, (count - place) * DOT_STEP - DOT_LENGTH];
  return place === 0 ? [] : [(count - place) * DASH_LENGTH, place * DASH_LENGTH];
}

/**
 * How many of the points that one of two curves has are near each other, and how many of all points are the same.
 *
 * @param {ArrayLike<number>} one
 * @param {ArrayLike<number>} other
 * @param {number} most - the highest value of all curves
 */
function compared(one, other, most) {
  let both = 0;
  let nearby = 0;
  let equal = 0;
  let neither = 0;
  for (let i = 0; i < one.length; i++) {
    const a = one[i] ?? Number.NaN;
    const b = other[i] ?? Number.NaN;
    if (Number.isNaN(a) && Number.isNaN(b)) neither++;
    if (Number.isNaN(a) || Number.isNaN(b)) continue;
    both++;
    if (Math.abs(a - b) <= most * INDISTINCT) nearby++;
    if (Math.abs(a - b) <= most * EQUAL_WITHIN) equal++;
  }
  return { shared: both === 0 ? 0 : nearby / both, same: (equal + neither) / Math.max(1, one.length) };
}

/** @param {ArrayLike<number>} values */
function highest(values) {
  let most = 0;
  for (let i = 0; i < values.length; i++) if ((values[i] ?? 0) > most) most = values[i] ?? 0;
  return most;
}
