import { NONE } from '../../src/blocks/block-rows.js';
import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { alignUp, KiB } from '../../src/core/units.js';
import { BinnedMemoryManager } from '../policy/binned-memory-manager.js';
import { boundFront, type FrontBounds } from '../policy/front-bounds.js';
import { leastSegmentBytes, MIN_BLOCK_BYTES, segmentBytes } from '../policy/segment-sizes.js';

/** Time comes first here. */
const FRONT: FrontBounds = { share: 0.05, largestShare: 1, largestBytes: 64 * KiB };

/** Options of a {@link TlsfMemoryManager}. */
export interface TlsfMemoryManagerOptions extends ManagerOptions {}

const OPTIONS: OwnOptions<TlsfMemoryManagerOptions> = { of: () => TlsfMemoryManager, names: { logStream: true } };

/**
 * Keeps freed segments and hands out parts of them by two-level segregated fit: an allocation that needs no native call
 * and every free are O(1), amortised, however many blocks there are; O(log n) in a size class of many blocks where one was
 * once looked for in vain. For programs whose calls should take the least time. Small freed blocks wait in a bounded front
 * for a request of their size before they are joined with their neighbours.
 *
 * Segments have Flashlight's sizes: 2 MiB for blocks up to 1 MiB, 20 MiB for those below 10 MiB, multiples of 2 MiB above.
 *
 * @see Source: Masmano, Ripoll, Crespo, Real: TLSF, a new dynamic memory allocator for real-time systems, 2004
 */
export class TlsfMemoryManager extends BinnedMemoryManager {
  /** @param deviceCount - devices managed from the start */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: TlsfMemoryManagerOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super(deviceCount, deviceInterface, options, MIN_BLOCK_BYTES);
  }

  protected createBins(device: number, group: number): FreeBlocks {
    const bins = this.createFreeBlocks({ device, group, unitBytes: MIN_BLOCK_BYTES, fit: 'good' });
    if (group === 0) bins.addFront(0, 0);
    return bins;
  }

  protected grow(bytes: number, idle: FreeBlocks, device: number): number {
    const joined = idle.fitOrJoin(bytes);
    if (joined !== NONE) return joined;
    const size = alignUp(bytes, MIN_BLOCK_BYTES);
    const block = this.nativeAllocate(segmentBytes(size), MIN_BLOCK_BYTES, device, bytes, leastSegmentBytes(size));
    if (block === NONE) return idle.usable(bytes);
    idle.putIn(block);
    const { reservedBytes } = this.statsOf(device);
    boundFront(idle, FRONT, reservedBytes, this.deviceInterface.getMaxMemorySize(device) - reservedBytes);
    return block;
  }
}
