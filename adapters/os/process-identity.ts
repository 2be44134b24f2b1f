import { readFileSync, readlinkSync } from 'node:fs';
import { threadId } from 'node:worker_threads';
import { unlessRefused } from '../../src/core/attempt.js';
import { MemoryError } from '../../src/core/errors.js';
import { lazy } from './libc.js';
import { SYS_GETTID, systemCall } from './system-call.js';

/**
 * Names a process or one of its threads for good: the system gives a number to another one later, but not with the same
 * start time.
 */
export interface ProcessIdentity {
  /** The process's or thread's number, of 31 bits. On Linux no two of them, of any process, have the same. */
  readonly id: number;
  /** In the system's clock ticks since it booted; 0 where that cannot be told. */
  readonly startTime: number;
}

/** Where a {@link ProcessIdentity} means something: the same boot of the same system, and the same table of processes. */
export interface ProcessSpace {
  /** A 32-bit digest of the boot's id; 0 where that cannot be told. */
  readonly boot: number;
  /** The number of the pid namespace (a container has one of its own); 0 where that cannot be told. */
  readonly namespace: number;
}

// The state and the start time are fields 3 and 22; the name, field 2, may hold blanks and parentheses.
const STATE = 0;
const START_TIME = 19;
const DEAD_STATES = ['Z', 'X', 'x'];
// Where the system gives threads no numbers of their own, they are made of both, in 31 bits.
const THREADS_PER_PROCESS = 2 ** 14;
const PROCESSES = 2 ** 17;

/** Identifies the thread that calls: the main thread's number on Linux is the process's. Cost: a property, after the first call. */
export const threadIdentity: () => ProcessIdentity = lazy(() => {
  if (SYS_GETTID === undefined) {
    return { id: (process.pid % PROCESSES) * THREADS_PER_PROCESS + (threadId % THREADS_PER_PROCESS), startTime: 0 };
  }
  const id = systemCall()(SYS_GETTID, 0, 0, 0, null, 0, 0);
  return { id, startTime: startTimeOf(id) };
});

/** Identifies this process. Cost: a property, after the first call. */
export const processIdentity: () => ProcessIdentity = lazy(() => ({
  id: process.pid,
  startTime: process.platform === 'linux' ? startTimeOf(process.pid) : 0,
}));

/** Tells in which boot and pid namespace this process lives. */
export const processSpace: () => ProcessSpace = lazy(() =>
  process.platform === 'linux' ? { boot: bootDigest(), namespace: pidNamespace() } : { boot: 0, namespace: 0 },
);

/**
 * Tells whether the process, or on Linux the thread, with this number and start time still runs. One that has ended but
 * was not yet reaped does not. Of a start time of 0 only the number counts. Cost: a file read, about 20 us.
 */
export function isProcessAlive(id: number, startTime: number): boolean {
  if (process.platform !== 'linux') return answersToSignal(id);
  const fields = statusFields(id);
  if (fields === undefined || DEAD_STATES.includes(fields[STATE] as string)) return false;
  return startTime === 0 || Number(fields[START_TIME]) === startTime;
}

function startTimeOf(id: number): number {
  const fields = statusFields(id);
  if (fields === undefined) {
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'a start time without /proc', platform: process.platform });
  }
  return Number(fields[START_TIME]);
}

/** The fields of `/proc/<id>/stat` behind the name; undefined when there is no such process or thread. */
function statusFields(id: number): string[] | undefined {
  // ESRCH: it ended between open and read.
  const isGone = (error: unknown) => ['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '');
  const text = unlessRefused(isGone, () => readFileSync(`/proc/${id}/stat`, 'utf8'));
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** Of a process's number, or of a thread's as {@link threadIdentity} makes it. That a thread has ended cannot be told. */
function answersToSignal(id: number): boolean {
  const pid = id < PROCESSES ? id : Math.floor(id / THREADS_PER_PROCESS);
  if (pid === process.pid % PROCESSES) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is another user's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function bootDigest(): number {
  return readFileSync('/proc/sys/kernel/random/boot_id').reduce((digest, byte) => (Math.imul(digest, 31) + byte) | 0, 0);
}

function pidNamespace(): number {
  return Number(/\[(\d+)\]/.exec(readlinkSync('/proc/self/ns/pid'))?.[1] ?? 0);
}
