import { AddressHash } from '../../src/blocks/address-hash.js';
import type { AddressIndex } from '../../src/blocks/address-index.js';
import { BlockTable, ensure, MANAGER_LOCK, NONE, USER_LOCK } from '../../src/blocks/block-table.js';
import type { LogSink } from '../../src/core/call-log.js';
import type { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { MemoryStats, type MemoryStatsSnapshot } from '../../src/core/stats.js';
import { checkAlignment, checkBytes, type DevicePtr, devicePtr, formatBytes, NULL_PTR } from '../../src/core/units.js';

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
  protected readonly addresses: AddressIndex;
  readonly #stats: (MemoryStats | undefined)[] = [];

  /**
   * @param deviceCount - devices managed from the start, ids 0 to deviceCount - 1
   * @param addresses - finds blocks by address; a hash fits every policy
   * @throws ERR_MEM_INVALID_ARGUMENT for a count that is no positive integer
   */
  constructor(
    deviceCount: number,
    deviceInterface: MemoryManagerDeviceInterface,
    options: ManagerOptions = {},
    addresses: AddressIndex = new AddressHash(),
  ) {
    super(deviceInterface, options.logStream);
    if (!Number.isInteger(deviceCount) || deviceCount < 1 || deviceCount > 65536) {
      throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
        name: 'deviceCount',
        value: String(deviceCount),
        expected: 'an integer from 1 to 65536',
      });
    }
    this.addresses = addresses;
    for (let device = 0; device < deviceCount; device++) this.#stats[device] = new MemoryStats();
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
    this.signalMemoryCleanup();
    this.callLog.flush();
  }

  allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    checkBytes(bytes);
    if (alignment !== 0) checkAlignment(alignment);
    if (stream !== 0) refuseStream(this.name);
    if (bytes === 0) return NULL_PTR;
    const device = this.deviceInterface.getActiveDeviceId();
    const stats = this.statsOf(device);
    const nativeAllocs = stats.nativeAllocs;
    const block = this.place(bytes, alignment, stream, device);
    if (stats.nativeAllocs !== nativeAllocs) stats.missed(1);
    const blocks = this.blocks;
    blocks.take(block, bytes, userLock ? USER_LOCK : MANAGER_LOCK);
    stats.allocated(bytes, blocks.bytesOf(block));
    return blocks.addressOf(block) as DevicePtr;
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
    for (let device = 0; device < this.#stats.length; device++) {
      if (this.#stats[device] !== undefined) this.trim(device);
    }
  }

  /** Starts to manage one more device; does nothing for one that is managed. */
  override addMemoryManagement(device: number): void {
    if (!Number.isInteger(device) || device < 0 || device > 65535) {
      throw new MemoryError('ERR_MEM_INVALID_DEVICE', { device, deviceCount: this.#stats.length });
    }
    this.#stats[device] ??= new MemoryStats();
  }

  /**
   * Gives a device's cached memory back and stops managing it; does nothing for one that is not managed.
   *
   * @throws ERR_MEM_DEVICE_BUSY when blocks of it are live
   */
  override removeMemoryManagement(device: number): void {
    const stats = this.#stats[device];
    if (stats === undefined) return;
    if (stats.liveBlocks > 0) throw new MemoryError('ERR_MEM_DEVICE_BUSY', { device, liveBlocks: stats.liveBlocks });
    this.trim(device);
    this.#stats[device] = undefined;
  }

  override liveBlockCount(): number {
    return this.#stats.reduce((sum, stats) => sum + (stats?.liveBlocks ?? 0), 0);
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
    return this.blocks.metadataBytes + this.addresses.metadataBytes;
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
      ensure(this.addresses.get(this.blocks.addressOf(block)) === block, `block ${block} is found under its address`);
      if (this.isReserved(block)) reserved.set(device, (reserved.get(device) ?? 0) + bytes);
      if (!this.blocks.isFree(block)) allocated.set(device, (allocated.get(device) ?? 0) + bytes);
    }
    this.#stats.forEach((stats, device) => {
      if (stats === undefined) return;
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
    return this.#stats[device] ?? this.#refuseDevice(device);
  }

  #refuseDevice(device: number): never {
    throw new MemoryError('ERR_MEM_INVALID_DEVICE', { device, deviceCount: this.#stats.length });
  }

  /** The live block that `ptr` heads, or {@link NONE}. */
  protected liveBlock(ptr: DevicePtr): number {
    const block = this.#blockAt(ptr);
    return block === NONE || this.blocks.isFree(block) ? NONE : block;
  }

  /** Adds a lock to a live block. @throws ERR_MEM_UNKNOWN_POINTER */
  protected hold(ptr: DevicePtr, lock: number): void {
    const block = this.liveBlock(ptr);
    if (block === NONE) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    this.blocks.setLocks(block, this.blocks.locksOf(block) | lock);
  }

  /** Clears a lock of a live block, and takes the block back when none is left. */
  protected unhold(ptr: DevicePtr, lock: number): void {
    const blocks = this.blocks;
    const block = this.#blockAt(ptr);
    if (block === NONE) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    const locks = blocks.locksOf(block);
    if (locks === 0) throw new MemoryError('ERR_MEM_DOUBLE_FREE', { pointer: ptr });
    const rest = locks & ~lock;
    blocks.setLocks(block, rest);
    if (rest !== 0) return;
    const stats = this.statsOf(blocks.deviceOf(block));
    const requested = blocks.requestedOf(block);
    const bytes = blocks.bytesOf(block);
    stats.freed(requested, bytes);
    try {
      this.reclaim(block);
    } catch (error) {
      this.#holdAgain(block, locks, requested, bytes);
      throw error;
    }
    this.lifecycle.onFree?.();
  }

  /** Undoes {@link unhold} when a native free failed: as if the call had not been made. */
  #holdAgain(block: number, locks: number, requested: number, bytes: number): void {
    if (!this.blocks.exists(block)) return;
    this.blocks.setLocks(block, locks);
    this.statsOf(this.blocks.deviceOf(block)).unfreed(requested, bytes);
  }

  /**
   * Gets a segment from the device as one free block: tries, gives cached memory back, and tries once more.
   *
   * @param requestedBytes - what the caller of the manager asked for; for the error
   * @throws ERR_MEM_OUT_OF_MEMORY, or what the device throws with another code
   */
  protected nativeAllocate(bytes: number, alignment: number, device: number, requestedBytes: number): number {
    const stats = this.statsOf(device);
    let cause: unknown;
    for (let attempt = 0; attempt < 2; attempt++) {
      if (attempt === 1) {
        stats.retries++;
        this.trim(device);
      }
      // Rounding may have carried the size beyond what a number holds exactly: no device has that much.
      if (!Number.isSafeInteger(bytes)) continue;
      try {
        const ptr = devicePtr(this.deviceInterface.nativeAlloc(bytes, alignment));
        if (ptr !== NULL_PTR) return this.#adopt(ptr, bytes, device);
      } catch (error) {
        if (MemoryError.is(error) && error.code !== 'ERR_MEM_OUT_OF_MEMORY') throw error;
        cause = error;
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

  /** Gives a free block that is a whole segment back to the device; the block ceases to exist. */
  protected nativeRelease(block: number): void {
    const address = this.blocks.addressOf(block);
    const bytes = this.blocks.bytesOf(block);
    const stats = this.statsOf(this.blocks.deviceOf(block));
    this.deviceInterface.nativeFree(address as DevicePtr);
    this.addresses.delete(address);
    this.blocks.remove(block);
    stats.released(bytes);
  }

  /** Cuts `bytes` off the front of a block and returns the rest, a free block. */
  protected split(block: number, bytes: number): number {
    const rest = this.blocks.split(block, bytes);
    this.addresses.set(this.blocks.addressOf(rest), rest);
    return rest;
  }

  /** Joins a block with its successor, which ceases to exist. */
  protected absorbNext(block: number): void {
    this.addresses.delete(this.blocks.addressOf(this.blocks.nextOf(block)));
    this.blocks.absorbNext(block);
  }

  /** The block that `ptr` heads, or {@link NONE}: an address inside a block heads none, though an index may round it down. */
  #blockAt(ptr: DevicePtr): number {
    if (ptr === NULL_PTR) return NONE;
    const block = this.addresses.get(ptr);
    return block !== NONE && this.blocks.addressOf(block) === ptr ? block : NONE;
  }

  #adopt(ptr: DevicePtr, bytes: number, device: number): number {
    const block = this.blocks.create(ptr, bytes, device);
    this.addresses.set(ptr, block);
    const stats = this.statsOf(device);
    stats.reserved(bytes);
    return block;
  }
}

/** Until a policy keeps stream order, a block must not be reused as if it did. */
function refuseStream(manager: string): never {
  throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'stream order', platform: manager });
}
