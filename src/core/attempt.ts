/**
 * Does what follows from a call that has succeeded: a failure here must not make it look like one that failed.
 * It becomes a process warning instead.
 */
export function attempt(action: () => unknown): void {
  try {
    action();
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error));
  }
}
