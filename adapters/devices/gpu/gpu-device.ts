import { unlessRefused } from '../../../src/core/attempt.js';
import { Device, type MemoryInfo } from '../../../src/core/device.js';
import type { StreamOperations } from '../../../src/core/device-interface.js';
import { DeviceStream } from '../../../src/core/device-stream.js';
import { checkArgument } from '../../../src/core/errors.js';
import type { OptionNames } from '../../../src/core/option-names.js';
import { checkAlignment, checkBytes, type DevicePtr, devicePtr, NULL_PTR } from '../../../src/core/units.js';
import { PROCESS_HEAP } from '../../os/aligned-memory.js';
import { addressOfBytes } from '../../os/bytes.js';
import { HostSegments, placeKey, type SegmentPlace } from '../host-segments.js';
import { LiveRange, LiveRanges } from '../live-ranges.js';
import { GpuCopies, type OpenedGpu } from './gpu-copies.js';
import { type GpuRange, GpuSegment, gpuPlace, ManagedSegment } from './gpu-ranges.js';
import { GpuRuntime } from './gpu-runtime.js';
import { closeMemory, exportMemory, type IpcMemory, importMemory } from './gpu-sharing.js';
import { type GpuDialect, hasStatus, NOT_SUPPORTED, OUT_OF_MEMORY } from './gpu-status.js';
import { GpuStreams } from './gpu-streams.js';
import { GpuVirtualMemory } from './gpu-virtual.js';

/** Settings of a GPU device. */
export interface GpuDeviceOptions {
  /** The runtime's library: a file name or a path. @defaultValue the newest that the loader finds */
  readonly library?: string;
}

/** Their names. */
export const GPU_OPTIONS: OptionNames<GpuDeviceOptions> = { library: true };

/**
 * The GPUs of one vendor, through the CUDA runtime or one with the same functions under other names.
 *
 * The library is loaded at the first use; without it, a driver or a card, each use throws ERR_MEM_DEVICE_ABSENT with the
 * reason. Device memory has no bytes that the host can see. Page-locked memory is whole pages that this object maps and
 * registers: so a view of it stays safe when it is freed, and the memory goes back. (Memory of `cudaMallocHost` would
 * have to be kept, or a view of it would crash.)
 *
 * `copy`, `fill` and `synchronize` return when the work is done. They do not wait for streams from {@link createStream}, nor
 * do streams wait for them.
 */
export class GpuDevice extends Device {
  readonly name: string;
  readonly #dialect: GpuDialect;
  readonly #libraries: readonly string[];
  readonly #ranges = new LiveRanges<GpuRange>();
  readonly #registered = new LiveRanges<LiveRange>();
  /** Managed memory that was viewed, by place: it is never given back, only used again. */
  readonly #keptManaged = new Map<string, ManagedSegment[]>();
  readonly #host: HostSegments;
  readonly #copies: GpuCopies;
  readonly #capacities: number[] = [];
  #openedState: OpenedGpu | undefined;
  #virtualState: { readonly virtual: GpuVirtualMemory | undefined } | undefined;
  #liveBytes = 0;

  /** @throws ERR_MEM_INVALID_ARGUMENT */
  constructor(dialect: GpuDialect, { library }: GpuDeviceOptions = {}) {
    super();
    checkArgument(library !== '', 'library', "''", 'a file name or a path');
    this.name = dialect.name;
    this.#dialect = dialect;
    this.#libraries = library === undefined ? dialect.libraries : [library];
    this.#host = new HostSegments(
      {
        lock: (base, bytes) => this.#onActive((runtime) => runtime.hostRegister(base, bytes)),
        unlock: (base) => this.#unregister(base),
      },
      // The device may work on it after the thread has ended.
      PROCESS_HEAP,
      this.events,
    );
    const known = { device: this.#ranges, host: this.#host.ranges, registered: this.#registered };
    this.#copies = new GpuCopies(() => this.#open(), known);
  }

  /** @throws ERR_MEM_DEVICE_ABSENT */
  override get deviceCount(): number {
    return this.#open().deviceCount;
  }

  override get activeDeviceId(): number {
    return this.#openedState?.runtime.activeDevice ?? 0;
  }

  /** Undefined where the driver or the card has no virtual memory. @throws ERR_MEM_DEVICE_ABSENT */
  override get virtual(): GpuVirtualMemory | undefined {
    return (this.#virtualState ??= { virtual: this.#makeVirtual() }).virtual;
  }

  /** @throws ERR_MEM_DEVICE_ABSENT */
  override get streams(): StreamOperations {
    return this.#open().streams;
  }

  /** Bytes of live segments, managed ones too, and of committed pages, as they were asked for; pinned memory is apart. */
  override get liveBytes(): number {
    return this.#liveBytes + (this.#virtualState?.virtual?.committedBytes ?? 0);
  }

  /** How often the system refused to lock pages. */
  get pinFailures(): number {
    return this.#host.pinFailures;
  }

  /** Bytes of freed memory that was viewed and waits for a request of the same size: managed, and pinned on Windows. */
  get keptBytes(): number {
    const managed = [...this.#keptManaged.values()].flat();
    return managed.reduce((bytes, { place }) => bytes + place.mappedBytes, this.#host.kept.bytes);
  }

  /** The versions of the runtime and of the interface that the driver has: 13000 is 13.0. @throws ERR_MEM_DEVICE_ABSENT */
  versions(): { readonly runtime: number; readonly driver: number } {
    return this.#open().runtime.versions();
  }

  /** The name of a device, as the driver has it. @throws ERR_MEM_INVALID_DEVICE, ERR_MEM_DEVICE_ABSENT */
  deviceName(id: number): string {
    this.checkId(id);
    return this.#open().runtime.driver.deviceName(id) ?? this.name;
  }

  override activate(id: number): void {
    this.checkId(id);
    const { runtime } = this.#open();
    runtime.setDevice(id);
    runtime.activeDevice = id;
  }

  /** All of a device's memory; asked once. @throws ERR_MEM_INVALID_DEVICE, ERR_MEM_DEVICE_ABSENT, ERR_MEM_NATIVE */
  override getMaxMemorySize(id: number): number {
    return (this.#capacities[id] ??= this.memoryInfo(id).totalBytes);
  }

  override deviceIdOf(ptr: DevicePtr): number {
    return this.#ranges.containing(ptr)?.device ?? this.activeDeviceId;
  }

  /** @throws ERR_MEM_INVALID_DEVICE, ERR_MEM_DEVICE_ABSENT, ERR_MEM_NATIVE */
  override memoryInfo(id: number): MemoryInfo {
    this.checkId(id);
    const { runtime } = this.#open();
    return runtime.on(id, () => runtime.memoryInfo());
  }

  /**
   * Allocates device memory, at a multiple of 256. A larger alignment allocates that many bytes more.
   *
   * @returns 0 when there is no room, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT, ERR_MEM_DEVICE_ABSENT, ERR_MEM_NATIVE
   */
  override nativeAlloc(bytes: number, alignment = 0): DevicePtr {
    return this.#allocate(bytes, alignment, (place) => {
      const address = this.#ask((runtime) => runtime.malloc(place.mappedBytes));
      return address === 0 ? undefined : new GpuSegment(address, bytes, place, this.activeDeviceId);
    });
  }

  /** Frees device memory, when all work of its device is done; null is ignored. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_NATIVE */
  override nativeFree(ptr: DevicePtr): void {
    if (ptr === 0) return;
    const segment = this.#ranges.startingAt(ptr, GpuSegment);
    const { runtime } = this.#open();
    runtime.on(segment.device, () => runtime.free(segment.nativeAddress));
    this.#remove(segment);
  }

  /**
   * Allocates whole pages and registers them with the card. Where it refuses, they stay unregistered, with a `pin-failed`
   * event the first time.
   *
   * @returns 0 when there is no room, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT, ERR_MEM_DEVICE_ABSENT
   */
  override pinnedAlloc(bytes: number, alignment = 0): DevicePtr {
    checkBytes(bytes);
    this.#open();
    return this.#host.allocate(bytes, alignment, true);
  }

  /** Frees pinned memory, when all work of every device is done; null is ignored. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_NATIVE */
  override pinnedFree(ptr: DevicePtr): void {
    if (ptr !== 0) this.#host.free(ptr, true);
  }

  /**
   * Allocates memory that migrates between host and devices. Wait for the device's work before the host touches it.
   *
   * @throws as {@link nativeAlloc}
   */
  override managedAlloc(bytes: number, alignment = 0): DevicePtr {
    return this.#allocate(bytes, alignment, (place) => {
      const kept = this.#keptManaged.get(placeKey(place))?.pop();
      const address = kept?.nativeAddress ?? this.#ask((runtime) => runtime.mallocManaged(place.mappedBytes));
      if (address === 0) return undefined;
      const segment = new ManagedSegment(address, bytes, place, this.activeDeviceId);
      if (kept !== undefined) segment.replace(kept.held);
      return segment;
    });
  }

  /**
   * Frees managed memory, when all work of every device is done. What was viewed is kept for a request of the same size, so
   * that views stay safe.
   *
   * @throws as {@link nativeFree}
   */
  override managedFree(ptr: DevicePtr): void {
    if (ptr === 0) return;
    const segment = this.#ranges.startingAt(ptr, ManagedSegment);
    const { runtime } = this.#open();
    runtime.synchronizeAll();
    if (segment.viewed) this.#keep(segment);
    else runtime.on(segment.device, () => runtime.free(segment.nativeAddress));
    this.#remove(segment);
  }

  /** @throws ERR_MEM_INVALID_POINTER, ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT for memory that is ours or registered, ERR_MEM_NATIVE */
  override registerHost(ptr: DevicePtr, bytes: number): void {
    checkBytes(bytes);
    devicePtr(ptr);
    const known = [this.#registered, this.#ranges, this.#host.ranges].some((ranges) => ranges.overlapping(ptr, bytes));
    const expected = 'memory of the caller, in no part registered or allocated here';
    checkArgument(ptr !== 0 && bytes !== 0 && !known, 'range', `${bytes} bytes at ${ptr}`, expected);
    this.#onActive((runtime) => runtime.hostRegister(ptr, bytes));
    this.#registered.insert(new LiveRange(ptr, bytes));
  }

  /** Ends a registration, when all work of every device is done. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_NATIVE */
  override unregisterHost(ptr: DevicePtr): void {
    const registration = this.#registered.startingAt(ptr, LiveRange);
    this.#unregister(ptr);
    this.#registered.remove(registration.base);
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
    this.#onActive((runtime) => runtime.call('DeviceSynchronize'));
  }

  /**
   * Gives pinned or managed memory as bytes.
   *
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM for device memory, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_SIZE
   */
  override view(ptr: DevicePtr, bytes: number): Uint8Array {
    checkBytes(bytes);
    const range = this.#ranges.find(ptr, bytes);
    if (range !== undefined && !(range instanceof ManagedSegment)) throw this.unsupported('a view of device memory');
    if (bytes === 0) return new Uint8Array(0);
    const host = range ?? this.#host.ranges.locate(ptr, bytes);
    return host.view(ptr - host.base, bytes);
  }

  /** Makes a stream on the active device. @throws ERR_MEM_DEVICE_ABSENT, ERR_MEM_NATIVE */
  override createStream(): DeviceStream {
    const { streams } = this.#open();
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
    const { streams } = this.#open();
    return new DeviceStream(streams.adopt(devicePtr(handle)), streams, (id) => streams.close(id));
  }

  /** The runtime's own handle of a stream, for libraries that work on it. @throws ERR_MEM_INVALID_ARGUMENT */
  streamHandle(stream: number): number {
    return this.#open().streams.find(stream).handle;
  }

  /**
   * Exports device memory to another process, which can reach all of its segment.
   * @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_NATIVE
   */
  exportMemory(ptr: DevicePtr): IpcMemory {
    return exportMemory(this.#open().runtime, this.#ranges, ptr);
  }

  /**
   * Opens memory that another process exported. CUDA refuses what this process itself exported.
   *
   * @returns its address here, to be given back by {@link closeMemory}
   * @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_INVALID_SIZE, ERR_MEM_OUT_OF_RANGE, ERR_MEM_NATIVE
   */
  importMemory(memory: IpcMemory): DevicePtr {
    return importMemory(this.#open().runtime, this.#ranges, memory);
  }

  /** Closes imported memory, when all work of its device is done. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_NATIVE */
  closeMemory(ptr: DevicePtr): void {
    closeMemory(this.#open().runtime, this.#ranges, ptr);
  }

  #open(): OpenedGpu {
    if (this.#openedState === undefined) {
      const runtime = new GpuRuntime(this.#dialect, this.#libraries);
      this.#openedState = { runtime, streams: new GpuStreams(runtime), deviceCount: runtime.deviceCount() };
    }
    return this.#openedState;
  }

  #makeVirtual(): GpuVirtualMemory | undefined {
    const { runtime, deviceCount } = this.#open();
    if (!runtime.driver.hasVirtualMemory) return undefined;
    // Makes no device the current one: that would set each of them up, at hundreds of MiB.
    const granularities = unlessRefused(hasStatus(NOT_SUPPORTED), () =>
      Array.from({ length: deviceCount }, (_, id) => runtime.driver.granularity(id)),
    );
    return granularities && new GpuVirtualMemory(runtime, this.#ranges, Math.max(...granularities));
  }

  /** @param make - asks for memory, and gives undefined when there is no room */
  #allocate(bytes: number, alignment: number, make: (place: SegmentPlace) => GpuSegment | ManagedSegment | undefined): DevicePtr {
    checkBytes(bytes);
    checkAlignment(alignment);
    const place = gpuPlace(bytes, alignment);
    this.#open();
    if (bytes === 0 || !Number.isSafeInteger(place.mappedBytes)) return NULL_PTR;
    const segment = make(place);
    if (segment === undefined) return NULL_PTR;
    this.#ranges.insert(segment);
    this.#liveBytes += bytes;
    return segment.base;
  }

  #onActive<T>(action: (runtime: GpuRuntime) => T): T {
    const { runtime } = this.#open();
    return runtime.on(runtime.activeDevice, () => action(runtime));
  }

  /** Asks the active device for memory. @returns 0 when there is no room, also where the runtime lacks memory for itself */
  #ask(allocate: (runtime: GpuRuntime) => number): number {
    return unlessRefused(hasStatus(OUT_OF_MEMORY), () => this.#onActive(allocate)) ?? 0;
  }

  #unregister(base: DevicePtr): void {
    const { runtime } = this.#open();
    runtime.synchronizeAll();
    this.#onActive(() => runtime.call('HostUnregister', base));
  }

  #keep(segment: ManagedSegment): void {
    const key = placeKey(segment.place);
    const kept = this.#keptManaged.get(key) ?? [];
    this.#keptManaged.set(key, kept);
    kept.push(segment);
  }

  #remove(segment: GpuSegment | ManagedSegment): void {
    this.#ranges.remove(segment.base);
    this.#liveBytes -= segment.bytes;
  }
}
