import * as blockRows from '../../src/blocks/block-rows.js';
import type { DeviceHeap } from '../../src/blocks/device-heap.js';
import { DeviceHeaps } from '../../src/blocks/device-heaps.js';
import { ensure } from '../../src/blocks/ensure.js';
import type { FreeBlocks, FreeBlocksOptions } from '../../src/blocks/free-blocks.js';
import * as kernelInterface from '../../src/blocks/kernel-interface.js';
import type { LogSink } from '../../src/core/call-log.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { formatInfo, type MemoryStatsSnapshot } from '../../src/core/memory-statistics.js';
import * as stackRoom from '../../src/core/stack-room.js';
import { MemoryStats } from '../../src/core/stats.js';
import type { DevicePtr } from '../../src/core/units.js';
import * as units from '../../src/core/units.js';
import { waitForDefaultStream } from './stream-order.js';
import { tryAll } from './try-all.js';

// Bindings of their own: V8 looks imported ones up, and checks them, each time.
const { MANAGER_LOCK, NONE, USER_LOCK } = blockRows;
const { FREED, HELD, NOT_LIVE } = kernelInterface;
const { checkAlignment, checkBytes, devicePtr, NULL_PTR } = units;
const { checkStackRoom, checkStackRoomHere } = stackRoom;

/** What a manager keeps of one device beside its heap. */
interface ManagedDevice {
  readonly stats: MemoryStats;
  /** Where a block belongs while it goes back to the device: not found by its address, which the device may hand out again. */
  readonly leaving: FreeBlocks;
  /** Native calls that are being made. */
  underway: number;
}

/** Options that every manager takes. */
export interface ManagerOptions {
  /** Where logged calls go; giving one turns logging on. */
  readonly logStream?: LogSink | undefined;
}

/**
 * The base of all policies that hand out blocks of native segments.
 *
 * It keeps a heap for each device, the locks, the statistics, the retry after a failed native call, and `printInfo`. A policy
 * says where a block comes from ({@link place}), where it goes when nobody holds it ({@link reclaim}), and what it can give
 * back ({@link trim}).
 *
 * Invariants, for each device: `reserved == sum(bytes of reserved blocks)`, `allocated == sum(bytes of live blocks)`,
 * and every block is found under its address. A heap is closed when its device is removed, and when the manager is shut down.
 */
export abstract class BlockMemoryManager extends MemoryManagerAdapter {
  /** The heaps, one a device that is managed. */
  protected readonly blocks = new DeviceHeaps();
  /** The heap that device 0 has from the start, which V8 takes for constant. It may be closed: then it finds nothing. */
  protected readonly first: DeviceHeap;
  /** By device; those of heaps that the end of the manager closed stay. */
  readonly #devices: (ManagedDevice | undefined)[] = [];
  /** Calls under way that use heaps again when a native call has come back. */
  #underway = 0;
  #isShutDown = false;

  /**
   * @param deviceCount - devices managed from the start, ids 0 to deviceCount - 1
   * @throws ERR_MEM_INVALID_ARGUMENT for a count that is no positive integer
   */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: ManagerOptions = {}) {
    super(deviceInterface, options.logStream);
    if (!Number.isInteger(deviceCount) || deviceCount < 1 || deviceCount > 65536) {
      throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
        name: 'deviceCount',
        value: String(deviceCount),
        expected: 'an integer from 1 to 65536',
      });
    }
    for (let device = 0; device < deviceCount; device++) this.#manage(device);
    this.first = this.blocks.of(0);
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

  /** Gives the cached segments of a device back with {@link nativeRelease}. */
  protected abstract trim(device: number): void;

  /** Drops what the policy keeps of a device: its heap is about to be closed. Here: nothing. */
  protected forget(_device: number): void {}

  initialize(): void {}

  /** Gives all cached memory back, and closes the heaps: at once, or when the last block of them is gone. */
  shutdown(): void {
    try {
      this.signalMemoryCleanup();
    } finally {
      this.#isShutDown = true;
      // Nobody but this manager listens from now on.
      this.lifecycle.onFree = () => this.#closeUnused();
      this.#closeUnused();
      this.callLog.flush();
    }
  }

  allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    checkBytes(bytes);
    if (alignment !== 0) checkAlignment(alignment);
    if (stream !== 0) this.checkStream(stream);
    if (bytes === 0) return NULL_PTR;
    const device = this.deviceInterface.getActiveDeviceId();
    const stats = this.statsOf(device);
    const nativeAllocs = stats.nativeAllocs;
    checkStackRoom();
    this.#underway++;
    try {
      const block = this.place(bytes, alignment, stream, device);
      if (stats.nativeAllocs !== nativeAllocs) stats.misses++;
      return this.handOut(block, bytes, userLock ? USER_LOCK : MANAGER_LOCK);
    } finally {
      this.#underway--;
    }
  }

  allocated(ptr: DevicePtr): number {
    const block = this.liveBlock(ptr);
    return block === NONE ? 0 : this.blocks.bytesOf(block);
  }

  unlock(ptr: DevicePtr, userUnlock: boolean): void {
    if (ptr !== NULL_PTR) this.unhold(ptr, userUnlock ? USER_LOCK : MANAGER_LOCK);
  }

  userLock(ptr: DevicePtr): void {
    if (ptr !== NULL_PTR) this.hold(ptr, USER_LOCK);
  }

  userUnlock(ptr: DevicePtr): void {
    this.unlock(ptr, true);
  }

  isUserLocked(ptr: DevicePtr): boolean {
    const block = this.liveBlock(ptr);
    return block !== NONE && (this.blocks.locksOf(block) & USER_LOCK) !== 0;
  }

  signalMemoryCleanup(): void {
    checkStackRoom();
    this.#underway++;
    try {
      tryAll(this.blocks.all, ({ device }) => this.trim(device));
    } finally {
      this.#underway--;
    }
    if (this.#isShutDown) this.#closeUnused();
  }

  /** Starts to manage one more device; does nothing for one that is managed. */
  override addMemoryManagement(device: number): void {
    if (!Number.isInteger(device) || device < 0 || device > 65535) {
      throw new MemoryError('ERR_MEM_INVALID_DEVICE', { device, deviceCount: this.#devices.length });
    }
    if (this.blocks.get(device) === undefined) this.#manage(device);
  }

  /**
   * Gives a device's cached memory back and stops managing it; does nothing for one that is not managed.
   *
   * @throws ERR_MEM_DEVICE_BUSY when blocks of it are live, or from inside a call on it
   */
  override removeMemoryManagement(device: number): void {
    if (this.blocks.get(device) === undefined) return;
    const managed = this.#managed(device);
    this.#checkIdle(device, managed);
    this.trim(device);
    // A native call may have come back with an allocation.
    this.#checkIdle(device, managed);
    this.#close(device);
    this.#devices[device] = undefined;
  }

  override liveBlockCount(): number {
    return this.#devices.reduce((sum, managed) => sum + (managed?.stats.liveBlocks ?? 0), 0);
  }

  /** @throws ERR_MEM_INVALID_DEVICE */
  override getMemoryStats(device: number = this.deviceInterface.getActiveDeviceId()): MemoryStatsSnapshot {
    return this.statsOf(device).snapshot();
  }

  /** @throws ERR_MEM_INVALID_DEVICE */
  printInfo(message: string, device: number, sink: LogSink = process.stdout): void {
    const stats = this.statsOf(device).snapshot();
    const capacityBytes = this.deviceInterface.getMaxMemorySize(device);
    sink.write(formatInfo({ message, name: this.name, device, capacityBytes, stats }));
  }

  /** Bytes of the manager's own tables. */
  get metadataBytes(): number {
    return this.blocks.metadataBytes;
  }

  /**
   * Checks the invariants of the whole manager, in O(blocks). For tests.
   *
   * @throws ERR_MEM_INVARIANT
   */
  checkInvariants(): void {
    this.blocks.checkInvariants();
    const reserved = new Map<number, number>();
    const allocated = new Map<number, number>();
    for (const block of this.blocks) {
      const device = this.blocks.deviceOf(block);
      const bytes = this.blocks.bytesOf(block);
      if (this.isReserved(block)) reserved.set(device, (reserved.get(device) ?? 0) + bytes);
      if (!this.blocks.isFree(block)) allocated.set(device, (allocated.get(device) ?? 0) + bytes);
    }
    for (const { device } of this.blocks.all) {
      const stats = this.statsOf(device);
      ensure(stats.reservedBytes === (reserved.get(device) ?? 0), `reserved == sum(block.bytes) on device ${device}`);
      ensure(stats.allocatedBytes === (allocated.get(device) ?? 0), `allocated == sum(live block.bytes) on device ${device}`);
      ensure(stats.cachedBytes === stats.reservedBytes - stats.activeBytes, `cached == reserved - active on device ${device}`);
    }
  }

  /** Tells whether native memory is behind a block: false for a policy's marks in an address range without memory. */
  protected isReserved(_block: number): boolean {
    return true;
  }

  /** The statistics of a device. @throws ERR_MEM_INVALID_DEVICE */
  protected statsOf(device: number): MemoryStats {
    return this.#managed(device).stats;
  }

  /** Makes a place for a device's free blocks, which take their counts to its statistics. @throws ERR_MEM_INVALID_DEVICE */
  protected createFreeBlocks({ device, ...options }: FreeBlocksOptions & { readonly device: number }): FreeBlocks {
    return this.blocks.of(device).createFreeBlocks(options);
  }

  #managed(device: number): ManagedDevice {
    const managed = this.#devices[device];
    if (managed !== undefined) return managed;
    throw new MemoryError('ERR_MEM_INVALID_DEVICE', { device, deviceCount: this.#devices.length });
  }

  #manage(device: number): void {
    const heap = this.blocks.open(device);
    this.#devices[device] = { stats: new MemoryStats(heap.counters), leaving: heap.createFreeBlocks({}), underway: 0 };
  }

  #checkIdle(device: number, { stats: { liveBlocks }, underway }: ManagedDevice): void {
    if (liveBlocks + underway + this.#underway > 0) throw new MemoryError('ERR_MEM_DEVICE_BUSY', { device, liveBlocks });
  }

  #close(device: number): void {
    this.forget(device);
    this.blocks.close(device);
  }

  /** Closes the heaps for good, unless blocks of them are live or a call may still use them. */
  #closeUnused(): void {
    if (this.#underway > 0 || this.liveBlockCount() > 0) return;
    this.lifecycle.onFree = undefined;
    for (const { device } of this.blocks.all) this.#close(device);
    this.blocks.closeAll();
  }

  /**
   * Tells whether this manager keeps the order of a device's streams.
   *
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM unless a subclass says otherwise: a block must not be reused as if it did
   */
  protected checkStream(_stream: number): void {
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'stream order', platform: this.name });
  }

  /** The live block that `ptr` heads, or {@link NONE}. */
  protected liveBlock(ptr: DevicePtr): number {
    return this.blocks.findLive(ptr);
  }

  /** Hands a block out that the policy no longer keeps: sets its lock and counts it. @returns its address */
  protected handOut(block: number, requestedBytes: number, lock: number): DevicePtr {
    return this.blocks.handOut(block, requestedBytes, lock) as DevicePtr;
  }

  /** Adds a lock to a live block. @throws ERR_MEM_UNKNOWN_POINTER */
  protected hold(ptr: DevicePtr, lock: number): void {
    const block = this.liveBlock(ptr);
    if (block === NONE) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    this.blocks.setLocks(block, this.blocks.locksOf(block) | lock);
  }

  /** Clears a lock of a live block, and takes the block back when none is left. */
  protected unhold(ptr: DevicePtr, lock: number): void {
    checkStackRoom();
    let outcome = this.first.release(ptr, lock);
    if (outcome === NOT_LIVE) outcome = this.blocks.release(ptr, lock);
    if (outcome === HELD) return;
    if (outcome !== FREED) this.#reclaimOrRefuse(outcome, ptr, lock);
    this.lifecycle.onFree?.();
  }

  #reclaimOrRefuse(outcome: number, ptr: DevicePtr, lock: number): void {
    if (outcome === NOT_LIVE) {
      const isFree = this.blocks.all.some((heap) => heap.isFreeAt(ptr));
      throw new MemoryError(isFree ? 'ERR_MEM_DOUBLE_FREE' : 'ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    }
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
   * @returns it, or NONE when {@link makeRoom} made a free block that will do
   * @throws ERR_MEM_OUT_OF_MEMORY, or what the device throws with another code
   */
  protected nativeAllocate(bytes: number, alignment: number, device: number, requestedBytes: number): number {
    const managed = this.#managed(device);
    const { stats } = managed;
    let cause: unknown;
    for (let attempt = 0; attempt < 2; attempt++) {
      if (attempt === 1) {
        stats.retries++;
        if (this.makeRoom(device, requestedBytes)) return NONE;
      }
      // Rounding may have carried the size beyond what a number holds exactly: no device has that much.
      if (!Number.isSafeInteger(bytes)) continue;
      // What the device gives is entered without fail.
      checkStackRoomHere();
      managed.underway++;
      try {
        const ptr = devicePtr(this.deviceInterface.nativeAlloc(bytes, alignment));
        if (ptr !== NULL_PTR) return this.adopt(ptr, bytes, device);
      } catch (error) {
        if (MemoryError.is(error) && error.code !== 'ERR_MEM_OUT_OF_MEMORY') throw error;
        cause = error;
      } finally {
        managed.underway--;
      }
    }
    stats.ooms++;
    throw new MemoryError(
      'ERR_MEM_OUT_OF_MEMORY',
      {
        requestedBytes,
        allocatedBytes: stats.allocatedBytes,
        reservedBytes: stats.reservedBytes,
        capacityBytes: this.deviceInterface.getMaxMemorySize(device),
        device,
        ...(bytes === requestedBytes ? {} : { segmentBytes: bytes }),
      },
      cause,
    );
  }

  /**
   * Makes room on a device that has none left. Here: gives cached memory back.
   *
   * @returns true when a free block of the manager will do for `requestedBytes` now, so that no segment is needed
   */
  protected makeRoom(device: number, _requestedBytes: number): boolean {
    this.trim(device);
    return false;
  }

  /** Waits until no stream works on free blocks of a device that may go back. Here: for stream 0, the only one there is. */
  protected settle(device: number): void {
    waitForDefaultStream(this.deviceInterface.streams, device);
  }

  /**
   * Gives a free block that is a whole segment, and that the policy no longer keeps, back to the device, once no stream works
   * on it; the block ceases to exist. When that fails it is as before: the policy is to keep it again.
   *
   * @param release - what gives the memory back
   * @defaultValue release is the table's nativeFree
   */
  protected nativeRelease(block: number, release?: (ptr: DevicePtr) => void): void {
    const address = this.blocks.addressOf(block) as DevicePtr;
    const bytes = this.blocks.bytesOf(block);
    const device = this.blocks.deviceOf(block);
    const managed = this.#managed(device);
    checkStackRoomHere();
    const heap = this.blocks.of(device);
    heap.setHome(block, managed.leaving);
    managed.underway++;
    this.#underway++;
    try {
      this.settle(device);
      if (release === undefined) this.deviceInterface.nativeFree(address);
      else release(address);
    } catch (error) {
      heap.setHome(block, heap.home);
      throw error;
    } finally {
      managed.underway--;
      this.#underway--;
    }
    heap.remove(block);
    managed.stats.released(bytes);
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
    const heap = this.blocks.of(device);
    const block = heap.create(ptr, bytes, heap.home);
    this.statsOf(device).reserved(bytes);
    return block;
  }
}
