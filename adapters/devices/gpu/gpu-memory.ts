import { unlessRefused } from '../../../src/core/attempt.js';
import { Device, type MemoryInfo } from '../../../src/core/device.js';
import { checkArgument } from '../../../src/core/errors.js';
import type { OptionNames } from '../../../src/core/option-names.js';
import { checkAlignment, checkBytes, type DevicePtr, devicePtr, NULL_PTR } from '../../../src/core/units.js';
import { PROCESS_HEAP } from '../../os/aligned-memory.js';
import { HostSegments, type SegmentPlace } from '../host-segments.js';
import { LiveRange, LiveRanges } from '../live-ranges.js';
import { type AsyncPoolOptions, GpuAsyncPool, thresholdOf } from './gpu-async-pool.js';
import type { OpenedGpu } from './gpu-copies.js';
import { type GpuLimit, GpuLimits } from './gpu-limit.js';
import { GpuManaged } from './gpu-managed.js';
import { type GpuRange, GpuSegment, gpuPlace, ManagedSegment } from './gpu-ranges.js';
import { GpuRuntime } from './gpu-runtime.js';
import { type GpuDialect, hasStatus, NOT_SUPPORTED, OUT_OF_MEMORY } from './gpu-status.js';
import { GpuStreams } from './gpu-streams.js';
import { GpuVirtualMemory } from './gpu-virtual.js';

/** Settings of a GPU device. */
export interface GpuDeviceOptions {
  /** The runtime's library: a file name or a path. @defaultValue the newest that the loader finds */
  readonly library?: string;
  /**
   * How much of each card to use at most, as device memory and pages: bytes, or a share such as `'90%'` of the card or
   * `'90% of free'` of what is free on it at the first use. More is out of memory. @defaultValue what there is
   */
  readonly limit?: GpuLimit;
  /** True, or settings, takes segments from the pool of `cudaMallocAsync`, see {@link GpuMemory.asyncPool}. @defaultValue false */
  readonly asyncPool?: boolean | AsyncPoolOptions;
  /** True makes pages of virtual memory such that {@link GpuDevice.exportPages} can export them. @defaultValue false */
  readonly shareable?: boolean;
}

/** Their names. */
export const GPU_OPTIONS: OptionNames<GpuDeviceOptions> = {
  library: true,
  limit: true,
  asyncPool: true,
  shareable: true,
};

/**
 * The memory of a vendor's GPUs: segments, pages, managed memory, and page-locked memory of the host.
 *
 * Page-locked memory is whole pages that this object maps and registers: so a view of it stays safe when it is freed, and the
 * memory goes back. (Memory of `cudaMallocHost` would have to be kept, or a view of it would crash.)
 */
export abstract class GpuMemory extends Device {
  readonly name: string;
  readonly #dialect: GpuDialect;
  readonly #libraries: readonly string[];
  /** @internal */
  protected readonly ranges = new LiveRanges<GpuRange>();
  /** @internal */
  protected readonly registered = new LiveRanges<LiveRange>();
  readonly #limits: GpuLimits;
  readonly #isShareable: boolean;
  readonly #poolThreshold: bigint | undefined;
  /** @internal */
  protected readonly host: HostSegments;
  readonly #capacities: number[] = [];
  #openedState: OpenedGpu | undefined;
  #poolState: GpuAsyncPool | undefined;
  #virtualState: { readonly virtual: GpuVirtualMemory | undefined } | undefined;
  #liveBytes = 0;

  /** @throws ERR_MEM_INVALID_ARGUMENT */
  constructor(dialect: GpuDialect, { library, limit, asyncPool = false, shareable = false }: GpuDeviceOptions = {}) {
    super();
    checkArgument(library !== '', 'library', "''", 'a file name or a path');
    checkArgument(typeof shareable === 'boolean', 'shareable', String(shareable), 'true or false');
    this.#isShareable = shareable;
    this.name = dialect.name;
    this.#dialect = dialect;
    this.#limits = new GpuLimits(limit, (id) => this.memoryInfo(id));
    this.#poolThreshold = asyncPool === false ? undefined : thresholdOf(asyncPool);
    this.#libraries = library === undefined ? dialect.libraries : [library];
    this.host = new HostSegments(
      {
        lock: (base, bytes) => this.onActive((runtime) => runtime.hostRegister(base, bytes)),
        unlock: (base) => this.#unregister(base),
      },
      // The device may work on it after the thread has ended.
      PROCESS_HEAP,
      this.events,
    );
  }

  /** @throws ERR_MEM_DEVICE_ABSENT */
  override get deviceCount(): number {
    return this.open().deviceCount;
  }

  override get activeDeviceId(): number {
    return this.#openedState?.runtime.activeDevice ?? 0;
  }

  /** Undefined where the driver or the card has no virtual memory. @throws ERR_MEM_DEVICE_ABSENT */
  override get virtual(): GpuVirtualMemory | undefined {
    return (this.#virtualState ??= { virtual: this.#makeVirtual() }).virtual;
  }

  /** Bytes of live segments, managed ones too, and of committed pages, as they were asked for; pinned memory is apart. */
  override get liveBytes(): number {
    return this.#liveBytes + (this.#virtualState?.virtual?.committedBytes ?? 0);
  }

  /** How often the system refused to lock pages. */
  get pinFailures(): number {
    return this.host.pinFailures;
  }

  /** Bytes of freed memory that was viewed and waits for a request of the same size: managed, and pinned on Windows. */
  get keptBytes(): number {
    return this.host.kept.bytes + (this.#openedState?.managed.keptBytes ?? 0);
  }

  /** The versions of the runtime and of the interface that the driver has: 13000 is 13.0. @throws ERR_MEM_DEVICE_ABSENT */
  versions(): { readonly runtime: number; readonly driver: number } {
    return this.open().runtime.versions();
  }

  /** The name of a device, as the driver has it. @throws ERR_MEM_INVALID_DEVICE, ERR_MEM_DEVICE_ABSENT */
  deviceName(id: number): string {
    this.checkId(id);
    return this.open().runtime.driver.deviceName(id) ?? this.name;
  }

  override activate(id: number): void {
    this.checkId(id);
    const { runtime } = this.open();
    runtime.setDevice(id);
    runtime.activeDevice = id;
  }

  /** The pools that segments come from, with the option `asyncPool`. @throws ERR_MEM_DEVICE_ABSENT */
  get asyncPool(): GpuAsyncPool | undefined {
    if (this.#poolThreshold === undefined) return undefined;
    return (this.#poolState ??= new GpuAsyncPool(this.open().runtime, this.#poolThreshold));
  }

  /** All of a device's memory, or the limit; asked once. @throws ERR_MEM_INVALID_DEVICE, ERR_MEM_DEVICE_ABSENT, ERR_MEM_NATIVE */
  override getMaxMemorySize(id: number): number {
    return (this.#capacities[id] ??= this.#limits.of(id)?.capacityBytes ?? this.memoryInfo(id).totalBytes);
  }

  override deviceIdOf(ptr: DevicePtr): number {
    return this.ranges.containing(ptr)?.device ?? this.activeDeviceId;
  }

  /** @throws ERR_MEM_INVALID_DEVICE, ERR_MEM_DEVICE_ABSENT, ERR_MEM_NATIVE */
  override memoryInfo(id: number): MemoryInfo {
    this.checkId(id);
    const { runtime } = this.open();
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
      const limit = this.#limits.of(this.activeDeviceId);
      if (limit?.admits(place.mappedBytes) === false) return undefined;
      const address = this.#ask((runtime) => (this.asyncPool ?? runtime).malloc(place.mappedBytes));
      if (address === 0) return undefined;
      limit?.take(place.mappedBytes);
      return new GpuSegment(address, bytes, place, this.activeDeviceId);
    });
  }

  /** Frees device memory, when all work of its device is done; null is ignored. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_NATIVE */
  override nativeFree(ptr: DevicePtr): void {
    if (ptr === 0) return;
    const segment = this.ranges.startingAt(ptr, GpuSegment);
    const { runtime } = this.open();
    runtime.on(segment.device, () => (this.asyncPool ?? runtime).free(segment.nativeAddress));
    this.#limits.of(segment.device)?.give(segment.place.mappedBytes);
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
    this.open();
    return this.host.allocate(bytes, alignment, true);
  }

  /** Frees pinned memory, when all work of every device is done; null is ignored. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_NATIVE */
  override pinnedFree(ptr: DevicePtr): void {
    if (ptr !== 0) this.host.free(ptr, true);
  }

  /**
   * Allocates memory that migrates between host and devices. Wait for the device's work before the host touches it.
   *
   * @throws as {@link nativeAlloc}
   */
  override managedAlloc(bytes: number, alignment = 0): DevicePtr {
    return this.#allocate(bytes, alignment, (place) => {
      const kept = this.open().managed.takeKept(place);
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
    const segment = this.ranges.startingAt(ptr, ManagedSegment);
    this.open().managed.free(segment);
    this.#remove(segment);
  }

  /** @throws ERR_MEM_INVALID_POINTER, ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ARGUMENT for memory that is ours or registered, ERR_MEM_NATIVE */
  override registerHost(ptr: DevicePtr, bytes: number): void {
    checkBytes(bytes);
    devicePtr(ptr);
    const known = [this.registered, this.ranges, this.host.ranges].some((ranges) => ranges.overlapping(ptr, bytes));
    const expected = 'memory of the caller, in no part registered or allocated here';
    checkArgument(ptr !== 0 && bytes !== 0 && !known, 'range', `${bytes} bytes at ${ptr}`, expected);
    this.onActive((runtime) => runtime.hostRegister(ptr, bytes));
    this.registered.insert(new LiveRange(ptr, bytes));
  }

  /** Ends a registration, when all work of every device is done. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_NATIVE */
  override unregisterHost(ptr: DevicePtr): void {
    const registration = this.registered.startingAt(ptr, LiveRange);
    this.#unregister(ptr);
    this.registered.remove(registration.base);
  }

  /** The runtime, loaded at the first use. @throws ERR_MEM_DEVICE_ABSENT @internal */
  protected open(): OpenedGpu {
    if (this.#openedState === undefined) {
      const runtime = new GpuRuntime(this.#dialect, this.#libraries, this.#isShareable);
      const managed = new GpuManaged(runtime, this.ranges);
      this.#openedState = { runtime, streams: new GpuStreams(runtime), managed, deviceCount: runtime.deviceCount() };
    }
    return this.#openedState;
  }

  #makeVirtual(): GpuVirtualMemory | undefined {
    const { runtime, deviceCount } = this.open();
    if (!runtime.driver.hasVirtualMemory) return undefined;
    // Makes no device the current one: that would set each of them up, at hundreds of MiB.
    const granularities = unlessRefused(hasStatus(NOT_SUPPORTED), () =>
      Array.from({ length: deviceCount }, (_, id) => runtime.driver.granularity(id)),
    );
    return granularities && new GpuVirtualMemory(runtime, this.ranges, this.#limits, Math.max(...granularities));
  }

  /** @param make - asks for memory, and gives undefined when there is no room */
  #allocate(bytes: number, alignment: number, make: (place: SegmentPlace) => GpuSegment | ManagedSegment | undefined): DevicePtr {
    checkBytes(bytes);
    checkAlignment(alignment);
    const place = gpuPlace(bytes, alignment);
    this.open();
    if (bytes === 0 || !Number.isSafeInteger(place.mappedBytes)) return NULL_PTR;
    const segment = make(place);
    if (segment === undefined) return NULL_PTR;
    this.ranges.insert(segment);
    this.#liveBytes += bytes;
    return segment.base;
  }

  /** Runs an action on the active device. @internal */
  protected onActive<T>(action: (runtime: GpuRuntime) => T): T {
    const { runtime } = this.open();
    return runtime.on(runtime.activeDevice, () => action(runtime));
  }

  /** Asks the active device for memory. @returns 0 when there is no room, also where the runtime lacks memory for itself */
  #ask(allocate: (runtime: GpuRuntime) => number): number {
    return unlessRefused(hasStatus(OUT_OF_MEMORY), () => this.onActive(allocate)) ?? 0;
  }

  #unregister(base: DevicePtr): void {
    const { runtime } = this.open();
    runtime.synchronizeAll();
    this.onActive(() => runtime.call('HostUnregister', base));
  }

  #remove(segment: GpuSegment | ManagedSegment): void {
    this.ranges.remove(segment.base);
    this.#liveBytes -= segment.bytes;
  }
}
