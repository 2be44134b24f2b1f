import { MemoryError } from '../../src/core/errors.js';
import { cFunction, checkErrno, errnoError } from '../ffi/library.js';
import { kernel32, lazy, libc } from './libc.js';

/** Protection of pages; the same numbers on Linux and macOS. */
export const PROT_NONE = 0;
export const PROT_READ = 1;
export const PROT_WRITE = 2;

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
export const MADV_DONTNEED = 4;

const WINDOWS_PAGE_BYTES = 4096;
const IS_WINDOWS = process.platform === 'win32';
const RANGE = ['uintptr_t', 'size_t'] as const;

// All at once: the garbage collector, or the end of a worker, must not be what declares the one that gives pages back.
const paging = lazy(() => {
  checkPosix('mmap');
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
  /** An open file. @defaultValue -1: none */
  readonly fd?: number;
  /** Where in the file, in bytes. @defaultValue 0 */
  readonly offsetBytes?: number;
}

/**
 * Maps pages.
 *
 * @returns their address
 * @throws ERR_MEM_NATIVE with the system's reason, ERR_MEM_UNSUPPORTED_PLATFORM on Windows
 */
export function mapPages(bytes: number, options: MapOptions = {}): number {
  const {
    protection = PROT_READ | PROT_WRITE,
    flags = MAP_PRIVATE | MAP_ANONYMOUS,
    address = 0,
    fd = -1,
    offsetBytes = 0,
  } = options;
  const mapped: number | bigint = paging().mmap(address, bytes, protection, flags, fd, offsetBytes);
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

function checkPosix(what: string): void {
  if (IS_WINDOWS) throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what, platform: process.platform });
}
