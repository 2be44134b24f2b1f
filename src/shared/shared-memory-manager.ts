import { MANAGER_LOCK, NONE, USER_LOCK } from '../blocks/block-rows.js';
import { DeviceHeaps } from '../blocks/device-heaps.js';
import { ensure } from '../blocks/ensure.js';
import { HELD, NOT_LIVE } from '../blocks/kernel-interface.js';
import { attempt } from '../core/attempt.js';
import type { LogSink } from '../core/call-log.js';
import type { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import { MemoryError } from '../core/errors.js';
import { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import type { MemoryStatsSnapshot } from '../core/memory-statistics.js';
import { MemoryStats } from '../core/stats.js';
import { checkAlignment, checkBytes, type DevicePtr, formatBytes, NULL_PTR } from '../core/units.js';
import { DEFAULT_MEM_CONTEXT, type SharedAllocator } from './allocators/shared-allocator.js';
import { NULL_OFFSET, type OffsetPointer } from './offset-pointer.js';
import { SharedAllocation } from './shared-allocation.js';

const MAX_DEVICE = 65535;

/** What a {@link SharedMemoryManager} works with. */
export interface SharedMemoryManagerOptions {
  /** Where its blocks come from. */
  readonly allocator: SharedAllocator;
  /** Where logged calls go; giving one turns logging on. */
  readonly logStream?: LogSink | undefined;
}

/**
 * Hands out blocks of a shared region, one page for each, so that a runtime allocates what other processes can use.
 *
 * Its blocks lie in the region whatever device its host has; a `SharedMemoryDevice` lets the runtime show them. It keeps a count
 * for each device, but all have the one region. It caches nothing: the allocator does that.
 */
export class SharedMemoryManager extends MemoryManagerAdapter {
  readonly allocator: SharedAllocator;
  readonly #blocks = new DeviceHeaps();
  readonly #stats: (MemoryStats | undefined)[] = [];

  /**
   * @param deviceCount - devices served from the start, ids 0 to deviceCount - 1
   * @throws ERR_MEM_INVALID_DEVICE for a count that is none
   */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: SharedMemoryManagerOptions) {
    super(deviceInterface, options.logStream);
    this.allocator = options.allocator;
    for (let device = 0; device < deviceCount; device++) this.addMemoryManagement(device);
  }

  initialize(): void {}

  /** Frees what is left of its blocks: nobody else can. Those that were shared stay with whoever uses them. */
  shutdown(): void {
    for (const block of [...this.#blocks]) {
      const ptr = this.#blocks.addressOf(block) as DevicePtr;
      attempt(() => this.#unhold(ptr, this.#blocks.locksOf(block)));
    }
    if (this.liveBlockCount() === 0) this.#blocks.closeAll();
    this.callLog.flush();
  }

  allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    checkBytes(bytes);
    checkAlignment(alignment);
    if (stream !== 0) throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'stream order', platform: this.name });
    if (bytes === 0) return NULL_PTR;
    const device = this.deviceInterface.getActiveDeviceId();
    const stats = this.#statsOf(device);
    const heap = this.#blocks.of(device);
    const offset = this.#allocate(bytes, alignment, device);
    const ptr = this.allocator.addressOf(offset);
    const size = this.allocator.sizeOf(offset);
    stats.reserved(size);
    stats.misses++;
    heap.handOut(heap.create(ptr, size, heap.home), bytes, userLock ? USER_LOCK : MANAGER_LOCK);
    return ptr;
  }

  allocated(ptr: DevicePtr): number {
    const block = this.#blocks.findLive(ptr);
    return block === NONE ? 0 : this.#blocks.bytesOf(block);
  }

  unlock(ptr: DevicePtr, userUnlock: boolean): void {
    if (ptr === NULL_PTR) return;
    this.#unhold(ptr, userUnlock ? USER_LOCK : MANAGER_LOCK);
  }

  userLock(ptr: DevicePtr): void {
    if (ptr === NULL_PTR) return;
    const block = this.#held(ptr);
    this.#blocks.setLocks(block, this.#blocks.locksOf(block) | USER_LOCK);
  }

  userUnlock(ptr: DevicePtr): void {
    this.unlock(ptr, true);
  }

  isUserLocked(ptr: DevicePtr): boolean {
    const block = this.#blocks.findLive(ptr);
    return block !== NONE && (this.#blocks.locksOf(block) & USER_LOCK) !== 0;
  }

  /** Does nothing: a block that is free is in the region already. */
  signalMemoryCleanup(): void {}

  printInfo(message: string, device: number, sink: LogSink = process.stdout): void {
    const stats = this.#statsOf(device);
    const { allocator } = this;
    const capacity = allocator.capacityBytes === undefined ? 'no bound' : formatBytes(allocator.capacityBytes);
    sink.write(
      `${message}\nType: ${this.name}\n` +
        `Device: ${device}, Allocator: ${allocator.type} ${allocator.id.major}.${allocator.id.minor}, Capacity: ${capacity}, ` +
        `Allocated: ${formatBytes(stats.allocatedBytes)} here, ${formatBytes(allocator.allocatedBytes)} by all\n` +
        `Live blocks: ${stats.liveBlocks}\n`,
    );
  }

  /** Starts to count for one more device; does nothing for one that is known. @throws ERR_MEM_INVALID_DEVICE */
  override addMemoryManagement(device: number): void {
    if (!Number.isInteger(device) || device < 0 || device > MAX_DEVICE) {
      throw new MemoryError('ERR_MEM_INVALID_DEVICE', { device, deviceCount: this.#stats.length });
    }
    if (this.#blocks.get(device) === undefined) this.#stats[device] = new MemoryStats(this.#blocks.open(device).counters);
  }

  /** @throws ERR_MEM_DEVICE_BUSY when blocks of the device are live */
  override removeMemoryManagement(device: number): void {
    if (this.#blocks.get(device) === undefined) return;
    const { liveBlocks } = this.#statsOf(device);
    if (liveBlocks > 0) throw new MemoryError('ERR_MEM_DEVICE_BUSY', { device, liveBlocks });
    this.#blocks.close(device);
    this.#stats[device] = undefined;
  }

  /** @throws ERR_MEM_INVALID_DEVICE */
  override getMemoryStats(device: number = this.deviceInterface.getActiveDeviceId()): MemoryStatsSnapshot {
    return this.#statsOf(device).snapshot();
  }

  override liveBlockCount(): number {
    return this.#stats.reduce((sum, stats) => sum + (stats?.liveBlocks ?? 0), 0);
  }

  /** The offset of a live block in the region; null for other pointers. */
  offsetOf(ptr: DevicePtr): OffsetPointer {
    return this.#blocks.findLive(ptr) === NONE ? NULL_OFFSET : this.allocator.offsetOf(ptr);
  }

  /**
   * Takes a block out of this manager and gives it as one that processes share: its locks end, references count from now on.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_UNSUPPORTED_PLATFORM for an allocator that cannot share, ERR_MEM_OUT_OF_MEMORY
   */
  share(ptr: DevicePtr): SharedAllocation {
    const block = this.#held(ptr);
    const shared = SharedAllocation.share(this.allocator, this.allocator.offsetOf(ptr), this.#blocks.requestedOf(block));
    this.#blocks.release(ptr, this.#blocks.locksOf(block));
    this.#forget(block);
    return shared;
  }

  /** Checks the table against the allocator, in O(blocks). @throws ERR_MEM_INVARIANT */
  checkInvariants(): void {
    this.#blocks.checkInvariants();
    const bytes = new Map<number, number>();
    for (const block of this.#blocks) {
      const ptr = this.#blocks.addressOf(block) as DevicePtr;
      const device = this.#blocks.deviceOf(block);
      bytes.set(device, (bytes.get(device) ?? 0) + this.#blocks.bytesOf(block));
      ensure(
        this.allocator.sizeOf(this.allocator.offsetOf(ptr)) === this.#blocks.bytesOf(block),
        `block ${block} is the allocator's`,
      );
    }
    for (const { device } of this.#blocks.all) {
      const sum = bytes.get(device) ?? 0;
      const stats = this.#statsOf(device);
      ensure(
        sum === stats.allocatedBytes && sum === stats.reservedBytes,
        `reserved == allocated == sum(block.bytes) on ${device}`,
      );
    }
  }

  #allocate(bytes: number, alignment: number, device: number): OffsetPointer {
    const stats = this.#statsOf(device);
    try {
      return this.allocator.alignedAllocateOffset(DEFAULT_MEM_CONTEXT, bytes, alignment);
    } catch (error) {
      if (MemoryError.is(error) && error.code !== 'ERR_MEM_OUT_OF_MEMORY') throw error;
      stats.ooms++;
      const facts = {
        requestedBytes: bytes,
        allocatedBytes: stats.allocatedBytes,
        reservedBytes: stats.reservedBytes,
        capacityBytes: this.allocator.capacityBytes ?? this.deviceInterface.getMaxMemorySize(device),
        device,
      };
      throw new MemoryError('ERR_MEM_OUT_OF_MEMORY', facts, error);
    }
  }

  /** Clears locks of a block and frees it when none is left; when that fails nothing has changed. */
  #unhold(ptr: DevicePtr, locks: number): void {
    const block = this.#blocks.release(ptr, locks);
    if (block === HELD) return;
    if (block === NOT_LIVE) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    try {
      this.allocator.freeOffset(DEFAULT_MEM_CONTEXT, this.allocator.offsetOf(ptr));
    } catch (error) {
      this.#blocks.holdAgain(block, locks);
      throw error;
    }
    this.#forget(block);
  }

  #forget(block: number): void {
    this.#statsOf(this.#blocks.deviceOf(block)).released(this.#blocks.bytesOf(block));
    this.#blocks.remove(block);
    this.lifecycle.onFree?.();
  }

  /** The block that `ptr` heads. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_DOUBLE_FREE when it heads none */
  #held(ptr: DevicePtr): number {
    const block = this.#blocks.findLive(ptr);
    if (block === NONE) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    return block;
  }

  #statsOf(device: number): MemoryStats {
    const stats = this.#stats[device];
    if (stats !== undefined) return stats;
    throw new MemoryError('ERR_MEM_INVALID_DEVICE', { device, deviceCount: this.#stats.length });
  }
}
