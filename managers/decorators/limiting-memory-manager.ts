import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import { ensure } from '../../src/blocks/ensure.js';
import { counted } from '../../src/core/counted.js';
import { checkArgument, type MemoryError } from '../../src/core/errors.js';
import type { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { checkAlignment, checkBytes, type DevicePtr, exactBytes, formatBytes } from '../../src/core/units.js';
import { BookkeepingMemoryManager } from './bookkeeping-memory-manager.js';

export interface LimitingOptions extends ManagerOptions {
  /** Bytes that may be live at once on all devices together. @defaultValue no limit */
  readonly limitBytes?: number;
  /** Blocks that may be live at once on all devices together. @defaultValue no limit */
  readonly limitBlocks?: number;
}

const OPTIONS: OwnOptions<LimitingOptions> = {
  of: () => LimitingMemoryManager,
  names: { limitBytes: true, limitBlocks: true, logStream: true },
};

/**
 * Puts a hard limit on what is live: `usedBytes <= limitBytes` and `usedBlocks <= limitBlocks`, always.
 *
 * What counts are the bytes of the blocks handed out, with the rounding of the inner manager. Cached memory does not
 * count, so cleaning up makes no room here: a request beyond the limit fails at once as out of memory, and then a slot's
 * `oom` listeners may free blocks. A request whose rounding alone exceeds the limit is given back to the inner manager.
 *
 * Cost beside the inner manager's: O(1) a call.
 *
 * @see Source: RMM, limiting_resource_adaptor
 */
export class LimitingMemoryManager extends BookkeepingMemoryManager {
  readonly limitBytes: number;
  readonly limitBlocks: number;
  #usedBytes = 0;

  /** @throws ERR_MEM_INVALID_ARGUMENT for a limit that is none */
  constructor(inner: MemoryManagerAdapter, options: LimitingOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super(inner, options);
    this.limitBytes = checkLimit('limitBytes', options.limitBytes);
    this.limitBlocks = checkLimit('limitBlocks', options.limitBlocks);
  }

  /** Bytes of the live blocks. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  get usedBlocks(): number {
    return this.live.count;
  }

  /** @throws ERR_MEM_OUT_OF_MEMORY beyond a limit, with the limit as its capacity; as the inner manager */
  override allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    checkBytes(bytes);
    checkAlignment(alignment);
    if (bytes > 0 && !this.#admits(bytes)) {
      this.reconcile();
      if (!this.#admits(bytes)) throw this.#refusal(bytes);
    }
    const ptr = super.allocBytes(bytes, userLock, alignment, stream);
    // Rounding may have carried it beyond the limit, and native calls may have come back with other allocations.
    if (this.#isWithin()) return ptr;
    this.reconcile();
    if (this.#isWithin()) return ptr;
    this.forget(ptr);
    this.takeBack(ptr, userLock);
    throw this.#refusal(bytes);
  }

  override checkInvariants(): void {
    super.checkInvariants();
    const bytes = [...this.live].reduce((sum, row) => sum + this.live.bytesOf(row), 0);
    ensure(bytes === this.#usedBytes, 'usedBytes == sum(live block.bytes)');
    ensure(bytes <= this.limitBytes, 'usedBytes <= limitBytes');
    ensure(this.usedBlocks <= this.limitBlocks, 'usedBlocks <= limitBlocks');
  }

  protected override entered(row: number): void {
    this.#usedBytes += this.live.bytesOf(row);
  }

  protected override wasResized(_row: number, _requestedBytes: number, bytes: number): void {
    this.#usedBytes += bytes;
  }

  protected override dropping(row: number): void {
    this.#usedBytes -= this.live.bytesOf(row);
  }

  protected override infoLine(): string {
    const bytes = Number.isFinite(this.limitBytes) ? formatBytes(this.limitBytes) : 'any number of bytes';
    const blocks = Number.isFinite(this.limitBlocks) ? this.limitBlocks : 'any number of';
    return `Used: ${formatBytes(this.#usedBytes)} of ${bytes}, ${this.usedBlocks} of ${blocks} blocks`;
  }

  #admits(bytes: number): boolean {
    return this.#usedBytes + bytes <= this.limitBytes && this.live.count < this.limitBlocks;
  }

  #isWithin(): boolean {
    return this.#usedBytes <= this.limitBytes && this.live.count <= this.limitBlocks;
  }

  #refusal(bytes: number): MemoryError {
    const limit =
      this.live.count < this.limitBlocks ? `${exactBytes(this.limitBytes)}, rounding included` : `${this.limitBlocks} blocks`;
    return this.outOfMemory(bytes, {
      allocatedBytes: this.#usedBytes,
      limitBytes: this.limitBytes,
      quota: `limited to ${limit}; ${counted(this.live.count, 'block')} live`,
    });
  }
}

function checkLimit(name: string, value = Number.POSITIVE_INFINITY): number {
  const isLimit = value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && value >= 0);
  checkArgument(isLimit, name, value, 'an integer of at least 0, or Infinity');
  return value;
}
