import { MANAGER_LOCK, USER_LOCK } from '../../src/blocks/block-rows.js';
import { type CarvedRegion, NO_BLOCK } from '../../src/blocks/carved-region.js';
import { ensure } from '../../src/blocks/ensure.js';
import type { LogSink } from '../../src/core/call-log.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { formatInfo, type MemoryStatsSnapshot } from '../../src/core/memory-statistics.js';
import * as stackRoom from '../../src/core/stack-room.js';
import { checkAlignment, checkBytes, type DevicePtr, devicePtr, NULL_PTR } from '../../src/core/units.js';
import type { ManagerOptions } from './block-memory-manager.js';
import { RegionStats } from './region-stats.js';
import { waitForDefaultStream } from './stream-order.js';
import { tryAll } from './try-all.js';

// A binding of its own: V8 looks an imported one up, and checks it, each time.
const { checkStackRoom, checkStackRoomHere } = stackRoom;

const MAX_DEVICES = 65_536;

/** What is held on one device. */
export interface RegionsOfDevice<R> {
  readonly stats: RegionStats;
  readonly regions: R[];
  /** Where room is looked for first. */
  current: R | undefined;
  /** Native calls that are being made. */
  underway: number;
}

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
 * It keeps the regions, the locks, the statistics of each device, the retry after a failed native call, and `printInfo`.
 * A policy says how large a region is ({@link plan}) and how it is carved ({@link carve}).
 *
 * Invariants, for each device: `reserved == sum(bytes of regions)`, `allocated == sum(bytes of live blocks)`.
 */
export abstract class RegionMemoryManager<R extends CarvedRegion> extends MemoryManagerAdapter {
  readonly #devices: (RegionsOfDevice<R> | undefined)[] = [];
  /** All regions by address. */
  readonly #byAddress: R[] = [];
  /** Those that go back to the device with their only block. */
  readonly #forOne = new Set<R>();
  /** The region of the last pointer. */
  #lastFound: R | undefined;

  /**
   * @param deviceCount - devices managed from the start, ids 0 to deviceCount - 1
   * @throws ERR_MEM_INVALID_ARGUMENT for a count that is no positive integer
   */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: ManagerOptions = {}) {
    super(deviceInterface, options.logStream);
    if (!Number.isInteger(deviceCount) || deviceCount < 1 || deviceCount > MAX_DEVICES) {
      const expected = `an integer from 1 to ${MAX_DEVICES}`;
      throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'deviceCount', value: String(deviceCount), expected });
    }
    for (let device = 0; device < deviceCount; device++) this.#devices[device] = emptyDevice();
  }

  /** Decides how large a new region for a block of so many bytes is. @throws when the policy refuses the block */
  protected abstract plan(bytes: number, alignment: number, device: number): RegionPlan;

  /** Makes a region of native memory. */
  protected abstract carve(base: number, plan: RegionPlan, device: number): R;

  /** Makes room in a region that has no live block, where there is any to make. */
  protected recycle(_region: R): void {}

  initialize(): void {}

  shutdown(): void {
    try {
      this.signalMemoryCleanup();
    } finally {
      this.callLog.flush();
    }
  }

  allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    checkBytes(bytes);
    if (alignment !== 0) checkAlignment(alignment);
    if (stream !== 0) throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'stream order', platform: this.name });
    if (bytes === 0) return NULL_PTR;
    const held = this.#devices[this.deviceInterface.getActiveDeviceId()] ?? this.#refuseDevice();
    const lock = userLock ? USER_LOCK : MANAGER_LOCK;
    checkStackRoom();
    let region = held.current;
    let block = region === undefined ? NO_BLOCK : region.take(bytes, alignment, lock);
    if (block === NO_BLOCK) {
      block = this.#takeElsewhere(held, bytes, alignment, lock);
      region = held.current;
    }
    held.stats.allocated(bytes, region!.bytesOf(block));
    return region!.addressOf(block) as DevicePtr;
  }

  allocated(ptr: DevicePtr): number {
    const region = this.#regionOf(ptr);
    const block = region === undefined ? NO_BLOCK : region.find(ptr);
    return block === NO_BLOCK || region!.locksOf(block) === 0 ? 0 : region!.bytesOf(block);
  }

  unlock(ptr: DevicePtr, userUnlock: boolean): void {
    if (ptr === NULL_PTR) return;
    checkStackRoom();
    const last = this.#lastFound;
    const region = last !== undefined && ptr >= last.base && ptr < last.base + last.bytes ? last : this.#search(ptr);
    const block = region === undefined ? NO_BLOCK : region.find(ptr);
    if (block === NO_BLOCK) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    const locks = region!.locksOf(block);
    if (locks === 0) throw new MemoryError('ERR_MEM_DOUBLE_FREE', { pointer: ptr });
    const rest = locks & ~(userUnlock ? USER_LOCK : MANAGER_LOCK);
    if (rest !== 0) region!.setLocks(block, rest);
    else this.#free(region!, block);
  }

  userLock(ptr: DevicePtr): void {
    if (ptr === NULL_PTR) return;
    const region = this.#regionOf(ptr);
    const block = region === undefined ? NO_BLOCK : region.find(ptr);
    const locks = block === NO_BLOCK ? 0 : region!.locksOf(block);
    if (locks === 0) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    region!.setLocks(block, locks | USER_LOCK);
  }

  userUnlock(ptr: DevicePtr): void {
    this.unlock(ptr, true);
  }

  isUserLocked(ptr: DevicePtr): boolean {
    const region = this.#regionOf(ptr);
    const block = region === undefined ? NO_BLOCK : region.find(ptr);
    return block !== NO_BLOCK && (region!.locksOf(block) & USER_LOCK) !== 0;
  }

  /** Gives regions without live blocks back. */
  signalMemoryCleanup(): void {
    tryAll(this.held(), (held) => this.#trim(held));
  }

  /** Starts to manage one more device; does nothing for one that is managed. */
  override addMemoryManagement(device: number): void {
    if (!Number.isInteger(device) || device < 0 || device >= MAX_DEVICES) this.#refuseDevice(device);
    this.#devices[device] ??= emptyDevice();
  }

  /**
   * Gives a device's regions back and stops managing it; does nothing for one that is not managed.
   *
   * @throws ERR_MEM_DEVICE_BUSY when blocks of it are live, or from inside a native call for it
   */
  override removeMemoryManagement(device: number): void {
    const held = this.#devices[device];
    if (held === undefined) return;
    do {
      const { liveBlocks } = held.stats;
      if (liveBlocks + held.underway > 0) throw new MemoryError('ERR_MEM_DEVICE_BUSY', { device, liveBlocks });
      this.#trim(held);
      // A native call may have come back with an allocation.
    } while (held.regions.length > 0);
    this.#devices[device] = undefined;
  }

  override liveBlockCount(): number {
    return this.#devices.reduce((sum, held) => sum + (held?.stats.liveBlocks ?? 0), 0);
  }

  /** @throws ERR_MEM_INVALID_DEVICE */
  override getMemoryStats(device: number = this.deviceInterface.getActiveDeviceId()): MemoryStatsSnapshot {
    return this.heldOn(device).stats.snapshot();
  }

  /** @throws ERR_MEM_INVALID_DEVICE */
  printInfo(message: string, device: number, sink: LogSink = process.stdout): void {
    const stats = this.heldOn(device).stats.snapshot();
    const capacityBytes = this.deviceInterface.getMaxMemorySize(device);
    sink.write(formatInfo({ message, name: this.name, device, capacityBytes, stats }));
  }

  /** Bytes of the manager's own tables. */
  get metadataBytes(): number {
    return this.#byAddress.reduce((sum, region) => sum + region.metadataBytes, 0);
  }

  /**
   * Checks the invariants of the whole manager, in O(blocks). For tests.
   *
   * @throws ERR_MEM_INVARIANT
   */
  checkInvariants(): void {
    this.#byAddress.forEach((region, i) => {
      const next = this.#byAddress[i + 1];
      ensure(next === undefined || region.base + region.bytes <= next.base, 'regions ascend and do not overlap');
      region.checkInvariants();
    });
    let regionCount = 0;
    for (const [device, held] of this.#devices.entries()) {
      if (held === undefined) continue;
      const { stats, regions, current } = held;
      regionCount += regions.length;
      const sum = (of: (region: R) => number) => regions.reduce((total, region) => total + of(region), 0);
      const live = (region: R, of: (block: number) => number) => region.liveBlocks().reduce((total, b) => total + of(b), 0);
      ensure(stats.reservedBytes === sum((r) => r.bytes), `reserved == sum(region.bytes) on device ${device}`);
      ensure(
        stats.allocatedBytes === sum((r) => live(r, (b) => r.bytesOf(b))),
        `allocated == sum(live.bytes) on device ${device}`,
      );
      ensure(stats.liveBlocks === sum((r) => r.live), `blocks == live blocks on device ${device}`);
      ensure(current === undefined || regions.includes(current), 'the current region is one of the device');
    }
    ensure(regionCount === this.#byAddress.length, 'every region belongs to a device');
  }

  /** What is held on a device. @throws ERR_MEM_INVALID_DEVICE */
  protected heldOn(device: number): RegionsOfDevice<R> {
    return this.#devices[device] ?? this.#refuseDevice(device);
  }

  /** The devices that are managed. */
  protected *held(): Generator<RegionsOfDevice<R>> {
    for (const held of this.#devices) if (held !== undefined) yield held;
  }

  /** Tells whether a region was got for one block. */
  protected isForOne(region: R): boolean {
    return this.#forOne.has(region);
  }

  /** The region that an address lies in. Cost: O(log regions), and less for neighbours of the last one. */
  protected regionOf(ptr: DevicePtr): R | undefined {
    return this.#regionOf(ptr);
  }

  #regionOf(ptr: DevicePtr): R | undefined {
    const last = this.#lastFound;
    return last !== undefined && ptr >= last.base && ptr < last.base + last.bytes ? last : this.#search(ptr);
  }

  #search(ptr: DevicePtr): R | undefined {
    const region = this.#byAddress[this.#placeOf(ptr) - 1];
    if (region === undefined || !(ptr < region.base + region.bytes)) return undefined;
    this.#lastFound = region;
    return region;
  }

  /** How many regions begin at or before an address. */
  #placeOf(address: number): number {
    const regions = this.#byAddress;
    let low = 0;
    let high = regions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (regions[middle]!.base <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #free(region: R, block: number): void {
    const held = this.#devices[region.device]!;
    const requested = region.requestedOf(block);
    const bytes = region.bytesOf(block);
    if (region.live === 1 && this.#forOne.has(region)) {
      held.stats.freed(requested, bytes);
      try {
        this.#release(held, region);
      } catch (error) {
        held.stats.heldAgain(requested, bytes);
        throw error;
      }
    } else {
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
    // The device has not kept to the alignment.
    this.#release(held, region);
    throw new MemoryError('ERR_MEM_INVALID_ALIGNMENT', { alignmentBytes: alignment });
  }

  #addRegion(held: RegionsOfDevice<R>, bytes: number, alignment: number): R {
    const { stats } = held;
    const device = this.deviceInterface.getActiveDeviceId();
    const plan = this.plan(bytes, alignment, device);
    let cause: unknown;
    for (let attempt = 0; attempt < 2; attempt++) {
      if (attempt === 1) {
        stats.retries++;
        this.#trim(held);
      }
      // Rounding may have carried the size beyond what a number holds exactly: no device has that much.
      if (!Number.isSafeInteger(plan.bytes)) continue;
      // What the device gives is entered without fail.
      checkStackRoomHere();
      held.underway++;
      try {
        const base = devicePtr(this.deviceInterface.nativeAlloc(plan.bytes, plan.alignment));
        if (base !== NULL_PTR) return this.#adopt(held, this.carve(base, plan, device), plan.forOne === true);
      } catch (error) {
        if (MemoryError.is(error) && error.code !== 'ERR_MEM_OUT_OF_MEMORY') throw error;
        cause = error;
      } finally {
        held.underway--;
      }
    }
    throw this.outOfMemory(bytes, device, plan.bytes, cause);
  }

  /** Counts a refusal and makes its error. */
  protected outOfMemory(
    requestedBytes: number,
    device: number,
    segmentBytes: number,
    cause?: unknown,
    quota?: string,
  ): MemoryError {
    const { stats } = this.heldOn(device);
    stats.ooms++;
    return new MemoryError(
      'ERR_MEM_OUT_OF_MEMORY',
      {
        requestedBytes,
        allocatedBytes: stats.allocatedBytes,
        reservedBytes: stats.reservedBytes,
        capacityBytes: this.deviceInterface.getMaxMemorySize(device),
        device,
        ...(segmentBytes === requestedBytes ? {} : { segmentBytes }),
        ...(quota === undefined ? {} : { quota }),
      },
      cause,
    );
  }

  #adopt(held: RegionsOfDevice<R>, region: R, forOne: boolean): R {
    this.#enter(held, region, forOne, held.regions.length);
    held.current = region;
    held.stats.reserved(region.bytes);
    held.stats.misses++;
    return region;
  }

  /** Enters a region in the books, as the `at`-th of its device. */
  #enter(held: RegionsOfDevice<R>, region: R, forOne: boolean, at: number): void {
    if (forOne) this.#forOne.add(region);
    this.#byAddress.splice(this.#placeOf(region.base), 0, region);
    held.regions.splice(at, 0, region);
  }

  /** Gives back the regions of a device that have no live block. */
  #trim(held: RegionsOfDevice<R>): void {
    tryAll([...held.regions], (region) => {
      // A native call before may have come back with an allocation, or a cleanup of its own.
      if (region.live === 0 && this.#byAddress[this.#placeOf(region.base) - 1] === region) this.#release(held, region);
    });
  }

  /** Gives a region back, once stream 0 does not work on it. It is in no book meanwhile, and in all of them again when that fails. */
  #release(held: RegionsOfDevice<R>, region: R): void {
    checkStackRoomHere();
    const { regions, current } = held;
    const at = regions.indexOf(region);
    regions.splice(at, 1);
    this.#byAddress.splice(this.#placeOf(region.base) - 1, 1);
    const wasForOne = this.#forOne.delete(region);
    if (current === region) held.current = regions.at(-1);
    if (this.#lastFound === region) this.#lastFound = undefined;
    held.stats.released(region.bytes);
    held.underway++;
    try {
      waitForDefaultStream(this.deviceInterface.streams, region.device);
      this.deviceInterface.nativeFree(region.base as DevicePtr);
    } catch (error) {
      this.#enter(held, region, wasForOne, at);
      held.stats.reservedAgain(region.bytes);
      throw error;
    } finally {
      held.underway--;
    }
  }

  #refuseDevice(device: number = this.deviceInterface.getActiveDeviceId()): never {
    throw new MemoryError('ERR_MEM_INVALID_DEVICE', { device, deviceCount: this.#devices.length });
  }
}

function emptyDevice<R>(): RegionsOfDevice<R> {
  return { stats: new RegionStats(), regions: [], current: undefined, underway: 0 };
}
