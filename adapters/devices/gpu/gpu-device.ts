import type { StreamOperations } from '../../../src/core/device-interface.js';
import { DeviceStream } from '../../../src/core/device-stream.js';
import { checkOptionNames } from '../../../src/core/option-names.js';
import { checkBytes, type DevicePtr, devicePtr } from '../../../src/core/units.js';
import { addressOfBytes } from '../../os/bytes.js';
import { GpuCopies } from './gpu-copies.js';
import { type GpuGraph, GpuGraphs } from './gpu-graphs.js';
import type { ManagedAdvice, ManagedPlace } from './gpu-managed.js';
import { GpuMemory } from './gpu-memory.js';
import {
  closePages,
  exportPages,
  ImportedPages,
  type ImportPagesOptions,
  importPages,
  type PageExport,
  type SharedPages,
} from './gpu-page-sharing.js';
import { ManagedSegment } from './gpu-ranges.js';
import { closeMemory, exportMemory, type IpcMemory, importMemory } from './gpu-sharing.js';

/**
 * The GPUs of one vendor, through the CUDA runtime or one with the same functions under other names.
 *
 * The library is loaded at the first use; without it, a driver or a card, each use throws ERR_MEM_DEVICE_ABSENT with the
 * reason. Device memory has no bytes that the host can see.
 *
 * `copy`, `fill` and `synchronize` return when the work is done. They do not wait for streams from {@link createStream}, nor
 * do streams wait for them.
 */
export class GpuDevice extends GpuMemory {
  readonly #copies = new GpuCopies(() => this.open(), {
    device: this.ranges,
    host: this.host.ranges,
    registered: this.registered,
  });

  #graphs: GpuGraphs | undefined;

  /** @throws ERR_MEM_DEVICE_ABSENT */
  override get streams(): StreamOperations {
    return this.open().streams;
  }

  /**
   * Moves the pages of managed memory to a device or to this machine on a stream, before they are needed there.
   *
   * @param to - a device's id, or `'host'`
   * @throws ERR_MEM_INVALID_DEVICE, ERR_MEM_UNKNOWN_POINTER for memory that is not managed, ERR_MEM_OUT_OF_RANGE,
   * ERR_MEM_INVALID_ARGUMENT for no stream, ERR_MEM_NATIVE where the card cannot move pages; as a rejection
   */
  async prefetchAsync(ptr: DevicePtr, bytes: number, to: ManagedPlace, stream = 0): Promise<void> {
    if (to !== 'host') this.checkId(to);
    await this.#copies.prefetchAsync(ptr, bytes, to, stream);
  }

  /**
   * Tells the driver how managed memory will be used.
   *
   * @param of - for `preferred` and `accessed-by` (and what undoes that): the device, or `'host'`. @defaultValue the active device
   * @throws as {@link prefetchAsync}
   */
  advise(ptr: DevicePtr, bytes: number, advice: ManagedAdvice, of: ManagedPlace = this.activeDeviceId): void {
    if (of !== 'host') this.checkId(of);
    this.open().managed.advise(ptr, bytes, advice, of);
  }

  /**
   * Copies, and returns when it is done. At least one end must be memory of this device, its pinned or registered host
   * memory included; what lies in none of these is taken for memory of the host, and trusted.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_POINTER, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_NATIVE
   */
  override copy(target: DevicePtr, source: DevicePtr, bytes: number): void {
    this.#copies.copy(target, source, bytes);
  }

  /** Copies bytes of JavaScript. @throws as {@link copy} */
  override write(ptr: DevicePtr, source: Uint8Array): void {
    this.copy(ptr, addressOfBytes(source), source.length);
  }

  /** Copies to JavaScript. @throws as {@link copy} */
  override read(ptr: DevicePtr, target: Uint8Array): void {
    this.copy(addressOfBytes(target), ptr, target.length);
  }

  /**
   * Copies on a stream. From and to memory that is neither pinned nor registered the call itself may wait.
   *
   * @throws as {@link copy}, and ERR_MEM_INVALID_ARGUMENT for ranges that overlap and a stream of another device
   */
  override copyAsync(target: DevicePtr, source: DevicePtr, bytes: number, stream = 0): Promise<void> {
    return this.#copies.copyAsync(target, source, bytes, stream);
  }

  /**
   * Sets every byte of a range, and returns when it is done.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_NATIVE
   */
  override fill(ptr: DevicePtr, value: number, bytes: number): void {
    this.#copies.fill(ptr, value, bytes);
  }

  /** Fills device memory on a stream. @throws as {@link fill}, and ERR_MEM_INVALID_ARGUMENT for a stream of another device */
  override fillAsync(ptr: DevicePtr, value: number, bytes: number, stream = 0): Promise<void> {
    return this.#copies.fillAsync(ptr, value, bytes, stream);
  }

  /** Waits for all work of the active device. @throws ERR_MEM_NATIVE for what went wrong in it */
  override synchronize(): void {
    this.onActive((runtime) => runtime.call('DeviceSynchronize'));
  }

  /**
   * Gives pinned or managed memory as bytes.
   *
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM for device memory, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_SIZE
   */
  override view(ptr: DevicePtr, bytes: number): Uint8Array {
    checkBytes(bytes);
    const range = this.ranges.find(ptr, bytes);
    if (range !== undefined && !(range instanceof ManagedSegment)) throw this.unsupported('a view of device memory');
    if (bytes === 0) return new Uint8Array(0);
    const host = range ?? this.host.ranges.locate(ptr, bytes);
    return host.view(ptr - host.base, bytes);
  }

  /** Makes a stream on the active device. @throws ERR_MEM_DEVICE_ABSENT, ERR_MEM_NATIVE */
  override createStream(): DeviceStream {
    const { streams } = this.open();
    return new DeviceStream(streams.create(), streams, (id) => streams.close(id));
  }

  /**
   * Uses a stream of the active device that a library made. Disposing waits for its work and does not destroy it: the library
   * may do so after that.
   *
   * @param handle - the library's own: a `cudaStream_t` or `hipStream_t` as a number
   * @throws ERR_MEM_INVALID_POINTER
   */
  adoptStream(handle: number): DeviceStream {
    const { streams } = this.open();
    return new DeviceStream(streams.adopt(devicePtr(handle)), streams, (id) => streams.close(id));
  }

  /** The runtime's own handle of a stream, for libraries that work on it. @throws ERR_MEM_INVALID_ARGUMENT */
  streamHandle(stream: number): number {
    return this.open().streams.find(stream).handle;
  }

  override capture(stream: DeviceStream | number, fn: () => void): GpuGraph {
    const { runtime, streams } = this.open();
    return (this.#graphs ??= new GpuGraphs(runtime, streams)).capture(stream, fn);
  }

  /**
   * Exports device memory to another process, which can reach all of its segment.
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_NATIVE
   */
  exportMemory(ptr: DevicePtr): IpcMemory {
    return exportMemory(this.open().runtime, this.ranges, ptr);
  }

  /**
   * Opens memory that another process exported. CUDA refuses what this process itself exported.
   *
   * @returns its address here, to be given back by {@link closeMemory}
   * @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_INVALID_SIZE, ERR_MEM_OUT_OF_RANGE, ERR_MEM_NATIVE
   */
  importMemory(memory: IpcMemory): DevicePtr {
    return importMemory(this.open().runtime, this.ranges, memory);
  }

  /**
   * Exports committed pages of virtual memory, such as a block of a `PoolMemoryManager`, as file descriptors: needs the option
   * `shareable`. The other process reaches all of the pieces that the block lies in. Cost: a native call a piece.
   *
   * @returns what {@link importPages} takes, as `memory`; dispose of it when it was opened
   * @throws ERR_MEM_UNKNOWN_POINTER for other memory, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT for
   * no bytes, ERR_MEM_NATIVE
   */
  exportPages(ptr: DevicePtr, bytes: number): PageExport {
    return exportPages(this.open().runtime, this.ranges, ptr, bytes);
  }

  /**
   * Opens pages that a process exported, on the active device. This process takes the file descriptors from that one, which the
   * system must allow: as the same user, where Yama is on for a child only.
   *
   * @returns their address here, to be given back by {@link closeMemory}
   * @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_UNSUPPORTED_PLATFORM outside of Linux, ERR_MEM_NATIVE
   */
  importPages(memory: SharedPages, options: ImportPagesOptions = {}): DevicePtr {
    checkOptionNames('importPages', options, { readOnly: true });
    return importPages(this.open().runtime, this.ranges, memory, options.readOnly ?? false);
  }

  /** Closes imported memory, when all work of its device is done. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_NATIVE */
  closeMemory(ptr: DevicePtr): void {
    const { runtime } = this.open();
    const range = this.ranges.containing(ptr);
    if (range instanceof ImportedPages) closePages(runtime, this.ranges, range);
    else closeMemory(runtime, this.ranges, ptr);
  }
}
