import { MANAGER_LOCK, NONE, USER_LOCK } from '../blocks/block-rows.js';
import type { DeviceHeap } from '../blocks/device-heap.js';
import { DeviceHeaps } from '../blocks/device-heaps.js';
import { DeviceMemoryManager, type ManagerOptions } from '../blocks/device-memory-manager.js';
import { ensure } from '../blocks/ensure.js';
import { HELD, NOT_LIVE } from '../blocks/kernel-interface.js';
import { attempt } from '../core/attempt.js';
import type { LogSink } from '../core/call-log.js';
import type { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import { MemoryError } from '../core/errors.js';
import { checkOwnOptions, type OwnOptions } from '../core/option-names.js';
import { type DevicePtr, formatBytes, NULL_PTR } from '../core/units.js';
import { DEFAULT_MEM_CONTEXT, NULL_OFFSET, type OffsetPointer, type SharedAllocator } from './allocators/shared-allocator.js';
import { SharedAllocation } from './shared-allocation.js';

/** What a {@link SharedMemoryManager} works with. */
export interface SharedMemoryManagerOptions extends ManagerOptions {
  /** Where its blocks come from. */
  readonly allocator: SharedAllocator;
}

const OPTIONS: OwnOptions<SharedMemoryManagerOptions> = {
  of: () => SharedMemoryManager,
  names: { allocator: true, logStream: true },
};

/**
 * Hands out blocks of a shared region, one page for each, so that a runtime allocates what other processes can use.
 *
 * Its blocks lie in the region whatever device its host has; a `SharedMemoryDevice` lets the runtime show them. It keeps a count
 * for each device, but all have the one region. It caches nothing: the allocator does that.
 */
export class SharedMemoryManager extends DeviceMemoryManager<DeviceHeap> {
  readonly allocator: SharedAllocator;
  readonly #blocks: DeviceHeaps;

  /**
   * @param deviceCount - devices served from the start, ids 0 to deviceCount - 1
   * @throws ERR_MEM_INVALID_ARGUMENT for a count that is no positive integer
   */
  constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: SharedMemoryManagerOptions) {
    checkOwnOptions(OPTIONS, new.target, options);
    const blocks = new DeviceHeaps();
    super(deviceCount, deviceInterface, options, blocks);
    this.#blocks = blocks;
    this.allocator = options.allocator;
  }

  /** Frees what is left of its blocks: nobody else can. Those that were shared stay with whoever uses them. */
  override shutdown(): void {
    for (const block of [...this.#blocks]) {
      const ptr = this.#blocks.addressOf(block) as DevicePtr;
      attempt(() => this.unhold(ptr, this.#blocks.locksOf(block)));
    }
    if (this.liveBlockCount() === 0) this.#blocks.closeAll();
    super.shutdown();
  }

  override allocBytes(bytes: number, userLock: boolean, alignment = 0, stream = 0): DevicePtr {
    this.checkRequest(bytes, alignment, stream);
    if (bytes === 0) return NULL_PTR;
    const heap = this.managedDevice(this.deviceInterface.getActiveDeviceId());
    const offset = this.#allocate(bytes, alignment, heap);
    const ptr = this.allocator.addressOf(offset);
    const size = this.allocator.sizeOf(offset);
    heap.stats.reserved(size);
    heap.stats.misses++;
    heap.handOut(heap.create(ptr, size, heap.keptByPolicy), bytes, userLock ? USER_LOCK : MANAGER_LOCK);
    return ptr;
  }

  override printInfo(message: string, device: number, sink: LogSink = process.stdout): void {
    const { stats } = this.managedDevice(device);
    const { allocator } = this;
    const capacity = allocator.capacityBytes === undefined ? 'no bound' : formatBytes(allocator.capacityBytes);
    sink.write(
      `${message}\nType: ${this.name}\n` +
        `Device: ${device}, Allocator: ${allocator.type} ${allocator.id.major}.${allocator.id.minor}, Capacity: ${capacity}, ` +
        `Allocated: ${formatBytes(stats.allocatedBytes)} here, ${formatBytes(allocator.allocatedBytes)} by all\n` +
        `Live blocks: ${stats.liveBlocks}\n`,
    );
  }

  /** The offset of a live block in the region; null for other pointers. */
  offsetOf(ptr: DevicePtr): OffsetPointer {
    return this.#blocks.findLive(ptr) === NONE ? NULL_OFFSET : this.allocator.offsetOf(ptr);
  }

  /**
   * Takes a block out of this manager and gives it as one that processes share: its locks end, references count from now on. Share what
   * `runtime.slot.alloc` gave: a handle of the runtime does not hear of it, and its `dispose` throws ERR_MEM_UNKNOWN_POINTER then.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_UNSUPPORTED_PLATFORM for an allocator that cannot share, ERR_MEM_OUT_OF_MEMORY
   */
  share(ptr: DevicePtr): SharedAllocation {
    const block = this.#blocks.findLive(ptr);
    if (block === NONE) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    const shared = SharedAllocation.share(this.allocator, this.allocator.offsetOf(ptr), this.#blocks.requestedOf(block));
    this.#blocks.release(ptr, this.#blocks.locksOf(block));
    this.#forget(block);
    return shared;
  }

  /** Checks the table against the allocator, in O(blocks). @throws ERR_MEM_INVARIANT */
  override checkInvariants(): void {
    super.checkInvariants();
    for (const heap of this.#blocks.all) {
      let sum = 0;
      for (const block of heap) {
        const bytes = heap.bytesOf(block);
        const offset = this.allocator.offsetOf(heap.addressOf(block) as DevicePtr);
        ensure(this.allocator.sizeOf(offset) === bytes, () => `block ${block} is the allocator's`);
        sum += bytes;
      }
      const isSum = sum === heap.stats.allocatedBytes && sum === heap.stats.reservedBytes;
      ensure(isSum, () => `reserved == allocated == sum(block.bytes) on ${heap.device}`);
    }
  }

  /** Does nothing: a block that is free is in the region already. */
  protected trim(): void {}

  protected override capacityOf(device: number): number {
    return this.allocator.capacityBytes ?? super.capacityOf(device);
  }

  #allocate(bytes: number, alignment: number, heap: DeviceHeap): OffsetPointer {
    try {
      return this.allocator.alignedAllocateOffset(DEFAULT_MEM_CONTEXT, bytes, alignment);
    } catch (error) {
      if (MemoryError.is(error) && error.code !== 'ERR_MEM_OUT_OF_MEMORY') throw error;
      throw this.outOfMemory(heap, bytes, bytes, { cause: error });
    }
  }

  protected override unhold(ptr: DevicePtr, locks: number): void {
    const block = this.#blocks.release(ptr, locks);
    if (block === HELD) return;
    if (block === NOT_LIVE) this.refuse(ptr);
    try {
      this.allocator.freeOffset(DEFAULT_MEM_CONTEXT, this.allocator.offsetOf(ptr));
    } catch (error) {
      this.#blocks.holdAgain(block, locks);
      throw error;
    }
    this.#forget(block);
  }

  #forget(block: number): void {
    this.managedDevice(this.#blocks.deviceOf(block)).stats.released(this.#blocks.bytesOf(block));
    this.#blocks.remove(block);
    this.lifecycle.onFree?.();
  }
}
