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
