import type { Counters } from '../../src/blocks/block-table.js';
import * as blockTable from '../../src/blocks/block-table.js';
import { ensure } from '../../src/blocks/ensure.js';
import type { FreeBlocks, FreeBlocksOptions } from '../../src/blocks/free-blocks.js';
import * as kernelModule from '../../src/blocks/kernel.js';
import type { LogSink } from '../../src/core/call-log.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { checkStackRoom } from '../../src/core/stack-room.js';
import { MemoryStats, type MemoryStatsSnapshot } from '../../src/core/stats.js';
import type { DevicePtr } from '../../src/core/units.js';
import * as units from '../../src/core/units.js';
import { waitForDefaultStream } from './stream-order.js';
import { tryAll } from './try-all.js';

// Bindings of their own: V8 looks imported ones up, and checks them, each time.
const { BlockTable, MANAGER_LOCK, NONE, USER_LOCK } = blockTable;
const { DOUBLE_FREE, FREED, HELD, kernel, UNKNOWN } = kernelModule;
const { checkAlignment, checkBytes, devicePtr, formatBytes, NULL_PTR } = units;
const { release } = kernel;

/** What a manager keeps of one device. */
interface ManagedDevice {
  readonly counters: Counters;
  readonly stats: MemoryStats;
  /** Where blocks belong that the policy keeps by itself. */
  readonly home: FreeBlocks;
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
 * It keeps the block table, the locks, the state and statistics of each device, the retry after a failed native call,
 * and `printInfo`. A policy says where a block comes from ({@link place}), where it goes when nobody holds it
 * ({@link reclaim}), and what it can give back ({@link trim}).
 *
 * Invariants, for each device: `reserved == sum(bytes of reserved blocks)`, `allocated == sum(bytes of live blocks)`,
 * and every block is found under its address.
 */
export abstract class BlockMemoryManager extends MemoryManagerAdapter {
  protected readonly blocks = new BlockTable();
  readonly #heap = this.blocks.heap;
  readonly #devices: (ManagedDevice | undefined)[] = [];

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
    for (let device = 0; device < deviceCount; device++) this.#devices[device] = this.#manage(device);
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
    if (stream !== 0) this.checkStream(stream);
    if (bytes === 0) return NULL_PTR;
    const device = this.deviceInterface.getActiveDeviceId();
    const stats = this.statsOf(device);
    const nativeAllocs = stats.nativeAllocs;
    const block = this.place(bytes, alignment, stream, device);
    if (stats.nativeAllocs !== nativeAllocs) stats.missed(1);
    return this.handOut(block, bytes, userLock ? USER_LOCK : MANAGER_LOCK);
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
    tryAll(this.#devices.keys(), (device) => {
      if (this.#devices[device] !== undefined) this.trim(device);
    });
  }

  /** Starts to manage one more device; does nothing for one that is managed. */
  override addMemoryManagement(device: number): void {
    if (!Number.isInteger(device) || device < 0 || device > 65535) {
      throw new MemoryError('ERR_MEM_INVALID_DEVICE', { device, deviceCount: this.#devices.length });
    }
    this.#devices[device] ??= this.#manage(device);
  }

  /**
   * Gives a device's cached memory back and stops managing it; does nothing for one that is not managed.
   *
   * @throws ERR_MEM_DEVICE_BUSY when blocks of it are live, or from inside a native call for it
   */
  override removeMemoryManagement(device: number): void {
    const managed = this.#devices[device];
    if (managed === undefined) return;
    this.#checkIdle(device, managed);
    this.trim(device);
    // A native call may have come back with an allocation.
    this.#checkIdle(device, managed);
    this.#devices[device] = undefined;
    this.blocks.closeDevice(managed.counters);
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
    const stats = this.statsOf(device);
    const capacity = this.deviceInterface.getMaxMemorySize(device);
    sink.write(
      `${message}\nType: ${this.name}\n` +
        `Device: ${device}, Capacity: ${formatBytes(capacity)}, Reserved: ${formatBytes(stats.reservedBytes)}, ` +
        `Allocated: ${formatBytes(stats.allocatedBytes)}, Cached: ${formatBytes(stats.cachedBytes)}\n` +
        `Live blocks: ${stats.liveBlocks}, native calls: ${stats.nativeAllocs} (allocs), ${stats.nativeFrees} (frees)\n`,
    );
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
    this.#devices.forEach((managed, device) => {
      if (managed === undefined) return;
      const { stats } = managed;
      ensure(stats.reservedBytes === (reserved.get(device) ?? 0), `reserved == sum(block.bytes) on device ${device}`);
      ensure(stats.allocatedBytes === (allocated.get(device) ?? 0), `allocated == sum(live block.bytes) on device ${device}`);
      ensure(stats.cachedBytes === stats.reservedBytes - stats.activeBytes, `cached == reserved - active on device ${device}`);
    });
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
  protected createFreeBlocks(options: FreeBlocksOptions): FreeBlocks {
    return this.blocks.createFreeBlocks(this.#managed(options.device).counters, options);
  }

  #managed(device: number): ManagedDevice {
    const managed = this.#devices[device];
    if (managed !== undefined) return managed;
    throw new MemoryError('ERR_MEM_INVALID_DEVICE', { device, deviceCount: this.#devices.length });
  }

  #manage(device: number): ManagedDevice {
    const { counters, home } = this.blocks.openDevice(device, MemoryStats.VALUES);
    const leaving = this.blocks.createFreeBlocks(counters, { device });
    return { counters, stats: new MemoryStats(counters), home, leaving, underway: 0 };
  }

  #checkIdle(device: number, { stats: { liveBlocks }, underway }: ManagedDevice): void {
    if (liveBlocks + underway > 0) throw new MemoryError('ERR_MEM_DEVICE_BUSY', { device, liveBlocks });
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
    const outcome = release(this.#heap, ptr, lock);
    if (outcome === HELD) return;
    if (outcome !== FREED) this.#reclaimOrRefuse(outcome, ptr, lock);
    this.lifecycle.onFree?.();
  }

  #reclaimOrRefuse(outcome: number, ptr: DevicePtr, lock: number): void {
    if (outcome === UNKNOWN) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    if (outcome === DOUBLE_FREE) throw new MemoryError('ERR_MEM_DOUBLE_FREE', { pointer: ptr });
    try {
      this.reclaim(outcome);
    } catch (error) {
      // As if the call had not been made, unless the policy had already parted with the block.
      if (this.blocks.find(ptr) === outcome) this.blocks.holdAgain(outcome, lock);
      throw error;
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
      checkStackRoom();
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
    checkStackRoom();
    this.blocks.setHome(block, managed.leaving);
    managed.underway++;
    try {
      this.settle(device);
      if (release === undefined) this.deviceInterface.nativeFree(address);
      else release(address);
    } catch (error) {
      this.blocks.setHome(block, managed.home);
      throw error;
    } finally {
      managed.underway--;
    }
    this.blocks.remove(block);
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
    const { stats, home } = this.#managed(device);
    const block = this.blocks.create(ptr, bytes, home);
    stats.reserved(bytes);
    return block;
  }
}
