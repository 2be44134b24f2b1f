import { constants } from 'node:os';
import { errno, errnoError } from '../ffi/library.js';
import { SYS_FUTEX, type SystemCall, systemCall } from './system-call.js';

// Without FUTEX_PRIVATE_FLAG: the word may lie in memory that other processes share. @see Source: linux/futex.h
const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;
const NS_PER_MS = 1e6;
const MS_PER_S = 1000;
// Where there is no futex, a waiter looks again after this time: a wake-up is then never missed for longer.
const POLL_MS = 1;

const IS_64_BIT = !['arm', 'ia32'].includes(process.arch);
const { EAGAIN, EINTR, ETIMEDOUT } = constants.errno;
const timeSpec = new Int32Array(4);
const idle = new Int32Array(new SharedArrayBuffer(4));

/** What koffi adds to a function. */
type Asynchronous = {
  readonly async: (...values: [...Parameters<SystemCall>, (error: Error | null, result: number) => void]) => void;
};

/**
 * Sleeps until another thread or process wakes this word, until it no longer holds `expected`, or for `timeoutMs`.
 * It may also return for no reason: look at the word again, in a loop. Cost: some us. Blocks the thread.
 *
 * Where the system has no futex (all but Linux), it sleeps for a millisecond at most.
 *
 * @param address - of a 32-bit word, a multiple of 4
 * @param timeoutMs - above 0
 * @returns whether it ended before the time was up
 * @throws ERR_MEM_NATIVE
 */
export function futexWait(address: number, expected: number, timeoutMs: number): boolean {
  if (SYS_FUTEX === undefined) {
    Atomics.wait(idle, 0, 0, Math.min(POLL_MS, timeoutMs));
    return true;
  }
  setTimeSpec(timeSpec, timeoutMs);
  if (systemCall()(SYS_FUTEX, address, FUTEX_WAIT, expected, timeSpec, 0, 0) === 0) return true;
  const status = errno();
  if (status === ETIMEDOUT) return false;
  if (status === EAGAIN || status === EINTR) return true;
  throw errnoError('futex', status);
}

/**
 * As {@link futexWait}, on a thread of libuv's pool: the event loop runs on. The pool has 4 threads by default, which
 * file operations need too, so keep the times short.
 *
 * @returns a promise that settles when the word should be looked at again
 */
export function futexWaitAsync(address: number, expected: number, timeoutMs: number): Promise<void> {
  const number = SYS_FUTEX;
  if (number === undefined) return new Promise((resolve) => setTimeout(resolve, Math.min(POLL_MS, timeoutMs)));
  // Its own: the kernel reads it while other calls are made.
  const time = new Int32Array(4);
  setTimeSpec(time, timeoutMs);
  const call = systemCall() as unknown as Asynchronous;
  return new Promise((resolve, reject) => {
    // The outcome does not matter: whoever waits looks at the word.
    call.async(number, address, FUTEX_WAIT, expected, time, 0, 0, (error) => (error === null ? resolve() : reject(error)));
  });
}

/**
 * Wakes up to `count` waiters of this word, in all processes. Cost: about 1 us.
 *
 * @returns how many were woken; 0 where the system has no futex, whose waiters look by themselves
 * @throws ERR_MEM_NATIVE
 */
export function futexWake(address: number, count: number): number {
  if (SYS_FUTEX === undefined) return 0;
  const woken = systemCall()(SYS_FUTEX, address, FUTEX_WAKE, count, null, 0, 0);
  if (woken < 0) throw errnoError('futex');
  return woken;
}

function setTimeSpec(target: Int32Array, timeoutMs: number): void {
  // Two 64-bit numbers on 64-bit machines, two 32-bit ones on the others; little-endian.
  const seconds = Math.floor(timeoutMs / MS_PER_S);
  const nanoseconds = Math.floor((timeoutMs - seconds * MS_PER_S) * NS_PER_MS);
  target.fill(0);
  target[0] = seconds;
  target[IS_64_BIT ? 2 : 1] = nanoseconds;
}
