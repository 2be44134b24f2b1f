import { readFileSync } from 'node:fs';

const LIMIT_LINE = /^Max locked memory +(\d+)/m;

/** The most bytes that this process may lock (`ulimit -l`); undefined where there is no limit or it cannot be told. */
export function lockLimitBytes(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const limit = LIMIT_LINE.exec(limits())?.[1];
  return limit === undefined ? undefined : Number(limit);
}

function limits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    // No /proc here.
    return '';
  }
}
