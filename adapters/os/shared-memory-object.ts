import { constants } from 'node:fs';
import { MemoryError } from '../../src/core/errors.js';
import { checkErrno, errnoError } from '../ffi/library.js';
import { lazy, libc, libcFunction } from './libc.js';

type Open = (name: string, flags: number, type: 'int', mode: number) => number;

/** For the owner alone: what one user's processes share is nobody else's. */
const OWNER_ONLY = 0o600;

const openFunction = lazy(() => {
  if (process.platform === 'win32') {
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'shm_open', platform: process.platform });
  }
  // The mode is a variadic argument on macOS; where it is not, the call is the same.
  return libc().func<Open>('shm_open', 'int', ['str', 'int', '...']);
});
const close = libcFunction('close', 'int', ['int']);
const unlink = libcFunction('shm_unlink', 'int', ['const char *']);

/**
 * Creates a POSIX shared memory object of 0 bytes, mode 0600. Its size is set with `ftruncateSync`.
 *
 * @param name - begins with its only slash
 * @returns a file descriptor, to be closed with {@link closeSharedMemoryObject}
 * @throws ERR_MEM_NATIVE: EEXIST when there is one; ERR_MEM_UNSUPPORTED_PLATFORM on Windows
 */
export function createSharedMemoryObject(name: string): number {
  return open(name, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
}

/** Opens one for reading and writing. @throws ERR_MEM_NATIVE: ENOENT when there is none, EACCES for another user's */
export function openSharedMemoryObject(name: string): number {
  return open(name, constants.O_RDWR);
}

/**
 * Closes a descriptor; mappings stay. In a worker `closeSync` warns of a descriptor that no `fs` function has opened.
 *
 * @throws ERR_MEM_NATIVE
 */
export function closeSharedMemoryObject(fd: number): void {
  checkErrno('close', close(fd));
}

/** Removes the name; the memory goes with its last mapping. @throws ERR_MEM_NATIVE: ENOENT when there is none */
export function unlinkSharedMemoryObject(name: string): void {
  checkErrno('shm_unlink', unlink(name));
}

function open(name: string, flags: number): number {
  const fd = openFunction()(name, flags, 'int', OWNER_ONLY);
  if (fd < 0) throw errnoError('shm_open');
  return fd;
}
