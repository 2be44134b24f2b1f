import type { Axis, Family, Settings } from './candidates.js';

/** The result of trying one setting. */
export interface Trial {
  readonly family: Family;
  readonly settings: Settings;
  /** False when the replay under it was not complete. */
  readonly done: boolean;
  /** Lower is better; a later number decides only if the earlier ones are equal. */
  readonly score: readonly number[];
}

/** How many places of an axis lie between the values that are tried first. */
const COARSE_STEP = 4;

/**
 * Searches the settings of some managers. Of each the defaults and a coarse grid are tried; then the search climbs from the
 * best of them to its neighbours on each axis until none is better. No setting is tried twice.
 *
 * @param tryOut - measures one setting
 * @param budget - settings to try at most; each family gets the same share, and its defaults are tried in any case
 * @returns what was tried, in that order
 */
export function search<T extends Trial>(
  families: readonly Family[],
  tryOut: (family: Family, settings: Settings) => T,
  budget: number,
): T[] {
  const share = Math.max(1, Math.floor(budget / families.length));
  return families.flatMap((family) => searchFamily(family, (settings) => tryOut(family, settings), share));
}

/** Tells whether one score is lower than another: by their first difference. */
export function isBetter(score: readonly number[], than: readonly number[]): boolean {
  const place = score.findIndex((value, i) => value !== than[i]);
  return place >= 0 && score[place]! < than[place]!;
}

function searchFamily<T extends Trial>(family: Family, tryOut: (settings: Settings) => T, budget: number): T[] {
  const trials = new Map<string, T>();
  let best: readonly [place: readonly number[], trial: T] | undefined;
  /** @returns whether the place is the best so far */
  const visit = (place: readonly number[]): boolean => {
    const key = place.join();
    if (trials.has(key) || trials.size >= budget) return false;
    const trial = tryOut(Object.fromEntries(family.axes.map(({ name, values }, i) => [name, values[place[i]!]])));
    trials.set(key, trial);
    if (!trial.done || (best !== undefined && !isBetter(trial.score, best[1].score))) return false;
    best = [place, trial];
    return true;
  };
  visit(family.axes.map(({ values }) => values.indexOf(undefined)));
  for (const place of coarseGrid(family.axes)) visit(place);
  for (let climbing = best !== undefined; climbing; ) {
    climbing = false;
    for (const neighbour of neighboursOf(family.axes, best![0])) climbing = visit(neighbour) || climbing;
  }
  return [...trials.values()];
}

function coarseGrid(axes: readonly Axis[]): number[][] {
  const chosen = axes.map(({ values }) => [...values.keys()].filter((i) => i % COARSE_STEP === 0));
  return chosen.reduce<number[][]>((places, next) => places.flatMap((place) => next.map((i) => [...place, i])), [[]]);
}

function neighboursOf(axes: readonly Axis[], place: readonly number[]): number[][] {
  return axes.flatMap(({ values }, axis) =>
    [-1, 1]
      .map((step) => place.map((at, i) => (i === axis ? at + step : at)))
      .filter((neighbour) => neighbour[axis]! >= 0 && neighbour[axis]! < values.length),
  );
}

/**
 * Marks the points that no other one beats: none is as good in both respects and better in one. Of equal points the first.
 * Cost: O(n log n).
 *
 * @param points - lower is better in both
 */
export function frontierOf(points: readonly (readonly [number, number])[]): boolean[] {
  const marks = points.map(() => false);
  const order = points.map((_, i) => i).sort((a, b) => points[a]![0] - points[b]![0] || points[a]![1] - points[b]![1] || a - b);
  let least = Number.POSITIVE_INFINITY;
  for (const i of order) {
    if (!(points[i]![1] < least)) continue;
    least = points[i]![1];
    marks[i] = true;
  }
  return marks;
}
