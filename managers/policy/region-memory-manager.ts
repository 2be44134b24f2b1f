import { MANAGER_LOCK, USER_LOCK } from '../../src/blocks/block-rows.js';
import { type CarvedRegion, NO_BLOCK } from '../../src/blocks/carved-region.js';
import { DeviceMemoryManager, type ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import { Regions, type RegionsOfDevice } from '../../src/blocks/regions.js';
import { ALL_CACHED, type ReleaseBounds } from '../../src/blocks/release-bounds.js';
import { attempt } from '../../src/core/attempt.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import * as stackRoom from '../../src/core/stack-room.js';
import { type DevicePtr, exactBytes, NULL_PTR } from '../../src/core/units.js';
import { policyFault } from './policy-fault.js';

// A binding of its own: V8 looks an imported one up, and checks it, each time.
const { checkStackRoom } = stackRoom;

/** A native allocation that is to become a region. */
export interface RegionPlan {
  readonly bytes: number;
  /** Bytes, a power of two. */
  readonly alignment: number;
  /** Whether it is for one block, with which it ends. @defaultValue false */
  readonly forOne?: boolean;
}

/**
 * The base of the policies that carve native segments by one rule: arena, scratch, slab, buddy.
 *
 * A policy says how large a region is ({@link plan}) and how it is carved ({@link carve}).
 *
 * Invariants, for each device: `reserved == sum(bytes of regions)`, `allocated == sum(bytes of live blocks)`.
 */
export abstract class RegionMemoryManager<R extends CarvedRegion> extends DeviceMemoryManager<RegionsOfDevice<R>> {
  protected readonly regions: Regions<R>;

  /**
   * @param deviceCount - devices managed from the start, ids 0 to deviceCount - 1
   * @throws ERR_MEM_INVALID_ARGUMENT for a count that is no positive integer
   */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: ManagerOptions = {}) {
    const regions = new Regions<R>();
    super(deviceCount, deviceInterface, options, regions);
    this.regions = regions;
  }

  /** Decides how large a new region for a block of so many bytes is. @throws when the policy refuses the block */
  protected abstract plan(bytes: number, alignment: number, device: number): RegionPlan;

  /** Makes a region of native memory. */
  protected abstract carve(base: number, plan: RegionPlan, device: number): R;

  protected override get policyMethods(): readonly string[] {
    return ['plan', 'carve'];
  }

  /** Makes room in a region that has no live block, where there is any to make. */
  protected recycle(_region: R): void {}

  override allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    this.checkRequest(bytes, alignment, stream);
    if (bytes === 0) return NULL_PTR;
    const device = this.deviceInterface.getActiveDeviceId();
    const held = this.regions.get(device) ?? this.managedDevice(device);
    const lock = userLock ? USER_LOCK : MANAGER_LOCK;
    checkStackRoom();
    let block = held.current === undefined ? NO_BLOCK : held.current.take(bytes, alignment, lock);
    if (block === NO_BLOCK) block = this.#takeElsewhere(held, bytes, alignment, lock);
    const region = held.current!;
    held.stats.allocated(bytes, region.bytesOf(block));
    return region.addressOf(block) as DevicePtr;
  }

  protected override unhold(ptr: DevicePtr, lock: number): void {
    checkStackRoom();
    const region = this.regions.at(ptr);
    const block = region === undefined ? NO_BLOCK : region.find(ptr);
    const locks = block === NO_BLOCK ? 0 : region!.locksOf(block);
    if (locks === 0) this.refuse(ptr);
    const rest = locks & ~lock;
    if (rest !== 0) region!.setLocks(block, rest);
    else this.#free(region!, block);
  }

  /** Regions without a live block. */
  override idleBytes(device: number): number {
    const regions = this.regions.get(device)?.regions ?? [];
    return regions.reduce((bytes, region) => bytes + (region.live === 0 ? region.bytes : 0), 0);
  }

  /** Gives regions of a device back that have no live block. */
  protected trim(device: number, bounds: ReleaseBounds = ALL_CACHED): void {
    const held = this.managedDevice(device);
    bounds.giveBack([...held.regions], {
      bytesOf: (region) => (region.live === 0 && this.regions.has(region) ? region.bytes : 0),
      release: (region) => this.#release(held, region),
    });
  }

  protected override get trimsInParts(): boolean {
    return true;
  }

  #free(region: R, block: number): void {
    const held = this.regions.get(region.device)!;
    if (region.live === 1 && this.regions.isForOne(region)) this.#release(held, region, block);
    else {
      const requested = region.requestedOf(block);
      const bytes = region.bytesOf(block);
      region.give(block);
      held.stats.freed(requested, bytes);
      if (held.current !== region) held.current = region;
    }
    this.lifecycle.onFree?.();
  }

  /** Makes a block in a region that has room, or in a new one; that one is then the current one. */
  #takeElsewhere(held: RegionsOfDevice<R>, bytes: number, alignment: number, lock: number): number {
    for (const region of held.regions) {
      if (region.live === 0) this.recycle(region);
      const block = region.take(bytes, alignment, lock);
      if (block === NO_BLOCK) continue;
      held.current = region;
      return block;
    }
    const region = this.#addRegion(held, bytes, alignment);
    const block = region.take(bytes, alignment, lock);
    if (block !== NO_BLOCK) return block;
    const isAligned = alignment === 0 || region.base % alignment === 0;
    this.#release(held, region);
    // The device has not kept to the alignment.
    if (!isAligned) throw new MemoryError('ERR_MEM_INVALID_ALIGNMENT', { alignmentBytes: alignment });
    throw policyFault(this, 'carve', `a region with room for a block of ${exactBytes(bytes)}`, 'one without');
  }

  #addRegion(held: RegionsOfDevice<R>, bytes: number, alignment: number): R {
    const plan = this.plan(bytes, alignment, held.device);
    if (!(plan?.bytes >= bytes)) {
      throw policyFault(
        this,
        'plan',
        `a region of at least ${exactBytes(bytes)}`,
        plan === undefined ? 'none' : exactBytes(plan.bytes),
      );
    }
    const base = this.askDevice(held, plan.bytes, plan.alignment, bytes);
    if (base === NULL_PTR) throw this.outOfMemory(held, bytes, plan.bytes);
    held.underway++;
    try {
      const region = this.carve(base, plan, held.device);
      if (region === undefined) throw policyFault(this, 'carve', 'a region', 'none');
      this.regions.add(held, region, plan.forOne === true);
      held.stats.misses++;
      return region;
    } catch (cause) {
      attempt(() => this.deviceInterface.nativeFree(base));
      if (MemoryError.is(cause)) throw cause;
      // There was no memory for the tables of so large a region.
      throw this.outOfMemory(held, bytes, plan.bytes, { cause });
    } finally {
      held.underway--;
    }
  }

  /** Gives a region back, with its only live block if one is named. */
  #release(held: RegionsOfDevice<R>, region: R, block = NO_BLOCK): void {
    this.giveBack(held, () => {
      const leaving = this.regions.leave(held, region);
      if (block === NO_BLOCK) return leaving;
      const requested = region.requestedOf(block);
      const bytes = region.bytesOf(block);
      held.stats.freed(requested, bytes);
      return {
        ...leaving,
        putBack: () => {
          leaving.putBack();
          held.stats.heldAgain(requested, bytes);
        },
      };
    });
  }
}
