import { constants } from 'node:fs';
import { checkErrno, errnoError } from '../ffi/library.js';
import { checkSystem, lazy, libc, libcFunction } from './libc.js';
import { MAP_SHARED } from './mapping.js';
import { mapThreadPages } from './thread-memory.js';

type Open = (name: string, flags: number, type: 'int', mode: number) => number;

/** For the owner alone: what one user's processes share is nobody else's. */
const OWNER_ONLY = 0o600;

const openFunction = lazy(() => {
  checkSystem(process.platform !== 'win32', 'shm_open');
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

/** Waits until the pages are written. The same number on Linux; macOS has its own. @see Source: sys/mman.h */
const MS_SYNC = process.platform === 'darwin' ? 0x10 : 4;

const msync = libcFunction('msync', 'int', ['uintptr_t', 'size_t', 'int']);

/**
 * Maps an open file, or shared memory object, for reading and writing; every process that maps it sees the same bytes.
 * The descriptor can be closed afterwards. Touching a page beyond the file's end ends the process with SIGBUS. In
 * a worker on glibc the mapping ends with its thread; undo it with `unmapThreadPages`.
 *
 * @throws ERR_MEM_NATIVE, ERR_MEM_UNSUPPORTED_PLATFORM on Windows
 */
export function mapShared(fd: number, bytes: number): number {
  return mapThreadPages(bytes, { flags: MAP_SHARED, fd });
}

/** Writes the changed pages of a mapped file to the disk, and waits for it. @throws ERR_MEM_NATIVE */
export function syncPages(address: number, bytes: number): void {
  checkErrno('msync', msync(address, bytes, MS_SYNC));
}

const fallocate = libcFunction('posix_fallocate', 'int', ['int', 'int64_t', 'int64_t']);

/**
 * Gives the first `bytes` of an open file their room on the disk, or in memory for a shared memory object, so that
 * touching them cannot fail later. Cost: O(bytes).
 *
 * @throws ERR_MEM_NATIVE: ENOSPC when there is no room; ERR_MEM_UNSUPPORTED_PLATFORM where there is no such call
 */
export function reserveFile(fd: number, bytes: number): void {
  const what = 'posix_fallocate';
  checkSystem(process.platform === 'linux', what);
  // It answers with the status, and leaves errno alone.
  const status = fallocate(fd, 0, bytes);
  if (status !== 0) throw errnoError(what, status);
}
