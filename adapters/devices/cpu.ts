/**
 * The memory of the machine: aligned, page-locked and virtual.
 *
 * @module
 */

import { HostDevice, type MemoryInfo } from '../../src/core/device.js';
import type { VirtualMemory } from '../../src/core/device-interface.js';
import { checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import type { BufferPart } from '../../src/core/typed-array.js';
import { checkAlignment, checkBytes, type DevicePtr, KiB, NULL_PTR } from '../../src/core/units.js';
import { copyIn, copyOut, fillBytes, moveBytes } from '../os/bytes.js';
import { lockPages, unlockPages } from '../os/mapping.js';
import { keptMaxMemoryBytes } from '../os/memory-limits.js';
import { THREAD_HEAP } from '../os/thread-memory.js';
import { CpuVirtualMemory } from './cpu-virtual.js';
import { HostSegments } from './host-segments.js';
import { copyEnds } from './live-ranges.js';
import { checkFill } from './range-checks.js';

/** Settings of a {@link CpuDevice}. */
export interface CpuDeviceOptions {
  /**
   * The unit of {@link CpuDevice.virtual} in bytes: a multiple of the system's page size.
   *
   * @defaultValue 64 KiB
   */
  readonly granularityBytes?: number;
}

const OPTIONS: OwnOptions<CpuDeviceOptions> = { of: () => CpuDevice, names: { granularityBytes: true } };

/**
 * The memory of this machine, through the C library.
 *
 * An array over a segment stays safe after the segment is freed: the memory of its pages goes back, but their addresses
 * (`retiredBytes`) only when the garbage collector has found that no array over them is left. Beyond 1 TiB of addresses that
 * wait, they are used again before. A segment smaller than a page, and any on Windows, waits with its memory (`keptBytes`),
 * and serves requests of the same size meanwhile. In a worker on glibc all memory is freed when its thread ends, also by
 * `terminate()`.
 */
export class CpuDevice extends HostDevice {
  readonly name = 'cpu';
  /** Undefined on Windows. */
  override readonly virtual: VirtualMemory | undefined;
  readonly #segments = new HostSegments({ lock: lockPages, unlock: unlockPages }, THREAD_HEAP, this.events);
  readonly #pages: CpuVirtualMemory;

  /** @throws ERR_MEM_INVALID_ARGUMENT */
  constructor(options: CpuDeviceOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super();
    const { granularityBytes = 64 * KiB } = options;
    this.#pages = new CpuVirtualMemory(this.#segments.ranges, granularityBytes, (bytes) => this.#admits(bytes));
    this.virtual = process.platform === 'win32' ? undefined : this.#pages;
  }

  /** How often the system refused to lock pages. */
  get pinFailures(): number {
    return this.#segments.pinFailures;
  }

  /** Bytes of the live segments, pinned ones too, as they were asked for, and of committed pages. At most the capacity. */
  override get liveBytes(): number {
    return this.#segments.liveBytes + this.#pages.committedBytes;
  }

  /** Bytes of address space that stay mapped, without memory behind them, until no array over them is left. */
  get retiredBytes(): number {
    return this.#segments.ranges.retired.bytes;
  }

  /** Bytes of freed segments that hold memory until no array over them is left, or serve a request of the same size. */
  get keptBytes(): number {
    return this.#segments.kept.bytes;
  }

  /** The physical memory, or the lower limit of a control group; read once. */
  protected override get capacityBytes(): number {
    return keptMaxMemoryBytes();
  }

  /** What the system could still give this process, and {@link getMaxMemorySize}. @throws ERR_MEM_INVALID_DEVICE */
  override memoryInfo(id: number): MemoryInfo {
    const totalBytes = this.getMaxMemorySize(id);
    return { freeBytes: Math.min(process.availableMemory(), totalBytes), totalBytes };
  }

  /**
   * Allocates a segment: at a multiple of 64, and from one page on in whole pages of its own. Its content is undefined.
   * Cost: O(log n) and a call of the C library.
   *
   * @returns 0 when there is no room, when more than the capacity would be live, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT
   */
  override nativeAlloc(bytes: number, alignment = 0): DevicePtr {
    return this.#allocate(bytes, alignment, false);
  }

  /** Frees a segment; the null pointer is ignored. @throws ERR_MEM_UNKNOWN_POINTER unless `nativeAlloc` gave it */
  override nativeFree(ptr: DevicePtr): void {
    if (ptr !== 0) this.#segments.free(ptr, false);
  }

  /**
   * Allocates whole pages and locks them. Where the system refuses, they are handed out unlocked: `pinFailures` counts
   * that, and the first time a `pin-failed` event tells why. When a listener throws, nothing was allocated.
   *
   * @returns 0 as {@link nativeAlloc}
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT
   */
  override pinnedAlloc(bytes: number, alignment = 0): DevicePtr {
    return this.#allocate(bytes, alignment, true);
  }

  /** Unlocks and frees; the null pointer is ignored. @throws ERR_MEM_UNKNOWN_POINTER unless `pinnedAlloc` gave it */
  override pinnedFree(ptr: DevicePtr): void {
    if (ptr !== 0) this.#segments.free(ptr, true);
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
    copyEnds(target, source, (ptr) => this.#segments.ranges.find(ptr, bytes));
    moveBytes(target, source, bytes);
  }

  /**
   * Sets every byte of a range of this device's memory.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_POINTER, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE
   * @throws ERR_MEM_INVALID_ARGUMENT when `value` is no integer from 0 to 255
   */
  override fill(ptr: DevicePtr, value: number, bytes: number): void {
    checkFill(value, bytes);
    if (bytes === 0) return;
    this.#segments.ranges.locate(ptr, bytes);
    fillBytes(ptr, value, bytes);
  }

  /**
   * Gives a range as bytes, without a copy. Cost: O(log n), and up to 0.3 ms for the first view of a segment.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_POINTER, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE
   * @throws ERR_MEM_INVALID_ARGUMENT above 4 GiB
   */
  override view(ptr: DevicePtr, bytes: number): Uint8Array {
    checkBytes(bytes);
    if (bytes === 0) return new Uint8Array(0);
    const range = this.#segments.ranges.locate(ptr, bytes);
    return range.view(ptr - range.base, bytes);
  }

  override bufferAt(ptr: DevicePtr, bytes: number): BufferPart {
    checkBytes(bytes);
    if (bytes === 0) return super.bufferAt(ptr, bytes);
    const range = this.#segments.ranges.locate(ptr, bytes);
    return range.bufferAt(ptr - range.base, bytes);
  }

  /** Copies bytes of JavaScript to this memory; natively into a segment without views, since the first one takes long. @throws as {@link copy} */
  override write(ptr: DevicePtr, source: Uint8Array): void {
    if (source.length === 0) return;
    if (this.#segments.ranges.locate(ptr, source.length).viewed) super.write(ptr, source);
    else copyIn(ptr, source, source.length);
  }

  /** Copies bytes of this memory to JavaScript. As {@link write}. */
  override read(ptr: DevicePtr, target: Uint8Array): void {
    if (target.length === 0) return;
    if (this.#segments.ranges.locate(ptr, target.length).viewed) super.read(ptr, target);
    else copyOut(target, ptr, target.length);
  }

  #allocate(bytes: number, alignment: number, pinned: boolean): DevicePtr {
    checkBytes(bytes);
    checkAlignment(alignment);
    return this.#admits(bytes) ? this.#segments.allocate(bytes, alignment, pinned) : NULL_PTR;
  }

  /** Tells whether so much is left of the capacity: the system may promise more than it has. */
  #admits(bytes: number): boolean {
    return bytes <= keptMaxMemoryBytes() - this.liveBytes;
  }
}
