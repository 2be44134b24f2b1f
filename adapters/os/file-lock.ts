import { errnoError } from '../ffi/library.js';
import { lazy, libc } from './libc.js';

/** The same numbers on Linux and macOS. @see Source: sys/file.h */
const LOCK_EX = 2;
const LOCK_UN = 8;

const flockFunction = lazy(() => libc().func<(fd: number, operation: number) => number>('flock', 'int', ['int', 'int']));

/**
 * Runs `work` while no other holder of this file's lock does. The lock is advisory, belongs to the open descriptor, and
 * ends with its process; waiting for it blocks the thread, so hold it for short work only.
 *
 * @throws ERR_MEM_NATIVE
 */
export function withFileLock<T>(fd: number, work: () => T): T {
  if (flockFunction()(fd, LOCK_EX) !== 0) throw errnoError('flock');
  try {
    return work();
  } finally {
    flockFunction()(fd, LOCK_UN);
  }
}
