import type { DeviceHeap } from '../../src/blocks/device-heap.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import type { ReleaseBounds } from '../../src/blocks/release-bounds.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { alignUp } from '../../src/core/units.js';

/** Where a pool's memory comes from. */
export interface Backing {
  /**
   * Gets memory until a free block of at least `bytes` exists; gives whole free pages or segments back first where the
   * pool would otherwise hold more than it should. The deferred front is empty by then.
   *
   * @param cause - receives what the device threw
   * @returns that block, or NONE when the device has no memory
   * @throws what the device throws, unless it means out of memory; nothing has been lost then
   */
  grow(bytes: number, failure: { cause: unknown }): number;
  /** Gives memory back that no block lies in. @throws the first error of the device, after all was tried @defaultValue bounds is all */
  trim(bounds?: ReleaseBounds): void;
  /** Gives address ranges back that hold nothing. @throws what the device throws */
  close(): void;
}

/** What a backing works with. */
export interface BackingParts {
  readonly heap: DeviceHeap;
  /** The pool's free blocks that no stream works on. */
  readonly idle: FreeBlocks;
  readonly deviceInterface: MemoryManagerDeviceInterface;
  /** How much more than the peak of live bytes the pool may hold before it gives memory back, as a share. */
  readonly slack: number;
  /** Whether what the slack leaves is kept before all else, rounded up to a page, also by more native calls. */
  readonly keepsSlack: boolean;
  /** How many bytes the pool may hold in any case before it gives memory back. */
  readonly releaseThresholdBytes: number;
  /** Gives an idle block that is a whole segment back to the device. */
  readonly release: (block: number) => void;
  /** Gives idle blocks back that are whole segments. */
  readonly releaseSegments: (bounds: ReleaseBounds) => void;
  /** Waits until no stream works on idle blocks. Before each call that gives memory back: what came before may have come back with work. */
  readonly settle: () => void;
  /** Waits for streams while that may make a block of at least `bytes` idle. @returns whether one is */
  readonly waitForFit: (bytes: number) => boolean;
}

/** How far a pool grows beyond its limit at once, as a share of the peak: fewer calls for a little memory. */
const STEP_BEYOND_LIMIT = 0.0075;

/** How much a pool should hold when it grows for one block, and by how much it grows. Facts of one moment, asked for once. */
export class GrowthPlan {
  /** What the pool may hold in all: what the device has, or less where a budget says so. */
  readonly capacityBytes: number;
  /** The highest that live bytes have been, once the block is live. */
  readonly peakBytes: number;
  /** `min(capacity, max(peak live * (1 + slack), release threshold))` */
  readonly limitBytes: number;
  /** What the pool should not pass while anything can be given back: the limit rounded up to a page where that is kept, else the capacity. */
  readonly mostBytes: number;
  readonly #slack: number;

  /**
   * @param bytes - of the block
   * @param unitBytes - of what the pool gets, such as a page
   */
  constructor(parts: BackingParts, bytes: number, unitBytes: number) {
    const { slack, keepsSlack, releaseThresholdBytes, deviceInterface, heap } = parts;
    const { stats } = heap;
    this.#slack = slack;
    this.capacityBytes = deviceInterface.getMaxReservedSize(heap.device);
    this.peakBytes = Math.max(stats.allocatedPeakBytes, stats.allocatedBytes + bytes);
    this.limitBytes = Math.min(Math.max(this.peakBytes * (1 + slack), releaseThresholdBytes), this.capacityBytes);
    this.mostBytes = keepsSlack ? Math.min(alignUp(this.limitBytes, unitBytes), this.capacityBytes) : this.capacityBytes;
  }

  /** How many bytes to get at once when `bytes` are needed: what the limit leaves, or a small step beyond it. */
  stepFor(bytes: number, reservedBytes: number): number {
    const left = this.limitBytes - reservedBytes;
    const step = bytes > left ? this.peakBytes * STEP_BEYOND_LIMIT : Math.min(left, this.peakBytes * this.#slack);
    return Math.min(step, this.capacityBytes - reservedBytes);
  }
}
