import { checkErrno } from '../ffi/library.js';
import { libcFunction } from './libc.js';
import { MAP_SHARED } from './mapping.js';
import { mapThreadPages } from './thread-memory.js';

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
