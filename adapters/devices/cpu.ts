import { Device } from '../../src/core/device.js';
import type { VirtualMemory } from '../../src/core/device-interface.js';
import { MemoryError } from '../../src/core/errors.js';
import { checkAlignment, checkBytes, type DevicePtr, KiB, NULL_PTR } from '../../src/core/units.js';
import { alignedAlloc, alignedFree } from '../os/aligned-memory.js';
import { fillBytes, moveBytes } from '../os/bytes.js';
import { lockPages, pageBytes, unlockPages } from '../os/mapping.js';
import { maxMemoryBytes } from '../os/memory-limits.js';
import { CpuSegment, KeptSegments, segmentPlace } from './cpu-segment.js';
import { CpuVirtualMemory } from './cpu-virtual.js';
import { HostRanges } from './host-ranges.js';

/** Settings of a {@link CpuDevice}. */
export interface CpuDeviceOptions {
  /**
   * The unit of {@link CpuDevice.virtual} in bytes: a multiple of the system's page size.
   *
   * @defaultValue 64 KiB
   */
  readonly granularityBytes?: number;
}

/**
 * The memory of this machine, through the C library.
 *
 * An array over a segment stays safe after the segment is freed: a segment that was ever viewed is never given to the C
 * library again. Its pages are replaced by empty ones and their addresses stay out of use (`retiredBytes`); one smaller
 * than a page, and any on Windows, is kept for a later request of the same size (`keptBytes`).
 */
export class CpuDevice extends Device {
  readonly name = 'cpu';
  readonly deviceCount = 1;
  /** Undefined on Windows. */
  override readonly virtual: VirtualMemory | undefined;
  /** How often the system refused to lock pages. */
  pinFailures = 0;
  readonly #ranges = new HostRanges();
  readonly #kept = new KeptSegments();
  #liveBytes = 0;
  #maxBytes = 0;

  /** @throws ERR_MEM_INVALID_ARGUMENT */
  constructor(options: CpuDeviceOptions = {}) {
    super();
    const { granularityBytes = 64 * KiB } = options;
    const virtual = new CpuVirtualMemory(this.#ranges, granularityBytes);
    this.virtual = process.platform === 'win32' ? undefined : virtual;
  }

  override get activeDeviceId(): number {
    return 0;
  }

  /** Bytes of the live segments, as they were asked for. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Bytes of address space that stay mapped, without memory behind them, for arrays that may still exist. */
  get retiredBytes(): number {
    return this.#ranges.retiredBytes;
  }

  /** Bytes of freed segments that were viewed and wait for a request of the same size. */
  get keptBytes(): number {
    return this.#kept.bytes;
  }

  override activate(id: number): void {
    this.checkId(id);
  }

  /** The physical memory, or the lower limit of a control group; read once. @throws ERR_MEM_INVALID_DEVICE */
  override getMaxMemorySize(id: number): number {
    this.checkId(id);
    if (this.#maxBytes === 0) this.#maxBytes = maxMemoryBytes();
    return this.#maxBytes;
  }

  /**
   * Allocates a segment: at a multiple of 64, and from one page on in whole pages of its own. Its content is undefined.
   * The system may promise more than it has; a limit is a manager's matter. Cost: O(log n) and a call of the C library.
   *
   * @returns 0 when there is no room, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT
   */
  override nativeAlloc(bytes: number, alignment = 0): DevicePtr {
    return this.#allocate(bytes, alignment, false)?.base ?? NULL_PTR;
  }

  /** Frees a segment; the null pointer is ignored. @throws ERR_MEM_UNKNOWN_POINTER unless `nativeAlloc` gave it */
  override nativeFree(ptr: DevicePtr): void {
    if (ptr !== 0) this.#free(this.#segment(ptr, false));
  }

  /**
   * Allocates whole pages and locks them. Where the system refuses, they are handed out unlocked: `pinFailures` counts
   * that, and the first time a `pin-failed` event tells why. When a listener throws, nothing was allocated.
   *
   * @returns 0 when there is no room, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT
   */
  override pinnedAlloc(bytes: number, alignment = 0): DevicePtr {
    const segment = this.#allocate(bytes, alignment, true);
    if (segment === undefined) return NULL_PTR;
    try {
      lockPages(segment.base, segment.place.mappedBytes);
      segment.locked = true;
    } catch (error) {
      this.#pinFailed(segment, error);
    }
    return segment.base;
  }

  /** Unlocks and frees; the null pointer is ignored. @throws ERR_MEM_UNKNOWN_POINTER unless `pinnedAlloc` gave it */
  override pinnedFree(ptr: DevicePtr): void {
    if (ptr !== 0) this.#free(this.#segment(ptr, true));
  }

  /**
   * Copies bytes; the ranges may overlap, and 0 bytes copy from and to anywhere.
   *
   * At least one range must lie in this device's memory. The other may be the caller's own (a library's, another
   * device's): bytes that touch none of this device's live segments are trusted as they are, so a pointer to memory
   * that was freed is as dangerous here as in C.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_POINTER
   * @throws ERR_MEM_UNKNOWN_POINTER when neither range is this device's, or one is null
   * @throws ERR_MEM_OUT_OF_RANGE when a range lies partly in a segment
   */
  override copy(target: DevicePtr, source: DevicePtr, bytes: number): void {
    checkBytes(bytes);
    if (bytes === 0) return;
    const known = [this.#ranges.find(target, bytes), this.#ranges.find(source, bytes)];
    if (target === 0 || source === 0) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: 0 });
    if (known[0] === undefined && known[1] === undefined) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: target });
    moveBytes(target, source, bytes);
  }

  /**
   * Sets every byte of a range of this device's memory.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_POINTER, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE
   * @throws ERR_MEM_INVALID_ARGUMENT when `value` is no integer from 0 to 255
   */
  override fill(ptr: DevicePtr, value: number, bytes: number): void {
    checkBytes(bytes);
    if (!Number.isInteger(value) || value < 0 || value > 255) {
      throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
        name: 'value',
        value: `${value}`,
        expected: 'an integer from 0 to 255',
      });
    }
    if (bytes === 0) return;
    this.#ranges.locate(ptr, bytes);
    fillBytes(ptr, value, bytes);
  }

  /** Returns at once: every call of this device is done when it returns. */
  override synchronize(): void {}

  /**
   * Gives a range as bytes, without a copy. Cost: O(log n), and up to 0.3 ms for the first view of a segment.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_POINTER, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE
   * @throws ERR_MEM_INVALID_ARGUMENT above 4 GiB
   */
  override view(ptr: DevicePtr, bytes: number): Uint8Array {
    checkBytes(bytes);
    if (bytes === 0) return new Uint8Array(0);
    const range = this.#ranges.locate(ptr, bytes);
    return range.view(ptr - range.base, bytes);
  }

  #allocate(bytes: number, alignment: number, pinned: boolean): CpuSegment | undefined {
    checkBytes(bytes);
    checkAlignment(alignment);
    if (bytes === 0) return undefined;
    const place = segmentPlace(bytes, pinned ? Math.max(alignment, pageBytes()) : alignment);
    const kept = this.#kept.take(place);
    const base = kept ?? (alignedAlloc(place.mappedBytes, place.alignment) as DevicePtr);
    if (base === NULL_PTR) return undefined;
    const segment = new CpuSegment(base, bytes, place, pinned);
    segment.viewed = kept !== undefined;
    this.#ranges.add(segment);
    this.#liveBytes += bytes;
    return segment;
  }

  #segment(ptr: DevicePtr, pinned: boolean): CpuSegment {
    const range = this.#ranges.at(ptr);
    if (!(range instanceof CpuSegment) || range.pinned !== pinned)
      throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    return range;
  }

  #free(segment: CpuSegment): void {
    const { base, place } = segment;
    if (segment.locked) unlockPages(base, place.mappedBytes);
    segment.locked = false;
    if (!segment.viewed) alignedFree(base);
    else if (segment.ownsPages && process.platform !== 'win32') this.#ranges.retire(base, place.mappedBytes);
    else this.#kept.put(segment);
    this.#ranges.remove(segment);
    this.#liveBytes -= segment.bytes;
  }

  #pinFailed(segment: CpuSegment, error: unknown): void {
    this.pinFailures++;
    if (this.pinFailures > 1) return;
    const reason = error instanceof Error ? error.message : String(error);
    try {
      this.events.emit('pin-failed', { ptr: segment.base, bytes: segment.bytes, reason });
    } catch (thrown) {
      this.#free(segment);
      throw thrown;
    }
  }
}
