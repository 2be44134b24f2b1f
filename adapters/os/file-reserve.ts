import { MemoryError } from '../../src/core/errors.js';
import { errnoError } from '../ffi/library.js';
import { libcFunction } from './libc.js';

const fallocate = libcFunction('posix_fallocate', 'int', ['int', 'int64_t', 'int64_t']);

/**
 * Gives the first `bytes` of an open file their room on the disk, or in memory for a shared memory object, so that
 * touching them cannot fail later. Cost: O(bytes).
 *
 * @throws ERR_MEM_NATIVE: ENOSPC when there is no room; ERR_MEM_UNSUPPORTED_PLATFORM where there is no such call
 */
export function reserveFile(fd: number, bytes: number): void {
  const what = 'posix_fallocate';
  if (process.platform !== 'linux') throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what, platform: process.platform });
  // It answers with the status, and leaves errno alone.
  const status = fallocate(fd, 0, bytes);
  if (status !== 0) throw errnoError(what, status);
}
