import { BumpRegion } from '../../src/blocks/bump-region.js';
import { NO_BLOCK, roundUp } from '../../src/blocks/carved-region.js';
import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { checkOwnOptions, type OptionNames, type OwnOptions } from '../../src/core/option-names.js';
import { processState } from '../../src/core/process-state.js';
import { checkStackRoom } from '../../src/core/stack-room.js';
import { type DevicePtr, formatBytes, MiB } from '../../src/core/units.js';
import { checkPowerOfTwo, checkSize } from '../policy/check-options.js';
import { RegionMemoryManager, type RegionPlan } from '../policy/region-memory-manager.js';

/** Regions grow with their number up to this many times the first one. */
const MAX_GROWTH = 64;

/** Options of an {@link ArenaMemoryManager}. */
export interface ArenaMemoryManagerOptions extends ManagerOptions {
  /** The size of the first region; later ones double, up to 64 times that. A block that is larger gets a region of its size. @defaultValue 1 MiB */
  readonly regionBytes?: number;
  /** How many regions there may be on a device; with 1 it is an arena of fixed size. @defaultValue no limit */
  readonly maxRegions?: number;
  /** Where blocks begin, and what their sizes are rounded up to: a power of two. @defaultValue 16 */
  readonly alignmentBytes?: number;
}

/** Their names. */
export const ARENA_OPTIONS: OptionNames<ArenaMemoryManagerOptions> = {
  regionBytes: true,
  maxRegions: true,
  alignmentBytes: true,
  logStream: true,
};

const OWN: OwnOptions<ArenaMemoryManagerOptions> = { of: () => ArenaMemoryManager, names: ARENA_OPTIONS };

/**
 * Puts blocks one behind the other, and frees all of them at once with {@link reset}. For what is needed together and ends
 * together: a request, a frame, a parse, a graph.
 *
 * A block that is unlocked is free, and a second unlock is an error as everywhere; but its place is used again only after
 * a reset, or when its whole region is free: then as soon as room is needed. `signalMemoryCleanup` gives regions without
 * live blocks back.
 *
 * `reset()` frees live blocks, too: their pointers are unknown from then on, and handles of a runtime throw
 * ERR_MEM_DISPOSED, also when another block lies at the same address by then. Decorators drop what it freed from their books.
 */
export class ArenaMemoryManager extends RegionMemoryManager<BumpRegion> {
  readonly #regionBytes: number;
  readonly #maxRegions: number;
  readonly #unit: number;
  /** Shows the era; a block's ticket is that in which it was made. */
  readonly #clock = Float64Array.of(nextEra());

  /** @throws ERR_MEM_INVALID_ARGUMENT for options that cannot be */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: ArenaMemoryManagerOptions = {}) {
    checkOwnOptions(OWN, new.target, options);
    super(deviceCount, deviceInterface, options);
    const { regionBytes = MiB, maxRegions = Number.POSITIVE_INFINITY, alignmentBytes = 16 } = options;
    this.#regionBytes = checkSize('regionBytes', regionBytes);
    this.#maxRegions = maxRegions === Number.POSITIVE_INFINITY ? maxRegions : checkSize('maxRegions', maxRegions);
    this.#unit = checkPowerOfTwo('alignmentBytes', alignmentBytes);
  }

  /** Bytes of the active device's regions that blocks took since the last reset, gaps for alignment included. */
  get used(): number {
    return this.#activeRegions.reduce((sum, region) => sum + region.used, 0);
  }

  /** Bytes of the active device's regions that are left. */
  get available(): number {
    return this.#activeRegions.reduce((sum, region) => sum + region.bytes - region.used, 0);
  }

  /** How much of the active device's regions is used, in percent; 0 before the first allocation. */
  get usagePercent(): number {
    const { used, available } = this;
    return used === 0 ? 0 : (100 * used) / (used + available);
  }

  /**
   * Frees every block on every device, held or not, and keeps the regions for what comes next. Cost: O(regions).
   */
  reset(): void {
    checkStackRoom();
    const wasEmpty = this.liveBlockCount() === 0;
    for (const held of this.regions.all) {
      held.stats.freedAll();
      for (const region of held.regions) region.clear();
      held.current = held.regions[0];
    }
    this.enterEra();
    if (!wasEmpty) this.#tellReset();
  }

  override getMemStepSize(): number {
    return this.#unit;
  }

  /** The era in which a live block was made: no other block of that address is of the same. */
  override ticketOf(ptr: DevicePtr): number {
    const region = this.regions.at(ptr);
    const block = region === undefined ? NO_BLOCK : region.find(ptr);
    return block === NO_BLOCK || region!.locksOf(block) === 0 ? 0 : region!.eraOf(block);
  }

  /** Begins a new era. @returns it: what is allocated from now on is of it, or of a later one */
  protected enterEra(): number {
    return (this.#clock[0] = nextEra());
  }

  /** Frees every block of that era and later ones, and uses their places again. Cost: O(blocks that go). */
  protected freeSince(era: number): void {
    checkStackRoom();
    let freed = 0;
    for (const { stats, regions } of this.regions.all) {
      for (const region of regions) {
        region.cut(era, (block) => {
          stats.freed(region.requestedOf(block), region.bytesOf(block));
          freed++;
        });
      }
    }
    this.enterEra();
    for (const held of this.regions.all) held.current = held.regions[0];
    if (freed > 0) this.#tellReset();
  }

  protected plan(bytes: number, alignment: number, device: number): RegionPlan {
    const held = this.managedDevice(device);
    const { regions, underway } = held;
    if (regions.length + underway >= this.#maxRegions) {
      const room = `the arena has ${formatBytes(this.available)} left of ${formatBytes(this.used + this.available)}`;
      throw this.outOfMemory(held, bytes, bytes, { quota: room });
    }
    const usual = roundUp(this.#regionBytes * Math.min(2 ** regions.length, MAX_GROWTH), this.#unit);
    const least = Math.max(alignment, this.#unit);
    // A region of fixed size has that size.
    const needed = this.#maxRegions === 1 ? usual : Math.max(usual, roundUp(bytes, this.#unit));
    if (needed < bytes) throw this.outOfMemory(held, bytes, bytes, { quota: `the arena has ${formatBytes(needed)}` });
    return { bytes: needed, alignment: least };
  }

  protected carve(base: number, { bytes }: RegionPlan, device: number): BumpRegion {
    return new BumpRegion(base, bytes, device, { unit: this.#unit, clock: this.#clock });
  }

  protected override recycle(region: BumpRegion): void {
    region.clear();
    this.enterEra();
  }

  #tellReset(): void {
    this.lifecycle.onReset?.();
    this.lifecycle.onFree?.();
  }

  get #activeRegions(): readonly BumpRegion[] {
    return this.managedDevice(this.deviceInterface.getActiveDeviceId()).regions;
  }
}

function nextEra(): number {
  return ++processState().lastEra;
}
