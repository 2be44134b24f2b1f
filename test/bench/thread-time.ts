import { libc } from '../../adapters/os/libc.js';

/** @see Source: Linux, include/uapi/linux/time.h */
const CLOCK_THREAD_CPUTIME_ID = 3;

type ClockGettime = (clock: number, time: BigInt64Array) => number;

const clockGettime =
  process.platform === 'linux' ? libc().func<ClockGettime>('clock_gettime', 'int', ['int', 'void *']) : undefined;
const time = new BigInt64Array(2);

/**
 * The nanoseconds of processor time that `work` takes on this thread: what other programs take meanwhile is not in it.
 * On other platforms than Linux the wall time.
 */
export function timed(work: () => void): number {
  const start = now();
  work();
  return now() - start;
}

function now(): number {
  if (clockGettime === undefined) return Number(process.hrtime.bigint());
  clockGettime(CLOCK_THREAD_CPUTIME_ID, time);
  return Number(time[0]) * 1e9 + Number(time[1]);
}
