/**
 * Does the same with each of many, also after it failed with one.
 *
 * @throws the first error, after all were tried
 */
export function tryAll<T>(items: Iterable<T>, action: (item: T) => void): void {
  let failure: { readonly error: unknown } | undefined;
  for (const item of items) {
    try {
      action(item);
    } catch (error) {
      failure ??= { error };
    }
  }
  if (failure !== undefined) throw failure.error;
}
