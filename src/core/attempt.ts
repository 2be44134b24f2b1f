/** Errors that could not be told, for want of stack: the next warning says so. Counted without a call, which needs stack. */
export const untold = { count: 0 };

/**
 * Does what follows from a call that has succeeded: a failure here must not make it look like one that failed.
 * It becomes a process warning instead. Never throws.
 */
export function attempt(action: () => unknown): void {
  try {
    action();
  } catch (error) {
    try {
      warn(error);
    } catch {
      untold.count++;
    }
  }
}

/** Does `work`; when it throws, `undo` takes back what came before it. @throws what `work` throws */
export function orUndo<T>(work: () => T, undo: () => void): T {
  try {
    return work();
  } catch (error) {
    undo();
    throw error;
  }
}

/**
 * Does what may be refused.
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

/**
 * Turns what was thrown, or a text, into a process warning. A program may have replaced `process.emitWarning` by what throws:
 * that must not undo what the warning is about, and is counted.
 */
export function warn(error: unknown, ...options: [options?: { readonly code: string }]): void {
  try {
    process.emitWarning(shown(error), ...options);
    if (untold.count === 0) return;
    const { count } = untold;
    untold.count = 0;
    process.emitWarning(`${count} more errors could not be told when they were thrown`);
  } catch {
    untold.count++;
  }
}

/** An error whose parts can be read later, or a text. */
export function shown(error: unknown): Error | string {
  try {
    if (!(error instanceof Error)) return String(error);
    // Node reads these when it prints the warning, where nobody catches.
    void `${error.name} ${error.message} ${error.stack}`;
    return error;
  } catch {
    return 'something was thrown that cannot be turned into text';
  }
}
