import { lockTouchedPages, pageBytes, populate } from '../../adapters/os/mapping.js';
import { lockLimitBytes } from '../../adapters/os/memory-limits.js';
import type { ByteRanges } from '../blocks/byte-ranges.js';
import { warn } from '../core/attempt.js';
import { MemoryError } from '../core/errors.js';
import { alignUp, formatBytes } from '../core/units.js';

/**
 * Keeps the beginning of a mapped file in physical memory, and grows page by page. When the system refuses, it warns
 * once, keeps the pages that are locked, and locks no more: a refusal is no error.
 *
 * The pages are unlocked when they are unmapped.
 *
 * @see Source: llama.cpp, llama_mlock
 */
export class MemoryLock {
  #end = 0;
  #refused = false;

  constructor(
    /** The address of the mapping. */
    readonly base: number,
    /** Which parts of it are still the file's. */
    readonly mapped: ByteRanges,
  ) {}

  /** Bytes that are locked: those of the file that are still mapped, up to where the lock has grown. */
  get lockedBytes(): number {
    return this.mapped.within(0, this.#end).reduce((sum, { first, last }) => sum + last - first, 0);
  }

  /**
   * Locks what lies before `bytes` and is not locked yet. Cost: reads those pages from the disk.
   *
   * @param bytes - from the beginning of the mapping
   * @returns false when the system has refused, now or earlier
   */
  growTo(bytes: number): boolean {
    if (this.#refused) return false;
    const end = alignUp(bytes, pageBytes());
    for (const { first, last } of this.mapped.within(this.#end, end)) {
      try {
        lockTouchedPages(this.base + first, alignUp(last, pageBytes()) - first);
      } catch (error) {
        if (!MemoryError.is(error, 'ERR_MEM_NATIVE')) throw error;
        this.#refuse(last - first, error.message);
        return false;
      }
      // Where this cannot be done at once, pages are locked as they are read.
      populate(this.base + first, alignUp(last, pageBytes()) - first);
      this.#end = last;
    }
    this.#end = Math.max(this.#end, end);
    return true;
  }

  #refuse(bytes: number, reason: string): void {
    const limit = lockLimitBytes();
    const hint = limit === undefined ? '' : `; the limit is ${formatBytes(limit)}: raise it with "ulimit -l", or as root`;
    const message = `the system refused to lock ${formatBytes(bytes)} in memory: ${reason}${hint}`;
    this.#refused = true;
    warn(message, { code: 'STOWAGE_LOCK_REFUSED' });
  }
}
