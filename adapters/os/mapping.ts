import { GiB } from '../../src/core/units.js';
import type { CFunction } from '../ffi/c-types.js';
import { cFunction, checkErrno, errnoError } from '../ffi/library.js';
import { checkSystem, kernel32, lazy, libc, libcFunction } from './libc.js';

/** Protection of pages; the same numbers on Linux and macOS. */
export const PROT_NONE = 0;
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const PROT_EXEC = 4;

/** How a range is mapped; the same numbers on Linux and macOS. */
export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
export const MAP_FIXED = 0x10;
const IS_DARWIN = process.platform === 'darwin';
/** @see Source: asm-generic/mman-common.h; sys/mman.h of macOS */
export const MAP_ANONYMOUS = IS_DARWIN ? 0x1000 : 0x20;
/** No swap is set aside. @see Source: asm-generic/mman.h; powerpc's asm/mman.h; sys/mman.h of macOS */
export const MAP_NORESERVE = IS_DARWIN || process.arch === ('ppc64' as string) ? 0x40 : 0x4000;
/** Linux gives the pages back and they read as zero; macOS only hints, so {@link discardPages} remaps there. */
const MADV_DONTNEED = 4;

const WINDOWS_PAGE_BYTES = 4096;
const IS_WINDOWS = process.platform === 'win32';
const RANGE = ['uintptr_t', 'size_t'] as const;

// All at once: the garbage collector, or the end of a worker, must not be what declares the one that gives pages back.
const paging = lazy(() => {
  checkSystem(!IS_WINDOWS, 'mmap');
  return {
    pageBytes: cFunction(libc(), 'getpagesize', 'int', [])(),
    mmap: cFunction(libc(), 'mmap', 'uintptr_t', ['uintptr_t', 'size_t', 'int', 'int', 'int', 'int64_t']),
    munmap: cFunction(libc(), 'munmap', 'int', RANGE),
    mprotect: cFunction(libc(), 'mprotect', 'int', [...RANGE, 'int']),
    madvise: cFunction(libc(), 'madvise', 'int', [...RANGE, 'int']),
  };
});
const [LOCK, UNLOCK] = IS_WINDOWS ? ['VirtualLock', 'VirtualUnlock'] : ['mlock', 'munlock'];
const locking = lazy(() => {
  const library = IS_WINDOWS ? kernel32() : libc();
  return { lock: cFunction(library, LOCK, 'int', RANGE), unlock: cFunction(library, UNLOCK, 'int', RANGE) };
});

/** The size of a page in bytes. */
export function pageBytes(): number {
  return IS_WINDOWS ? WINDOWS_PAGE_BYTES : paging().pageBytes;
}

/** What {@link mapPages} maps. */
export interface MapOptions {
  /** Bits of PROT_…. @defaultValue read and write */
  readonly protection?: number;
  /** Bits of MAP_…. @defaultValue private and anonymous */
  readonly flags?: number;
  /** @defaultValue 0: the system chooses */
  readonly address?: number;
  /** An open file, mapped from its start. @defaultValue -1: none */
  readonly fd?: number;
}

/**
 * Maps pages.
 *
 * @returns their address
 * @throws ERR_MEM_NATIVE with the system's reason, ERR_MEM_UNSUPPORTED_PLATFORM on Windows
 */
export function mapPages(bytes: number, options: MapOptions = {}): number {
  const { protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS, address = 0, fd = -1 } = options;
  const mapped: number | bigint = paging().mmap(address, bytes, protection, flags, fd, 0);
  // MAP_FAILED is 2^64 - 1, which does not fit a number.
  if (typeof mapped === 'bigint') throw errnoError('mmap');
  return mapped;
}

/** Unmaps pages. @throws ERR_MEM_NATIVE */
export function unmapPages(address: number, bytes: number): void {
  checkErrno('munmap', paging().munmap(address, bytes));
}

/** Changes the protection of pages. @throws ERR_MEM_NATIVE */
export function protectPages(address: number, bytes: number, protection: number): void {
  checkErrno('mprotect', paging().mprotect(address, bytes, protection));
}

/** Tells the system how pages will be used. @throws ERR_MEM_NATIVE */
export function advisePages(address: number, bytes: number, advice: number): void {
  checkErrno('madvise', paging().madvise(address, bytes, advice));
}

/**
 * Puts empty anonymous pages in the place of what is mapped: the memory goes back, the addresses stay usable.
 *
 * @throws ERR_MEM_NATIVE
 */
export function replacePages(address: number, bytes: number): void {
  mapPages(bytes, { address, flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE });
}

/** Gives the memory of anonymous pages back; they stay mapped and read as zero. @throws ERR_MEM_NATIVE */
export function discardPages(address: number, bytes: number): void {
  if (IS_DARWIN) replacePages(address, bytes);
  else advisePages(address, bytes, MADV_DONTNEED);
}

/** Keeps pages in physical memory. @throws ERR_MEM_NATIVE when the system refuses */
export function lockPages(address: number, bytes: number): void {
  checkLocking(LOCK, locking().lock(address, bytes));
}

/** Pages are locked when they come into memory, not at once. @see Source: linux/mman.h */
const MLOCK_ONFAULT = 1;

const lockOnFault = lazy(() =>
  process.platform === 'linux'
    ? libc().optional<(address: number, bytes: number, flags: number) => number>('mlock2', 'int', [...RANGE, 'int'])
    : undefined,
);

/**
 * Keeps pages in physical memory from the moment they are touched. (To lock private pages that can be written at once
 * makes a copy of each.) Where there is no such call, as {@link lockPages}.
 *
 * @throws ERR_MEM_NATIVE when the system refuses
 */
export function lockTouchedPages(address: number, bytes: number): void {
  const lock = lockOnFault();
  if (lock === undefined) lockPages(address, bytes);
  else checkErrno('mlock2', lock(address, bytes, MLOCK_ONFAULT));
}

/** Undoes {@link lockPages}. @throws ERR_MEM_NATIVE */
export function unlockPages(address: number, bytes: number): void {
  checkLocking(UNLOCK, locking().unlock(address, bytes));
}

/** POSIX answers 0 for success, Windows anything else. */
function checkLocking(functionName: string, answer: number): void {
  checkErrno(functionName, IS_WINDOWS ? Number(answer === 0) : answer);
}

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

const RESIDENT = 1;
const STEP_BYTES = GiB;

const mincore = libcFunction('mincore', 'int', ['uintptr_t', 'size_t', 'uint8_t *']);

/**
 * Counts the pages of a range that are in physical memory. Of a shared mapping that is what any process has touched.
 * Cost: O(pages), about 10 us a MiB.
 *
 * @param address - the start of a page
 * @returns bytes, whole pages
 * @throws ERR_MEM_NATIVE: ENOMEM for a range that is not mapped
 */
export function residentBytes(address: number, bytes: number): number {
  const page = pageBytes();
  const states = new Uint8Array(Math.ceil(Math.min(bytes, STEP_BYTES) / page));
  let pages = 0;
  for (let offset = 0; offset < bytes; offset += STEP_BYTES) {
    const step = Math.min(STEP_BYTES, bytes - offset);
    checkErrno('mincore', mincore(address + offset, step, states));
    const count = Math.ceil(step / page);
    for (let i = 0; i < count; i++) pages += (states[i] as number) & RESIDENT;
  }
  return pages * page;
}
