import { fstatSync } from 'node:fs';
import { constants } from 'node:os';
import { MemoryError } from '../../src/core/errors.js';
import { errno, errnoError } from '../ffi/library.js';
import { libcFunction } from './libc.js';
import { systemText } from './system-text.js';

/** The same numbers on Linux and macOS. @see Source: sys/file.h */
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;
const FIRST_SLEEP_MS = 1;
const LONGEST_SLEEP_MS = 20;
// "1: FLOCK  ADVISORY  WRITE 1234 00:18:5678 0 EOF": the process, and the device and number of the file.
const LOCK_LINE = /^\d+: FLOCK +\S+ +\S+ +(\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) /;

const { EWOULDBLOCK, EINTR } = constants.errno;
const flock = libcFunction('flock', 'int', ['int', 'int']);
const idle = new Int32Array(new SharedArrayBuffer(4));

/**
 * Runs `work` while no other holder of this file's lock does. The lock is advisory, belongs to the open descriptor, and
 * ends with its process; waiting for it blocks the thread, so hold it for short work only. Anybody who may open the file
 * can take its lock, so the wait is bounded.
 *
 * @throws ERR_MEM_NATIVE; ERR_MEM_LOCK_TIMEOUT when another one holds it for `timeoutMs`
 */
export function withFileLock<T>(fd: number, timeoutMs: number, work: () => T): T {
  acquire(fd, timeoutMs);
  try {
    return work();
  } finally {
    flock(fd, LOCK_UN);
  }
}

function acquire(fd: number, timeoutMs: number): void {
  const start = performance.now();
  for (let sleepMs = FIRST_SLEEP_MS; flock(fd, LOCK_EX | LOCK_NB) !== 0; sleepMs = Math.min(2 * sleepMs, LONGEST_SLEEP_MS)) {
    const status = errno();
    if (status !== EWOULDBLOCK && status !== EINTR) throw errnoError('flock', status);
    const waitedMs = Math.round(performance.now() - start);
    if (waitedMs >= timeoutMs) throw new MemoryError('ERR_MEM_LOCK_TIMEOUT', { ownerPid: lockOwner(fd), waitedMs });
    Atomics.wait(idle, 0, 0, sleepMs);
  }
}

/** The process that holds a file's lock; 0 where that cannot be told (all but Linux, another pid namespace). */
function lockOwner(fd: number): number {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  // As the C library's major() and minor(). @see Source: sys/sysmacros.h
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  for (const line of systemText('/proc/locks').split('\n')) {
    const [, pid, lineMajor, lineMinor, number] = LOCK_LINE.exec(line) ?? [];
    if (number === `${ino}` && BigInt(`0x${lineMajor}`) === major && BigInt(`0x${lineMinor}`) === minor) return Number(pid);
  }
  return 0;
}
