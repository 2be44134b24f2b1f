import { fillBytes, moveBytes } from '../../adapters/os/bytes.js';
import { lockPages, pageBytes, unlockPages } from '../../adapters/os/mapping.js';
import { orUndo } from '../core/attempt.js';
import { HostDevice } from '../core/device.js';
import { checkArgument, checkRange, MemoryError } from '../core/errors.js';
import { alignUp, checkAlignment, checkBytes, type DevicePtr, NULL_PTR } from '../core/units.js';
import { checkSharing, type PageAllocator } from './allocators/page-allocator.js';
import { DEFAULT_MEM_CONTEXT, NULL_OFFSET, type SharedAllocator } from './allocators/shared-allocator.js';

const ALIGNMENT_BYTES = 64;

/**
 * The memory of a shared region as a device: a runtime over it allocates in the region, whichever manager it uses, and its
 * handles show every block of the region, whichever process allocated it.
 */
export class SharedMemoryDevice extends HostDevice {
  readonly name = 'shared';
  override readonly virtual = undefined;
  readonly allocator: PageAllocator;
  #liveBytes = 0;

  /**
   * @param allocator - one that can share its blocks
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM for one that cannot: `malloc`
   */
  constructor(allocator: SharedAllocator) {
    super();
    this.allocator = checkSharing(allocator);
  }

  protected override get capacityBytes(): number {
    return this.allocator.capacityBytes;
  }

  /** Bytes of the segments that this device has handed out. */
  override get liveBytes(): number {
    return this.#liveBytes;
  }

  /** @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT, ERR_MEM_LOCK_TIMEOUT, ERR_MEM_DISPOSED */
  override nativeAlloc(bytes: number, alignment = 0): DevicePtr {
    checkBytes(bytes);
    checkAlignment(alignment);
    try {
      const offset = this.allocator.alignedAllocateOffset(DEFAULT_MEM_CONTEXT, bytes, Math.max(alignment, ALIGNMENT_BYTES));
      this.#liveBytes += offset === NULL_OFFSET ? 0 : this.allocator.sizeOf(offset);
      return this.allocator.addressOf(offset);
    } catch (error) {
      if (MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) return NULL_PTR;
      throw error;
    }
  }

  override nativeFree(ptr: DevicePtr): void {
    if (ptr === NULL_PTR) return;
    const offset = this.allocator.offsetOf(ptr);
    if (offset === NULL_OFFSET) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    const bytes = this.allocator.sizeOf(offset);
    this.allocator.freeOffset(DEFAULT_MEM_CONTEXT, offset);
    this.#liveBytes -= bytes;
  }

  /** Allocates whole pages of the system and locks them; unlocked ones, with an event, where it refuses. */
  override pinnedAlloc(bytes: number, alignment = 0): DevicePtr {
    checkBytes(bytes);
    const ptr = this.nativeAlloc(alignUp(bytes, pageBytes()), Math.max(alignment, pageBytes()));
    if (ptr === NULL_PTR) return ptr;
    try {
      lockPages(ptr, alignUp(bytes, pageBytes()));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      orUndo(
        () => this.events.emit('pin-failed', { ptr, bytes, reason }),
        () => this.nativeFree(ptr),
      );
    }
    return ptr;
  }

  override pinnedFree(ptr: DevicePtr): void {
    if (ptr === NULL_PTR) return;
    const bytes = Math.floor(this.allocator.sizeOf(this.allocator.offsetOf(ptr)) / pageBytes()) * pageBytes();
    // What lies in no live block was never pinned; nativeFree says so.
    if (bytes > 0) unlockPages(ptr, bytes);
    this.nativeFree(ptr);
  }

  /** Copies bytes; at least one of the ranges lies in the region. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE */
  override copy(target: DevicePtr, source: DevicePtr, bytes: number): void {
    checkBytes(bytes);
    if (bytes === 0) return;
    this.allocator.region.checkOpen();
    const inside = [target, source].filter((ptr) => this.allocator.offsetOf(ptr) !== NULL_OFFSET);
    if (inside.length === 0 || target === NULL_PTR || source === NULL_PTR) {
      throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: target });
    }
    for (const ptr of inside) this.#checkRange(ptr, bytes);
    moveBytes(target, source, bytes);
  }

  /** @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_ARGUMENT when `value` is no byte */
  override fill(ptr: DevicePtr, value: number, bytes: number): void {
    checkBytes(bytes);
    checkArgument((value & 255) === value, 'value', value, 'an integer from 0 to 255');
    if (bytes === 0) return;
    this.#checkRange(ptr, bytes);
    fillBytes(ptr, value, bytes);
  }

  /** @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_DISPOSED */
  override view(ptr: DevicePtr, bytes: number): Uint8Array {
    checkBytes(bytes);
    if (bytes === 0) return new Uint8Array(0);
    this.#checkRange(ptr, bytes);
    return this.allocator.region.view(ptr - this.allocator.region.base, bytes);
  }

  #checkRange(ptr: DevicePtr, bytes: number): void {
    const { region } = this.allocator;
    region.checkOpen();
    if (!Number.isSafeInteger(ptr) || this.allocator.offsetOf(ptr) === NULL_OFFSET)
      throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    checkRange(ptr - region.base, bytes, region.bytes);
  }
}
