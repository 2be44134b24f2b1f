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
