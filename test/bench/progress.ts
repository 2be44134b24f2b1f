/** Says on one line what a run is doing. */
export interface BenchProgress {
  show(what: string): void;
  /** Takes the line away. */
  clear(): void;
}

const CLEAR_LINE = '\r\u001b[K';

/** Writes to stderr when that is a terminal, and nothing otherwise. */
export function createProgress(): BenchProgress {
  if (!process.stderr.isTTY) return { show: () => undefined, clear: () => undefined };
  return {
    show: (what) => process.stderr.write(`${CLEAR_LINE}${what}`),
    clear: () => process.stderr.write(CLEAR_LINE),
  };
}
