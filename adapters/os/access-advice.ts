import type { CFunction } from '../ffi/c-types.js';
import { lazy, libc } from './libc.js';
import { advisePages } from './mapping.js';

/** How a program will use pages: `normal` takes an advice back. */
export type AccessPattern = 'normal' | 'sequential' | 'random';

/** The same numbers on Linux and macOS. @see Source: asm-generic/mman-common.h; sys/mman.h of macOS */
const MADV: Readonly<Record<AccessPattern, number>> = { normal: 0, random: 1, sequential: 2 };
const MADV_WILLNEED = 3;
/** Maps pages that are in memory, or reads them, without copying private ones. Linux from 5.14 on. @see Source: asm-generic/mman-common.h */
const MADV_POPULATE_READ = 22;
/** @see Source: linux/fadvise.h */
const POSIX_FADV_SEQUENTIAL = 2;

const FADVISE_PARAMETERS = ['int', 'int64_t', 'int64_t', 'int'] as const;
const fileAdviceFunction = lazy(() =>
  libc().optional<CFunction<'int', typeof FADVISE_PARAMETERS>>('posix_fadvise', 'int', FADVISE_PARAMETERS),
);

/** Tells the system how pages will be used. @param address - the start of a page @throws ERR_MEM_NATIVE */
export function adviseAccess(address: number, bytes: number, pattern: AccessPattern): void {
  advisePages(address, bytes, MADV[pattern]);
}

/**
 * Has the system read pages of a file ahead, without waiting for them.
 *
 * @param address - the start of a page
 * @throws ERR_MEM_NATIVE
 */
export function readAhead(address: number, bytes: number): void {
  advisePages(address, bytes, MADV_WILLNEED);
}

/**
 * Reads pages of a file and maps them, so that the first touch costs nothing. Waits for the disk.
 *
 * @param address - the start of a page
 * @returns false where the system has no such call (macOS, Linux before 5.14)
 */
export function populate(address: number, bytes: number): boolean {
  if (process.platform !== 'linux') return false;
  try {
    advisePages(address, bytes, MADV_POPULATE_READ);
    return true;
  } catch {
    // EINVAL of an old kernel; anything else shows when the pages are touched.
    return false;
  }
}

/** Tells the system that an open file will be read from front to back: it then reads further ahead. Does nothing where there is no such call. */
export function adviseSequentialFile(fd: number): void {
  // A hint: what it answers changes nothing.
  fileAdviceFunction()?.(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
}
