import { closeSync } from 'node:fs';
import { MemoryError } from '../../src/core/errors.js';
import { errnoError } from '../ffi/library.js';
import { lazy, libc } from './libc.js';
import { systemCall } from './system-call.js';

// The same numbers on every machine that Node has Linux for. @see Source: asm-generic/unistd.h
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;

const dup = lazy(() => libc().func<(descriptor: number) => number>('dup', 'int', ['int']));

/**
 * Gives this process a file descriptor of another process, to be closed here. The system must allow to trace that process.
 *
 * @param pid - of the other process, or of this one, which needs no leave
 * @throws ERR_MEM_UNSUPPORTED_PLATFORM outside of Linux, ERR_MEM_NATIVE
 */
export function descriptorOf(pid: number, descriptor: number): number {
  if (process.platform !== 'linux') {
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', {
      what: 'a file descriptor of another process',
      platform: process.platform,
    });
  }
  if (pid === process.pid) {
    const own = dup()(descriptor);
    if (own < 0) throw errnoError('dup');
    return own;
  }
  const other = systemCall()(SYS_PIDFD_OPEN, pid, 0, 0, null, 0, 0);
  if (other < 0) throw errnoError('pidfd_open');
  try {
    const own = systemCall()(SYS_PIDFD_GETFD, other, descriptor, 0, null, 0, 0);
    if (own < 0) throw errnoError('pidfd_getfd');
    return own;
  } finally {
    closeSync(other);
  }
}
