import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import { counted } from '../../src/core/counted.js';
import { checkArgument } from '../../src/core/errors.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { checkAlignment, checkBytes, type DevicePtr } from '../../src/core/units.js';
import { DecoratingMemoryManager } from './decorating-memory-manager.js';

/** Which allocations fail: those that any of these says. */
export interface FailingOptions extends ManagerOptions {
  /** The n-th, 2n-th, 3n-th … one. @defaultValue none */
  readonly every?: number;
  /** A random share of them, from 0 to 1. @defaultValue 0 */
  readonly probability?: number;
  /** What the random share begins with; an integer. The same seed fails the same allocations. @defaultValue 1 */
  readonly seed?: number;
  /** Those of more than so many bytes. @defaultValue none */
  readonly aboveBytes?: number;
}

const OPTIONS: OwnOptions<FailingOptions> = {
  of: () => FailingMemoryManager,
  names: { every: true, probability: true, seed: true, aboveBytes: true, logStream: true },
};

/**
 * Makes allocations fail as out of memory, to test how a program handles it.
 *
 * An allocation that fails never reaches the inner manager. A retry counts as an allocation of its own, so behind a
 * slot's out-of-memory ladder one that failed by its number may succeed. Requests of 0 bytes neither fail nor count.
 *
 * Cost beside the inner manager's: O(1) an allocation, nothing for other calls.
 *
 * @see Source: Zig, std.testing.FailingAllocator
 */
export class FailingMemoryManager extends DecoratingMemoryManager {
  readonly #every: number;
  readonly #probability: number;
  readonly #aboveBytes: number;
  #random: number;
  #attempts = 0;
  #failures = 0;

  /** @throws ERR_MEM_INVALID_ARGUMENT */
  constructor(inner: MemoryManagerAdapter, options: FailingOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super(inner, options);
    const { every = Number.POSITIVE_INFINITY, probability = 0, seed = 1, aboveBytes = Number.POSITIVE_INFINITY } = options;
    const isEvery = every === Number.POSITIVE_INFINITY || (Number.isSafeInteger(every) && every >= 1);
    checkArgument(isEvery, 'every', every, 'an integer of at least 1');
    checkArgument(probability >= 0 && probability <= 1, 'probability', probability, 'a number from 0 to 1');
    checkArgument(Number.isSafeInteger(seed), 'seed', seed, 'an integer');
    checkArgument(aboveBytes >= 0, 'aboveBytes', aboveBytes, 'a size in bytes, or Infinity');
    this.#every = every;
    this.#probability = probability;
    this.#random = seed | 0;
    this.#aboveBytes = aboveBytes;
  }

  /** Allocations that were asked for, those that failed here included. */
  get attempts(): number {
    return this.#attempts;
  }

  /** Allocations that were made to fail here. */
  get failures(): number {
    return this.#failures;
  }

  /** @throws ERR_MEM_OUT_OF_MEMORY when it is this allocation's turn; as the inner manager */
  override allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    checkBytes(bytes);
    checkAlignment(alignment);
    if (bytes > 0 && this.#isTurn(bytes)) {
      this.#failures++;
      throw this.outOfMemory(bytes, { quota: `allocation ${this.#attempts} is made to fail` });
    }
    return this.callInner(bytes, userLock, alignment, stream);
  }

  protected override infoLine(): string {
    return `Made to fail: ${this.#failures} of ${counted(this.#attempts, 'allocation')}`;
  }

  #isTurn(bytes: number): boolean {
    this.#attempts++;
    const unlucky = this.#probability > 0 && this.#nextRandom() < this.#probability;
    return unlucky || bytes > this.#aboveBytes || this.#attempts % this.#every === 0;
  }

  /** A number from 0 to 1, 1 excluded. @see Source: mulberry32 by Tommy Ettinger, public domain */
  #nextRandom(): number {
    this.#random = (this.#random + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#random ^ (this.#random >>> 15), this.#random | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  }
}
