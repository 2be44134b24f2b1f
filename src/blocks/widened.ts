/** Copies a column into a larger one. */
export function widened<T extends { set(from: ArrayLike<number>): void } & ArrayLike<number>>(from: T, into: T): T {
  into.set(from);
  return into;
}
