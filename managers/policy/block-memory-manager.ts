import * as blockRows from '../../src/blocks/block-rows.js';
import type { DeviceHeap } from '../../src/blocks/device-heap.js';
import { DeviceHeaps } from '../../src/blocks/device-heaps.js';
import { DeviceMemoryManager, type ManagerOptions } from '../../src/blocks/device-memory-manager.js';
import { ensure } from '../../src/blocks/ensure.js';
import type { FreeBlocks, FreeBlocksOptions } from '../../src/blocks/free-blocks.js';
import * as kernelInterface from '../../src/blocks/kernel-interface.js';
import type { ReleaseBounds } from '../../src/blocks/release-bounds.js';
import { attempt } from '../../src/core/attempt.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import * as stackRoom from '../../src/core/stack-room.js';
import type { DevicePtr } from '../../src/core/units.js';
import * as units from '../../src/core/units.js';
import { policyFault } from './policy-fault.js';

// Bindings of their own: V8 looks imported ones up, and checks them, each time.
const { MANAGER_LOCK, NONE, USER_LOCK } = blockRows;
const { FREED, HELD, NOT_LIVE } = kernelInterface;
const { exactBytes, NULL_PTR } = units;
const { checkStackRoom } = stackRoom;

/**
 * The base of all policies that hand out blocks of native segments, which heaps keep: blocks are split, joined and kept.
 *
 * A policy says where a block comes from ({@link place}), where it goes when nobody holds it ({@link reclaim}), and what it
 * can give back ({@link trim}, with {@link nativeRelease}; a part of it where {@link trimsInParts}).
 *
 * Invariants, for each device: `reserved == sum(bytes of blocks with memory)`, `allocated == sum(bytes of live blocks)`,
 * and every block is found under its address. A heap is closed when its device is removed, and when the manager is shut down.
 */
export abstract class BlockMemoryManager extends DeviceMemoryManager<DeviceHeap> {
  /** The heaps, one a device that is managed. */
  protected readonly blocks: DeviceHeaps;
  /** The heap that device 0 has from the start, which V8 takes for constant. It may be closed: then it finds nothing. */
  protected readonly first: DeviceHeap;
  /** What every block's address is a multiple of: the policy's unit, or less when a table ignores alignments. */
  protected blockAlignment = 1;
  /** Calls under way that use heaps again when a native call has come back. */
  #underway = 0;
  #isShutDown = false;

  /**
   * @param deviceCount - devices managed from the start, ids 0 to deviceCount - 1
   * @throws ERR_MEM_INVALID_ARGUMENT for a count that is no positive integer
   */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: ManagerOptions = {}) {
    const blocks = new DeviceHeaps();
    super(deviceCount, deviceInterface, options, blocks);
    this.blocks = blocks;
    this.first = this.managedDevice(0);
  }

  /**
   * Finds or makes a free block of at least `bytes` and takes it out of whatever the policy keeps free blocks in.
   *
   * @param bytes - positive, as requested
   * @param alignment - bytes, or 0
   * @throws ERR_MEM_OUT_OF_MEMORY, before anything has changed
   */
  protected abstract place(bytes: number, alignment: number, stream: number, device: number): number;

  /** Takes a block back that nobody holds any more; its locks are cleared already. */
  protected abstract reclaim(block: number): void;

  protected override get policyMethods(): readonly string[] {
    return ['place', 'reclaim', 'trim'];
  }

  /** Gives all cached memory back, and closes the heaps: at once, or when the last block of them is gone. */
  override shutdown(): void {
    try {
      super.shutdown();
    } finally {
      this.#isShutDown = true;
      // Nobody but this manager listens from now on.
      this.lifecycle.onFree = () => this.#closeUnused();
      this.#closeUnused();
    }
  }

  override allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    this.checkRequest(bytes, alignment, stream);
    if (bytes === 0) return NULL_PTR;
    const device = this.deviceInterface.getActiveDeviceId();
    const { stats } = this.managedDevice(device);
    const { nativeAllocs } = stats;
    checkStackRoom();
    this.#underway++;
    try {
      const block = this.place(bytes, alignment, stream, device);
      if (!this.#isFree(block, bytes)) this.#refusePlaced(block, bytes);
      if (stats.nativeAllocs !== nativeAllocs) stats.misses++;
      return this.handOut(block, bytes, userLock ? USER_LOCK : MANAGER_LOCK);
    } finally {
      this.#underway--;
    }
  }

  override signalMemoryCleanup(): void {
    this.#givingBack(() => super.signalMemoryCleanup());
  }

  override releaseCached(device: number, wantedBytes: number, mostBytes: number): void {
    this.#givingBack(() => super.releaseCached(device, wantedBytes, mostBytes));
  }

  override checkInvariants(): void {
    super.checkInvariants();
    for (const heap of this.blocks.all) {
      const { device, stats } = heap;
      ensure(stats.reservedBytes === heap.memoryBytes, () => `reserved == sum(block.bytes) on device ${device}`);
      ensure(stats.allocatedBytes === heap.liveBytes, () => `allocated == sum(live block.bytes) on device ${device}`);
      ensure(
        stats.cachedBytes === stats.reservedBytes - stats.activeBytes,
        () => `cached == reserved - active on device ${device}`,
      );
    }
  }

  /** Makes free blocks of a device, which take their counts to its statistics. @throws ERR_MEM_INVALID_DEVICE */
  protected createFreeBlocks({ device, ...options }: FreeBlocksOptions & { readonly device: number }): FreeBlocks {
    return this.managedDevice(device).createFreeBlocks(options);
  }

  /** Free blocks that are whole segments. */
  override idleBytes(device: number): number {
    const heap = this.blocks.get(device);
    if (heap === undefined) return 0;
    let bytes = 0;
    for (const block of heap) {
      if (heap.isFree(block) && !heap.isHole(block) && heap.isWholeSegment(block)) bytes += heap.bytesOf(block);
    }
    return bytes;
  }

  override callsUnderway(): number {
    return this.#underway + super.callsUnderway();
  }

  protected override underwayOn(heap: DeviceHeap): number {
    return this.#underway + super.underwayOn(heap);
  }

  /** The live block that `ptr` heads, or {@link NONE}. */
  protected liveBlock(ptr: DevicePtr): number {
    return this.blocks.findLive(ptr);
  }

  /** Hands a block out that the policy no longer keeps: sets its lock and counts it. @returns its address */
  protected handOut(block: number, requestedBytes: number, lock: number): DevicePtr {
    return this.blocks.handOut(block, requestedBytes, lock) as DevicePtr;
  }

  protected override unhold(ptr: DevicePtr, lock: number): void {
    checkStackRoom();
    const outcome = this.first.release(ptr, lock);
    if (outcome !== FREED) this.#unholdElsewhere(outcome, ptr, lock);
    else this.lifecycle.onFree?.();
  }

  #givingBack(work: () => void): void {
    this.#underway++;
    try {
      work();
    } finally {
      this.#underway--;
    }
    if (this.#isShutDown) this.#closeUnused();
  }

  /** Tells whether it is a block that is free and has so many bytes. */
  #isFree(block: number, bytes: number): boolean {
    return block > NONE && this.blocks.bytesOf(block) >= bytes && this.blocks.isFree(block);
  }

  /** Throws for what {@link place} must not give. A block that is too short goes back to the policy. */
  #refusePlaced(block: number, bytes: number): never {
    const { blocks } = this;
    let given = `no block, but ${block}`;
    if ([...blocks].includes(block)) {
      given = blocks.isFree(block) ? `one of ${exactBytes(blocks.bytesOf(block))}` : 'one that is live';
      if (blocks.isFree(block) && !blocks.isInBins(block)) attempt(() => this.reclaim(block));
    }
    throw policyFault(this, 'place', `a free block of at least ${exactBytes(bytes)}`, given);
  }

  #unholdElsewhere(outcomeOfFirst: number, ptr: DevicePtr, lock: number): void {
    const outcome = outcomeOfFirst === NOT_LIVE ? this.blocks.release(ptr, lock) : outcomeOfFirst;
    if (outcome === HELD) return;
    if (outcome === NOT_LIVE) this.refuse(ptr);
    if (outcome !== FREED) this.#reclaim(outcome, ptr, lock);
    this.lifecycle.onFree?.();
  }

  #reclaim(outcome: number, ptr: DevicePtr, lock: number): void {
    this.#underway++;
    try {
      this.reclaim(outcome);
    } catch (error) {
      // As if the call had not been made, unless the policy had already parted with the block.
      if (this.blocks.find(ptr) === outcome) this.blocks.holdAgain(outcome, lock);
      throw error;
    } finally {
      this.#underway--;
    }
  }

  /**
   * Gets a segment from the device as one free block: tries, gives cached memory back, and tries once more.
   *
   * @param requestedBytes - what the caller of the manager asked for
   * @param leastBytes - of a segment that will do where a budget has no room for the whole
   * @returns it, or NONE when {@link makeRoom} made a free block that will do
   * @throws ERR_MEM_OUT_OF_MEMORY, or what the device throws with another code
   */
  protected nativeAllocate(bytes: number, alignment: number, device: number, requestedBytes: number, leastBytes = bytes): number {
    const ptr = this.askDevice(this.managedDevice(device), bytes, alignment, requestedBytes, leastBytes);
    return ptr === NULL_PTR ? NONE : this.enter(ptr, this.grantedBytes, device);
  }

  /** Makes memory that the device has just given a free block, or gives it back. @throws what {@link adopt} throws */
  protected enter(ptr: DevicePtr, bytes: number, device: number): number {
    try {
      return this.adopt(ptr, bytes, device);
    } catch (error) {
      attempt(() => this.deviceInterface.nativeFree(ptr));
      throw error;
    }
  }

  /**
   * Gives a free block that is a whole segment, and that the policy no longer keeps, back to the device; the block ceases to
   * exist. When that fails it is as before: the policy is to keep it again. As {@link giveBack}.
   */
  protected nativeRelease(block: number, release?: (ptr: DevicePtr) => void): void {
    const heap = this.managedDevice(this.blocks.deviceOf(block));
    this.#underway++;
    try {
      this.giveBack(heap, () => heap.leave(block), release);
    } finally {
      this.#underway--;
    }
  }

  /** Gives a block of these bins back to the device; it is there again when that fails. */
  protected releaseFrom(bins: FreeBlocks, block: number): void {
    bins.takeOut(block);
    try {
      this.nativeRelease(block);
    } catch (error) {
      bins.putIn(block);
      throw error;
    }
  }

  /** Gives free blocks in these bins back that are whole segments. @throws the first error of the device, after all were tried */
  protected releaseSegments(parts: readonly FreeBlocks[], bounds: ReleaseBounds): void {
    const { blocks } = this;
    const segmentsOf = (bins: FreeBlocks) => bins.toArray().filter((block) => blocks.isWholeSegment(block));
    const pieces = parts.flatMap((bins) => segmentsOf(bins).map((block) => ({ bins, block })));
    bounds.giveBack(pieces, {
      bytesOf: ({ bins, block }) => (bins.has(block) && blocks.isWholeSegment(block) ? blocks.bytesOf(block) : 0),
      release: ({ bins, block }) => this.releaseFrom(bins, block),
    });
  }

  /** Cuts `bytes` off the front of a block and returns the rest, a free block. */
  protected split(block: number, bytes: number): number {
    return this.blocks.split(block, bytes);
  }

  /** Joins a block with its successor, which ceases to exist. */
  protected absorbNext(block: number): void {
    this.blocks.absorbNext(block);
  }

  /** Makes native memory that the manager now has a free block, which the policy is to keep. */
  protected adopt(ptr: DevicePtr, bytes: number, device: number): number {
    const heap = this.managedDevice(device);
    const block = heap.create(ptr, bytes, heap.keptByPolicy);
    heap.stats.reserved(bytes);
    return block;
  }

  /** Checks free blocks against the heap, in O(blocks). @param all - every {@link FreeBlocks} that there is @throws ERR_MEM_INVARIANT */
  protected checkBins(all: readonly FreeBlocks[]): void {
    let inBins = 0;
    for (const bins of all) {
      ensure(bins.isSound, () => `the bins of group ${bins.group} are in order`);
      inBins += bins.count;
    }
    for (const heap of this.blocks.all) {
      inBins -= heap.inBins;
      const unjoined = heap.firstUnjoined;
      ensure(unjoined === NONE, () => `free block ${unjoined} has no free neighbour of its group`);
    }
    ensure(inBins === 0, () => `bins count ${inBins} blocks more than there are`);
  }

  /** Notes what the address of new memory is a multiple of. */
  protected noteAddress(address: number): void {
    while (address % this.blockAlignment !== 0) this.blockAlignment /= 2;
  }

  /** Closes the heaps for good, unless blocks of them are live or a call may still use them. */
  #closeUnused(): void {
    if (this.#underway > 0 || this.liveBlockCount() > 0) return;
    this.lifecycle.onFree = undefined;
    for (const { device } of this.blocks.all) this.forget(device);
    this.blocks.closeAll();
  }
}
