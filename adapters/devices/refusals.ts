/**
 * Does something that may be refused.
 *
 * @param isRefusal - tells the errors that are a refusal from all others, which are thrown
 * @returns undefined when it was refused
 */
export function unlessRefused<T>(isRefusal: (error: unknown) => boolean, action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}
