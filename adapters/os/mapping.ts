import { MemoryError } from '../../src/core/errors.js';
import { errnoError } from '../ffi/library.js';
import { kernel32, lazy, libc } from './libc.js';

type Range = (address: number, bytes: number) => number;
type RangeAndFlags = (address: number, bytes: number, flags: number) => number;
type MapFunction = (
  address: number,
  bytes: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => number | bigint;

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

// All at once: the garbage collector, or the end of a worker, must not be what declares the one that gives pages back.
const paging = lazy(() => {
  checkPosix('mmap');
  return {
    pageBytes: libc().func<() => number>('getpagesize', 'int', [])(),
    mmap: libc().func<MapFunction>('mmap', 'uintptr_t', ['uintptr_t', 'size_t', 'int', 'int', 'int', 'int64_t']),
    munmap: libc().func<Range>('munmap', 'int', ['uintptr_t', 'size_t']),
    mprotect: libc().func<RangeAndFlags>('mprotect', 'int', ['uintptr_t', 'size_t', 'int']),
    madvise: libc().func<RangeAndFlags>('madvise', 'int', ['uintptr_t', 'size_t', 'int']),
  };
});
const locking = lazy(() => {
  if (process.platform !== 'win32') {
    const lock = libc().func<Range>('mlock', 'int', ['uintptr_t', 'size_t']);
    return { lock, unlock: libc().func<Range>('munlock', 'int', ['uintptr_t', 'size_t']) };
  }
  const lock = kernel32().func<Range>('VirtualLock', 'int', ['uintptr_t', 'size_t']);
  const unlock = kernel32().func<Range>('VirtualUnlock', 'int', ['uintptr_t', 'size_t']);
  const statusOf = (call: Range) => (address: number, bytes: number) => (call(address, bytes) !== 0 ? 0 : -1);
  return { lock: statusOf(lock), unlock: statusOf(unlock) };
});

/** The size of a page in bytes. */
export function pageBytes(): number {
  return process.platform === 'win32' ? WINDOWS_PAGE_BYTES : paging().pageBytes;
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
  const mapped = paging().mmap(address, bytes, protection, flags, fd, offsetBytes);
  // MAP_FAILED is 2^64 - 1, which does not fit a number.
  if (typeof mapped === 'bigint') throw errnoError('mmap');
  return mapped;
}

/** Unmaps pages. @throws ERR_MEM_NATIVE */
export function unmapPages(address: number, bytes: number): void {
  if (paging().munmap(address, bytes) !== 0) throw errnoError('munmap');
}

/** Changes the protection of pages. @throws ERR_MEM_NATIVE */
export function protectPages(address: number, bytes: number, protection: number): void {
  if (paging().mprotect(address, bytes, protection) !== 0) throw errnoError('mprotect');
}

/** Tells the system how pages will be used. @throws ERR_MEM_NATIVE */
export function advisePages(address: number, bytes: number, advice: number): void {
  if (paging().madvise(address, bytes, advice) !== 0) throw errnoError('madvise');
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
  if (locking().lock(address, bytes) !== 0) throw errnoError(process.platform === 'win32' ? 'VirtualLock' : 'mlock');
}

/** Pages are locked when they come into memory, not at once. @see Source: linux/mman.h */
const MLOCK_ONFAULT = 1;

const lockOnFaultFunction = lazy(() =>
  process.platform === 'linux' ? libc().optional<RangeAndFlags>('mlock2', 'int', ['uintptr_t', 'size_t', 'int']) : undefined,
);

/**
 * Keeps pages in physical memory from the moment they are touched. (To lock private pages that can be written at once
 * makes a copy of each.) Where there is no such call, as {@link lockPages}.
 *
 * @throws ERR_MEM_NATIVE when the system refuses
 */
export function lockTouchedPages(address: number, bytes: number): void {
  const lock = lockOnFaultFunction();
  if (lock === undefined) lockPages(address, bytes);
  else if (lock(address, bytes, MLOCK_ONFAULT) !== 0) throw errnoError('mlock2');
}

/** Undoes {@link lockPages}. @throws ERR_MEM_NATIVE */
export function unlockPages(address: number, bytes: number): void {
  if (locking().unlock(address, bytes) !== 0) throw errnoError(process.platform === 'win32' ? 'VirtualUnlock' : 'munlock');
}

function checkPosix(what: string): void {
  if (process.platform === 'win32') throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what, platform: process.platform });
}
