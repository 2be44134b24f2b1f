import { NONE } from '../../src/blocks/block-rows.js';
import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { alignUp, MiB } from '../../src/core/units.js';
import { BinnedMemoryManager } from '../policy/binned-memory-manager.js';
import { leastSegmentBytes, MIN_BLOCK_BYTES, SMALL_BYTES, segmentBytes } from '../policy/segment-sizes.js';

export interface CachingMemoryManagerOptions extends ManagerOptions {
  /**
   * Free large blocks of this size and above are not reused.
   * @defaultValue FL_MEM_RECYCLING_SIZE_MB of the environment in MiB, or no limit
   */
  readonly recyclingSizeLimitBytes?: number;
  /**
   * Blocks of this size and above are not split.
   * @defaultValue FL_MEM_SPLIT_SIZE_MB of the environment in MiB, or no limit
   */
  readonly splitSizeLimitBytes?: number;
}

const OPTIONS: OwnOptions<CachingMemoryManagerOptions> = {
  of: () => CachingMemoryManager,
  names: {
    recyclingSizeLimitBytes: true,
    splitSizeLimitBytes: true,
    logStream: true,
  },
};

/**
 * Keeps freed segments and hands out parts of them: best fit, splitting and coalescing, with pools for small and large
 * blocks. Flashlight's policy decision for decision; its answers are the same addresses.
 *
 * @see Source: Flashlight, fl::CachingMemoryManager
 */
export class CachingMemoryManager extends BinnedMemoryManager {
  /** By device: all that {@link createBins} made, so that new limits reach them. */
  readonly #bins: FreeBlocks[][] = [];
  #recyclingSizeLimitBytes = Number.POSITIVE_INFINITY;
  #splitSizeLimitBytes = Number.POSITIVE_INFINITY;

  /**
   * @param deviceCount - devices managed from the start
   * @throws ERR_MEM_INVALID_ARGUMENT for a limit that is no size, also in the environment
   */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: CachingMemoryManagerOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super(deviceCount, deviceInterface, options, MIN_BLOCK_BYTES);
    this.setRecyclingSizeLimit(options.recyclingSizeLimitBytes ?? limitFromEnvironment('FL_MEM_RECYCLING_SIZE_MB'));
    this.setSplitSizeLimit(options.splitSizeLimitBytes ?? limitFromEnvironment('FL_MEM_SPLIT_SIZE_MB'));
  }

  /** Free large blocks of `bytes` and above are not reused from now on. @throws ERR_MEM_INVALID_ARGUMENT */
  setRecyclingSizeLimit(bytes: number): void {
    checkLimit('recycling size limit', bytes);
    this.#recyclingSizeLimitBytes = bytes;
    this.#applyLimits();
  }

  /** Blocks of `bytes` and above are not split from now on. @throws ERR_MEM_INVALID_ARGUMENT */
  setSplitSizeLimit(bytes: number): void {
    checkLimit('split size limit', bytes);
    this.#splitSizeLimitBytes = bytes;
    this.#applyLimits();
  }

  protected createBins(device: number, group: number): FreeBlocks {
    const options = { device, group, unitBytes: MIN_BLOCK_BYTES, fit: 'exact' } as const;
    const bins = this.createFreeBlocks({ ...options, leastRestBytes: SMALL_BYTES });
    bins.pairWith(this.createFreeBlocks(options), SMALL_BYTES);
    bins.setLimits(this.#recyclingSizeLimitBytes, this.#splitSizeLimitBytes);
    (this.#bins[device] ??= []).push(bins);
    return bins;
  }

  protected override forget(device: number): void {
    super.forget(device);
    delete this.#bins[device];
  }

  protected grow(bytes: number, idle: FreeBlocks, device: number): number {
    const size = alignUp(bytes, MIN_BLOCK_BYTES);
    const block = this.nativeAllocate(segmentBytes(size), MIN_BLOCK_BYTES, device, bytes, leastSegmentBytes(size));
    if (block === NONE) return idle.usable(bytes);
    const [large, small] = idle.parts;
    (size <= SMALL_BYTES ? small! : large!).putIn(block);
    return block;
  }

  #applyLimits(): void {
    for (const bins of this.#bins.flat()) bins.setLimits(this.#recyclingSizeLimitBytes, this.#splitSizeLimitBytes);
  }
}

function checkLimit(name: string, bytes: number): void {
  if (!(bytes >= 0)) {
    throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value: String(bytes), expected: 'a size in bytes, or Infinity' });
  }
}

/** Reads a limit in MiB, which may have decimals. */
function limitFromEnvironment(name: string): number {
  const text = process.env[name];
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const mebibytes = Number(text);
  if (!/^\s*\d+(\.\d*)?\s*$/.test(text)) {
    throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
      name,
      value: JSON.stringify(text),
      expected: 'a number of MiB, such as 512 or 0.5',
    });
  }
  return Math.round(mebibytes * MiB);
}
