import { roundUp } from '../../src/blocks/carved-region.js';
import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import { powerIn, SlabCells } from '../../src/blocks/slab-cells.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { KiB } from '../../src/core/units.js';
import { checkPowerOfTwo, checkSize } from '../policy/check-options.js';
import { RegionMemoryManager, type RegionPlan } from '../policy/region-memory-manager.js';

/** Slabs grow with their number up to this many times the first one. */
const MAX_GROWTH = 64;

/** Options of a {@link SlabMemoryManager}. */
export interface SlabMemoryManagerOptions extends ManagerOptions {
  /** The one size that blocks have; rounded up to a multiple of `alignmentBytes`. @defaultValue 256 */
  readonly cellBytes?: number;
  /** The size of the first slab, rounded up to whole cells; later ones double, up to 64 times that. @defaultValue 64 KiB */
  readonly slabBytes?: number;
  /** Where cells begin: a power of two. @defaultValue 16 */
  readonly alignmentBytes?: number;
}

const OPTIONS: OwnOptions<SlabMemoryManagerOptions> = {
  of: () => SlabMemoryManager,
  names: {
    cellBytes: true,
    slabBytes: true,
    alignmentBytes: true,
    logStream: true,
  },
};

/**
 * Hands out cells of one size from a list of free ones. For nodes, packets, pages: many blocks alike.
 *
 * A block that is larger than a cell, or aligned more strictly than cells are, gets a native allocation of its own, and
 * gives it back when it is freed.
 */
export class SlabMemoryManager extends RegionMemoryManager<SlabCells> {
  readonly #cellBytes: number;
  readonly #slabBytes: number;
  readonly #unit: number;

  /** @throws ERR_MEM_INVALID_ARGUMENT for options that cannot be */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: SlabMemoryManagerOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super(deviceCount, deviceInterface, options);
    const { cellBytes = 256, slabBytes = 64 * KiB, alignmentBytes = 16 } = options;
    this.#unit = checkPowerOfTwo('alignmentBytes', alignmentBytes);
    this.#cellBytes = roundUp(checkSize('cellBytes', cellBytes), this.#unit);
    this.#slabBytes = checkSize('slabBytes', slabBytes);
  }

  /** The size that blocks have. */
  get cellBytes(): number {
    return this.#cellBytes;
  }

  override getMemStepSize(): number {
    return this.#cellBytes;
  }

  protected plan(bytes: number, alignment: number, device: number): RegionPlan {
    const cellAlignment = powerIn(this.#cellBytes);
    if (bytes > this.#cellBytes || alignment > cellAlignment) {
      return { bytes: roundUp(bytes, this.#unit), alignment: Math.max(alignment, this.#unit), forOne: true };
    }
    const slabs = this.managedDevice(device).regions.filter((region) => !this.regions.isForOne(region)).length;
    const wanted = this.#slabBytes * Math.min(2 ** slabs, MAX_GROWTH);
    return { bytes: Math.ceil(wanted / this.#cellBytes) * this.#cellBytes, alignment: cellAlignment };
  }

  protected carve(base: number, { bytes, forOne }: RegionPlan, device: number): SlabCells {
    return new SlabCells(base, bytes, device, forOne === true ? bytes : this.#cellBytes);
  }
}
