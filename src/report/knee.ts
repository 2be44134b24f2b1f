/** What a setting costs: bytes of memory, and time or another quantity above 0. */
export type Cost = readonly [bytes: number, time: number];

/**
 * Finds the knee of some settings: the one with the least product of memory and time. By what factor another one has less of
 * the one, it has at least that factor more of the other. Of equal ones the first. Cost: O(n).
 *
 * @returns its place; -1 when there is none
 */
export function kneeOf(costs: readonly Cost[]): number {
  return costs.reduce((best, [bytes, time], place) => {
    const least = costs[best];
    return least === undefined || bytes * time < least[0] * least[1] ? place : best;
  }, -1);
}

/** Says what one setting costs against another: `7 % less memory, 23 times the time`. */
export function against([bytes, time]: Cost, [otherBytes, otherTime]: Cost): string {
  return `${change(bytes, otherBytes)} memory, ${change(time, otherTime)} time`;
}

function change(amount: number, other: number): string {
  const ratio = amount / other;
  // Less than half a percent is noise.
  if (amount === other || Math.abs(ratio - 1) < 0.005) return 'the same';
  if (ratio >= 2) return `${Number(ratio.toPrecision(ratio < 10 ? 2 : 3))} times the`;
  const percent = Number((Math.abs(ratio - 1) * 100).toPrecision(2));
  return `${percent} % ${ratio < 1 ? 'less' : 'more'}`;
}
