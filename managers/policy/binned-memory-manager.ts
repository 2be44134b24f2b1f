import * as blockRows from '../../src/blocks/block-rows.js';
import type { ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import type { FreeBlocks } from '../../src/blocks/free-blocks.js';
import { ALL_CACHED, type ReleaseBounds } from '../../src/blocks/release-bounds.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import * as stackRoom from '../../src/core/stack-room.js';
import type { DevicePtr } from '../../src/core/units.js';
import * as units from '../../src/core/units.js';
import { BlockMemoryManager } from './block-memory-manager.js';
import { checkDeviceStream } from './device-streams.js';
import { policyFault } from './policy-fault.js';
import { StreamOrder } from './stream-order.js';

// Bindings of their own: V8 looks imported ones up, and checks them, each time.
const { MANAGER_LOCK, NONE, USER_LOCK } = blockRows;
const { alignUp, checkAlignment, exactBytes, NULL_PTR } = units;
const { checkStackRoom } = stackRoom;

/**
 * The base of policies that keep free blocks in bins, cut blocks out of them and join those that come back.
 *
 * An allocation that a free block serves, and every free, is one call of the heap; the rest is here and in the policy,
 * which says how blocks are kept ({@link createBins}) and where memory comes from ({@link grow}). Blocks follow the order
 * of the device's streams.
 */
export abstract class BinnedMemoryManager extends BlockMemoryManager {
  readonly #unitBytes: number;
  readonly #orders: (StreamOrder | undefined)[] = [];
  // Whether the first heap serves: its device is the only one.
  #isAlone = false;

  /** @param unitBytes - all sizes are multiples of it */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: ManagerOptions, unitBytes: number) {
    super(deviceCount, deviceInterface, options);
    this.#unitBytes = unitBytes;
    this.blockAlignment = unitBytes;
  }

  /** Makes empty bins; those of group 0 are the first ones of a device, later ones belong to streams. */
  protected abstract createBins(device: number, group: number): FreeBlocks;

  /**
   * Gets memory from the device until a block of at least `bytes` is in the idle bins.
   *
   * @returns that block
   * @throws ERR_MEM_OUT_OF_MEMORY, before anything is lost
   */
  protected abstract grow(bytes: number, idle: FreeBlocks, device: number): number;

  override getMemStepSize(): number {
    return this.#unitBytes;
  }

  // V8 inlines so many bytes of code into a loop, and no more: these few lines are the hot path, the rest is elsewhere.
  override allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    if (alignment === 0 && stream === 0) {
      checkStackRoom();
      const ptr = this.first.allocate(bytes, userLock ? USER_LOCK : MANAGER_LOCK);
      if (ptr !== NULL_PTR) return ptr as DevicePtr;
    }
    // The plus tells V8 that this is a number, too, so that it need not box the one above.
    return +this.#allocElsewhere(bytes, userLock, alignment, stream) as DevicePtr;
  }

  #allocElsewhere(bytes: number, userLock: boolean, alignment: number, stream: number): DevicePtr {
    if (!this.#isAlone && alignment === 0 && stream === 0) {
      checkStackRoom();
      const ptr = this.#activeBins().allocate(bytes, userLock ? USER_LOCK : MANAGER_LOCK);
      if (ptr !== NULL_PTR) return ptr as DevicePtr;
    }
    return super.allocBytes(bytes, userLock, alignment, stream);
  }

  /** @throws ERR_MEM_UNSUPPORTED_PLATFORM when the device has no streams; ERR_MEM_INVALID_ARGUMENT for what is no stream */
  override recordStream(ptr: DevicePtr, stream: number): void {
    this.checkStream(stream);
    const block = this.liveBlock(ptr);
    if (block === NONE) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    this.#orderOf(this.blocks.deviceOf(block)).addUser(block, stream);
  }

  protected override forget(device: number): void {
    this.#orders[device] = undefined;
    if (device === 0) this.#isAlone = false;
  }

  protected override checkStream(stream: number): void {
    checkDeviceStream(this.deviceInterface.streams, stream, this.name);
  }

  protected place(bytes: number, alignment: number, stream: number, device: number): number {
    const order = this.#orderOf(device);
    if (alignment > this.blockAlignment) return this.#placeAligned(bytes, alignment, stream, order, device);
    this.#prepare(stream, order, device);
    const found = order.take(stream, bytes);
    if (found !== NONE) return found;
    const block = this.#growFor(bytes, order, device);
    if (alignment > this.blockAlignment) return this.#placeAligned(bytes, alignment, stream, order, device);
    order.idle.carve(block, alignUp(bytes, this.#unitBytes));
    return this.#setOwner(block, stream, order, device);
  }

  /** Called for blocks alone that several streams used; others the kernel takes back. */
  protected reclaim(block: number): void {
    this.#orderOf(this.blocks.deviceOf(block)).giveBack(block);
  }

  /** Gives idle memory back. All of it is waited for; a part is what streams are done with already. */
  protected trim(device: number, bounds: ReleaseBounds = ALL_CACHED): void {
    const order = this.#orders[device];
    if (order === undefined) return;
    if (bounds.isAll) order.waitUntil(() => false);
    else if (order.hasPending) order.collect();
    for (const part of order.idle.parts) part.flush();
    this.trimIdle(order.idle, device, bounds);
  }

  protected override get trimsInParts(): boolean {
    return true;
  }

  /** Gives back what can be of idle blocks, none of which is in a front. Here: whole segments. */
  protected trimIdle(idle: FreeBlocks, _device: number, bounds: ReleaseBounds): void {
    this.releaseSegments(idle.parts, bounds);
  }

  protected override makeRoom(device: number, requestedBytes: number): boolean {
    if (this.waitForFit(device, requestedBytes)) return true;
    return super.makeRoom(device, requestedBytes);
  }

  protected override settle(device: number): void {
    this.#orders[device]?.settle();
  }

  /** Waits for streams, the oldest work first, while that may make a block of at least `bytes` idle. @returns whether one is */
  protected waitForFit(device: number, bytes: number): boolean {
    const order = this.#orders[device];
    if (order === undefined || !order.hasPending) return false;
    const isEnough = () => this.canServe(order.idle, bytes);
    order.waitUntil(isEnough);
    return isEnough();
  }

  override checkInvariants(): void {
    super.checkInvariants();
    this.checkBins(this.#orders.flatMap((order) => order?.all ?? []));
  }

  /** Tells whether idle blocks have one for a request. Here: those that may be used again. */
  protected canServe(idle: FreeBlocks, bytes: number): boolean {
    return idle.usable(bytes) !== NONE;
  }

  /** Sees to the bins of a stream. The first allocation of a stream other than 0 gives stream 0 bins of its own, too. */
  #prepare(stream: number, order: StreamOrder, device: number): void {
    order.binsOf(stream);
    this.#serveFrom(order.binsOf(0), device);
  }

  /**
   * Makes a block belong to the bins that its stream has by now: the native call that got it may have come back with the
   * first allocation of another stream.
   */
  #setOwner(block: number, stream: number, order: StreamOrder, device: number): number {
    this.managedDevice(device).setOwner(block, order.binsOf(stream));
    return block;
  }

  /** Lets the hot path take from stream 0's free blocks of a device, if it is the only one. */
  #serveFrom(bins: FreeBlocks, device: number): void {
    if (this.deviceInterface.deviceCount !== 1 || this.blocks.get(device) !== this.first) return;
    this.first.serveFrom(bins);
    this.#isAlone = true;
  }

  /** Stream 0's free blocks of the active device. */
  #activeBins(): FreeBlocks {
    return this.#orderOf(this.deviceInterface.getActiveDeviceId()).binsOf(0);
  }

  #growFor(bytes: number, order: StreamOrder, device: number): number {
    const block = this.grow(bytes, order.idle, device);
    if (!(block > NONE && this.blocks.bytesOf(block) >= bytes && this.blocks.isInBins(block))) {
      throw policyFault(this, 'grow', `a block of at least ${exactBytes(bytes)} that is in the idle bins`, `${block}`);
    }
    this.noteAddress(this.blocks.addressOf(block));
    return block;
  }

  /** Places a block whose alignment blocks do not have: takes a larger one and cuts the front off. */
  #placeAligned(bytes: number, alignment: number, stream: number, order: StreamOrder, device: number): number {
    checkAlignment(alignment);
    const size = alignUp(bytes, this.#unitBytes);
    const step = Math.max(alignment, this.#unitBytes);
    this.#prepare(stream, order, device);
    let block = order.binsOf(stream).usable(size + step);
    if (block === NONE) {
      order.collect();
      block = order.idle.usable(size + step);
      if (block === NONE) block = this.#growFor(size + step, order, device);
    }
    return this.#setOwner(order.idle.carveAligned(block, size, step), stream, order, device);
  }

  #orderOf(device: number): StreamOrder {
    let order = this.#orders[device];
    if (order === undefined) {
      order = new StreamOrder(
        this.managedDevice(device),
        (group) => this.createBins(device, group),
        () => this.deviceInterface.streams,
      );
      this.#orders[device] = order;
      this.#serveFrom(order.idle, device);
    }
    return order;
  }
}
