import { systemText } from './system-text.js';

const LIMIT_LINE = /^Max locked memory +(\d+)/m;

/** The most bytes that this process may lock (`ulimit -l`); undefined where there is no limit or it cannot be told. */
export function lockLimitBytes(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const limit = LIMIT_LINE.exec(systemText('/proc/self/limits'))?.[1];
  return limit === undefined ? undefined : Number(limit);
}
