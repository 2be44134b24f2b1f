import { BuddyTree, buddyRegionBytes } from '../../src/blocks/buddy-tree.js';
import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { KiB, MiB } from '../../src/core/units.js';
import { checkPowerOfTwo } from '../policy/check-options.js';
import { RegionMemoryManager, type RegionPlan } from '../policy/region-memory-manager.js';

/** So that tables stay small: in larger regions the smallest block is larger. */
const MAX_LEAVES = 2 ** 20;
const MAX_REGION_ALIGNMENT = 64 * KiB;

/** Options of a {@link BuddyMemoryManager}. */
export interface BuddyMemoryManagerOptions extends ManagerOptions {
  /** The size of a region: a power of two. A block that is larger gets a region of the next power of two. @defaultValue 16 MiB */
  readonly regionBytes?: number;
  /** The size of the smallest block: a power of two. @defaultValue 256 */
  readonly leafBytes?: number;
}

const OPTIONS: OwnOptions<BuddyMemoryManagerOptions> = {
  of: () => BuddyMemoryManager,
  names: { regionBytes: true, leafBytes: true, logStream: true },
};

/**
 * Hands out blocks of power-of-two sizes: halves a larger one until it fits, and joins two halves again as soon as both
 * are free. Every call is O(log) of the region's size, whatever was done before; a block wastes less than half of itself.
 *
 * For sizes that are powers of two anyhow (pages, tensors of a model, ring buffers), and where fragmentation must not grow.
 */
export class BuddyMemoryManager extends RegionMemoryManager<BuddyTree> {
  readonly #regionBytes: number;
  readonly #leafBytes: number;

  /** @throws ERR_MEM_INVALID_ARGUMENT for options that cannot be */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: BuddyMemoryManagerOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super(deviceCount, deviceInterface, options);
    const { regionBytes = 16 * MiB, leafBytes = 256 } = options;
    this.#leafBytes = checkPowerOfTwo('leafBytes', leafBytes);
    this.#regionBytes = Math.max(checkPowerOfTwo('regionBytes', regionBytes), this.#leafBytes);
  }

  override getMemStepSize(): number {
    return this.#leafBytes;
  }

  protected plan(bytes: number, alignment: number): RegionPlan {
    const needed = buddyRegionBytes(Math.max(bytes, alignment), this.#regionBytes);
    // Aligned, so that blocks are: those of whole pages begin at pages.
    const least = Math.max(alignment, Math.min(needed, MAX_REGION_ALIGNMENT));
    return { bytes: needed, alignment: least, forOne: needed > this.#regionBytes };
  }

  protected carve(base: number, { bytes, forOne }: RegionPlan, device: number): BuddyTree {
    return new BuddyTree(base, bytes, device, forOne === true ? bytes : Math.max(this.#leafBytes, bytes / MAX_LEAVES));
  }
}
