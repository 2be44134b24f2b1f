/**
 * A device without memory, for tests, replays and measurements: addresses, a capacity, streams.
 *
 * @module
 */

import { Device, type MemoryInfo } from '../../src/core/device.js';
import { DeviceStream } from '../../src/core/device-stream.js';
import { checkArgument, MemoryError } from '../../src/core/errors.js';
import { checkOptionNames, checkOwnOptions, type OwnOptions } from '../../src/core/option-names.js';
import { checkAlignment, checkBytes, type DevicePtr, devicePtr, KiB, NULL_PTR } from '../../src/core/units.js';
import { checkCapacity, DeviceCapacity } from './device-capacity.js';
import { checkDisjoint, checkFill } from './range-checks.js';
import { type FailureHook, type SimulatedCallName, SimulatedCalls, type SimulatedCosts } from './simulated-calls.js';
import { SimulatedSpace } from './simulated-space.js';
import { SimulatedStreams } from './simulated-streams.js';
import { SimulatedVirtualMemory } from './simulated-virtual.js';

export {
  type FailureHook,
  SIMULATED_CALL_NAMES,
  type SimulatedCall,
  type SimulatedCallName,
  type SimulatedCost,
  type SimulatedCosts,
} from './simulated-calls.js';
export type { SimulatedStreams } from './simulated-streams.js';
export type { SimulatedVirtualMemory } from './simulated-virtual.js';

// Addresses: devices first, 16 TiB apart (the last one reaches up to the pinned part), then pinned, then reserved.
const FIRST_ADDRESS = 2 ** 32;
const DEVICE_STRIDE = 2 ** 44;
const PINNED_START = 2 ** 52;
const RESERVED_START = 2 ** 52 + 2 ** 51;
const ADDRESS_END = 2 ** 53 - 1;
const MAX_DEVICES = 255;
const DEFAULT_CAPACITY_BYTES = 2 ** 40;

/** Settings of a {@link SimulatedDevice}. */
export interface SimulatedDeviceOptions {
  /** From 1 to 255. @defaultValue 1 */
  readonly deviceCount?: number;
  /** Bytes of each device, or a list with one number a device. @defaultValue 1 TiB */
  readonly capacityBytes?: number | readonly number[];
  /** Bytes of page-locked memory. @defaultValue 1 TiB */
  readonly pinnedCapacityBytes?: number;
  /**
   * Gives the device virtual memory; its granularity is a power of two, 64 KiB by default; `decommitStops`, false by default, is
   * what the property of `VirtualMemory` says; `pieces`, false by default, lets it take back whole pieces alone, as a card does.
   * @defaultValue none
   */
  readonly virtual?:
    | boolean
    | { readonly granularityBytes?: number; readonly decommitStops?: boolean; readonly pieces?: boolean };
  /** Gives the device streams. @defaultValue false */
  readonly streams?: boolean;
  /** What calls cost in `nativeTimeNs`. @defaultValue nothing */
  readonly costs?: SimulatedCosts;
}

const OPTIONS: OwnOptions<SimulatedDeviceOptions> = {
  of: () => SimulatedDevice,
  names: {
    deviceCount: true,
    capacityBytes: true,
    pinnedCapacityBytes: true,
    virtual: true,
    streams: true,
    costs: true,
  },
};

/**
 * A device of addresses without memory: for tests, replays and estimates.
 *
 * Its addresses are predictable and never used twice: device d starts at `2^32 + d * 2^44`, and each segment where the
 * one before on that device ended. Its capacity is exact, its calls are counted, and any of them can be made to fail.
 */
export class SimulatedDevice extends Device {
  readonly name = 'simulated';
  readonly deviceCount: number;
  override readonly virtual: SimulatedVirtualMemory | undefined;
  override readonly streams: SimulatedStreams | undefined;
  readonly #calls: SimulatedCalls;
  readonly #spaces: readonly SimulatedSpace[];
  readonly #pinned: SimulatedSpace;
  readonly #total = new DeviceCapacity(Number.MAX_SAFE_INTEGER);
  #active = 0;

  /** @throws ERR_MEM_INVALID_ARGUMENT */
  constructor(options: SimulatedDeviceOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super();
    const { deviceCount = 1, capacityBytes = DEFAULT_CAPACITY_BYTES, pinnedCapacityBytes = DEFAULT_CAPACITY_BYTES } = options;
    const isCount = Number.isInteger(deviceCount) && deviceCount >= 1 && deviceCount <= MAX_DEVICES;
    checkArgument(isCount, 'deviceCount', deviceCount, `an integer from 1 to ${MAX_DEVICES}`);
    this.deviceCount = deviceCount;
    this.#spaces = capacitiesOf(capacityBytes, deviceCount).map((bytes, id) => {
      const end = id + 1 < deviceCount ? startOf(id + 1) : PINNED_START;
      return new SimulatedSpace(startOf(id), end, new DeviceCapacity(bytes, this.#total));
    });
    checkCapacity('pinnedCapacityBytes', pinnedCapacityBytes);
    this.#pinned = new SimulatedSpace(PINNED_START, RESERVED_START, new DeviceCapacity(pinnedCapacityBytes));
    this.#calls = new SimulatedCalls(options.costs);
    this.streams = options.streams === true ? new SimulatedStreams(() => this.#active) : undefined;
    this.virtual = this.#makeVirtual(options.virtual ?? false);
  }

  override get activeDeviceId(): number {
    return this.#active;
  }

  /** How often each native call was made; calls that failed count, calls with a bad argument do not. */
  get counts(): Readonly<Record<SimulatedCallName, number>> {
    return this.#calls.counts;
  }

  /** How many native calls were made: the index of the next one. */
  get callCount(): number {
    return this.#calls.total;
  }

  /** The simulated time of all native calls, from `costs`. */
  get nativeTimeNs(): number {
    return this.#calls.timeNs;
  }

  /** Bytes of live segments and committed pages on all devices; pinned memory is apart. */
  override get liveBytes(): number {
    return this.#total.liveBytes;
  }

  /** The most that `liveBytes` has been. */
  get peakBytes(): number {
    return this.#total.peakBytes;
  }

  /** Live segments on all devices. */
  get liveSegments(): number {
    return this.#spaces.reduce((sum, space) => sum + space.live, 0);
  }

  /** Bytes of live page-locked segments. */
  get pinnedLiveBytes(): number {
    return this.#pinned.capacity.liveBytes;
  }

  /** The most that `pinnedLiveBytes` has been. */
  get pinnedPeakBytes(): number {
    return this.#pinned.capacity.peakBytes;
  }

  /** What `liveBytes` is on one device. @throws ERR_MEM_INVALID_DEVICE */
  liveBytesOf(id: number): number {
    return this.#capacity(id).liveBytes;
  }

  /** The most that `liveBytesOf` has been. @throws ERR_MEM_INVALID_DEVICE */
  peakBytesOf(id: number): number {
    return this.#capacity(id).peakBytes;
  }

  override activate(id: number): void {
    this.checkId(id);
    this.#active = id;
  }

  override getMaxMemorySize(id: number): number {
    return this.#capacity(id).capacityBytes;
  }

  /**
   * Lets the next calls that ask for memory (nativeAlloc, pinnedAlloc, reserve, commit) fail as out of memory, or throw
   * `error`. 0 takes it back.
   *
   * @defaultValue count is 1
   * @throws ERR_MEM_INVALID_ARGUMENT
   */
  failNext(count = 1, error?: Error): void {
    this.#calls.failNext(count, error);
  }

  /** Asks `hook` about every native call from now on; undefined takes it back. It sees the calls that `failNext` leaves over. */
  failWhen(hook: FailureHook | undefined): void {
    this.#calls.hook = hook;
  }

  /**
   * Allocates addresses on the active device. Cost: O(1) amortised.
   *
   * @defaultValue alignment is none: a segment starts where the one before ended
   * @returns 0 above the capacity, when told to fail, when the 16 TiB of addresses are used up, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT
   */
  override nativeAlloc(bytes: number, alignment = 0): DevicePtr {
    return this.#allocate('nativeAlloc', this.#spaces[this.#active]!, bytes, alignment);
  }

  /**
   * Frees a segment, whichever device is active; the null pointer is ignored. Cost: O(log n).
   *
   * @throws ERR_MEM_DOUBLE_FREE when what was there is free already, ERR_MEM_UNKNOWN_POINTER when nothing began there
   */
  override nativeFree(ptr: DevicePtr): void {
    if (ptr !== 0) this.#free('nativeFree', this.#spaceOf(ptr), ptr);
  }

  /** Allocates addresses of the pinned part, as {@link nativeAlloc} does. @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT */
  override pinnedAlloc(bytes: number, alignment = 0): DevicePtr {
    return this.#allocate('pinnedAlloc', this.#pinned, bytes, alignment);
  }

  /** Frees pinned addresses; the null pointer is ignored. @throws ERR_MEM_DOUBLE_FREE, ERR_MEM_UNKNOWN_POINTER */
  override pinnedFree(ptr: DevicePtr): void {
    if (ptr !== 0) this.#free('pinnedFree', this.#pinned, ptr);
  }

  /**
   * Checks both ranges and counts; there is no data. Both must lie in live memory of this device.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_POINTER, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE
   */
  override copy(target: DevicePtr, source: DevicePtr, bytes: number): void {
    this.#checkCopy(target, source, bytes);
    this.#calls.enter('copy', bytes, false);
  }

  /** Checks the range and counts as a copy; there is no data. @throws as {@link copy} */
  override write(ptr: DevicePtr, source: Uint8Array): void {
    this.#checkUsable(ptr, source.length);
    this.#calls.enter('copy', source.length, false);
  }

  /** As {@link write}: the target stays as it is. */
  override read(ptr: DevicePtr, target: Uint8Array): void {
    this.write(ptr, target);
  }

  /**
   * Checks the range and counts; there is no data.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_POINTER, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE
   * @throws ERR_MEM_INVALID_ARGUMENT when `value` is no integer from 0 to 255
   */
  override fill(ptr: DevicePtr, value: number, bytes: number): void {
    this.#checkFill(ptr, value, bytes);
    this.#calls.enter('fill', bytes, false);
  }

  override deviceIdOf(ptr: DevicePtr): number {
    const id = this.virtual?.has(ptr) ? this.virtual.deviceOf(ptr) : this.#idOf(ptr);
    return id < 0 ? this.#active : id;
  }

  /** @throws ERR_MEM_INVALID_DEVICE */
  override memoryInfo(id: number): MemoryInfo {
    const { capacityBytes, liveBytes } = this.#capacity(id);
    return { freeBytes: capacityBytes - liveBytes, totalBytes: capacityBytes };
  }

  /** Gives a stream that was not used before. @throws ERR_MEM_UNSUPPORTED_PLATFORM without the option `streams` */
  override createStream(): DeviceStream {
    const streams = this.#delayed('a stream');
    return new DeviceStream(streams.create(), streams, () => {});
  }

  /**
   * Checks both ranges now, and once more when the stream comes to it: the promise rejects when one was freed meanwhile.
   */
  override copyAsync(target: DevicePtr, source: DevicePtr, bytes: number, stream = 0): Promise<void> {
    return this.#enqueue('copy', [target, source], bytes, stream, () => {
      this.#checkCopy(target, source, bytes);
      checkDisjoint(target, source, bytes);
    });
  }

  /** As {@link copyAsync}. */
  override fillAsync(ptr: DevicePtr, value: number, bytes: number, stream = 0): Promise<void> {
    return this.#enqueue('fill', [ptr], bytes, stream, () => this.#checkFill(ptr, value, bytes));
  }

  /** Counts, and does all work of the active device. */
  override synchronize(): void {
    this.#calls.enter('synchronize', 0, false);
    this.streams?.advanceDevice(this.#active);
  }

  /** Checks the books: O(n) over devices. @throws ERR_MEM_INVARIANT */
  checkInvariants(): void {
    const sum = this.#spaces.reduce((bytes, { capacity }) => bytes + capacity.liveBytes, 0);
    if (sum !== this.liveBytes) throw new MemoryError('ERR_MEM_INVARIANT', { invariant: 'liveBytes == sum(device.liveBytes)' });
    if (this.#spaces.some(({ capacity }) => capacity.liveBytes > capacity.capacityBytes)) {
      throw new MemoryError('ERR_MEM_INVARIANT', { invariant: 'device.liveBytes <= device.capacityBytes' });
    }
  }

  #allocate(name: SimulatedCallName, space: SimulatedSpace, bytes: number, alignment: number): DevicePtr {
    checkBytes(bytes);
    checkAlignment(alignment);
    return this.#calls.enter(name, bytes, true) || bytes === 0 ? NULL_PTR : space.take(bytes, alignment);
  }

  #free(name: SimulatedCallName, space: SimulatedSpace, ptr: DevicePtr): void {
    this.#calls.enter(name, space.sizeOf(ptr), false);
    space.free(ptr);
  }

  #capacity(id: number): DeviceCapacity {
    this.checkId(id);
    return this.#spaces[id]!.capacity;
  }

  /** The device whose addresses these are; below 0 none. */
  #idOf(ptr: number): number {
    if (!(ptr < PINNED_START)) return -1;
    return Math.min(Math.floor((ptr - FIRST_ADDRESS) / DEVICE_STRIDE), this.deviceCount - 1);
  }

  #spaceOf(ptr: DevicePtr): SimulatedSpace {
    const space = this.#spaces[this.#idOf(ptr)];
    if (space === undefined) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    return space;
  }

  #delayed(what: string): SimulatedStreams {
    if (this.streams === undefined) throw this.unsupported(what);
    return this.streams;
  }

  /** Enqueues work on ranges of memory, which is to check them. @returns what it came to, once it is done */
  async #enqueue(name: 'copy' | 'fill', ptrs: DevicePtr[], bytes: number, stream: number, check: () => void): Promise<void> {
    const streams = this.#delayed(`a ${name} on a stream`);
    check();
    const on = stream === 0 && bytes > 0 ? this.#defaultStream(streams, ptrs) : stream;
    this.#calls.enter(name, bytes, false);
    // An async function turns what is thrown into a rejection.
    const work = async () => check();
    await new Promise<void>((resolve) => streams.submit(on, () => resolve(work())));
  }

  /** The default stream of the first device whose memory this is. */
  #defaultStream(streams: SimulatedStreams, ptrs: DevicePtr[]): number {
    const device = ptrs
      .map((ptr) => (this.virtual?.has(ptr) ? this.virtual.deviceOf(ptr) : this.#idOf(ptr)))
      .find((id) => id >= 0);
    return device === undefined ? 0 : streams.defaultStream(device);
  }

  #checkCopy(target: DevicePtr, source: DevicePtr, bytes: number): void {
    checkBytes(bytes);
    this.#checkUsable(target, bytes);
    this.#checkUsable(source, bytes);
  }

  #checkFill(ptr: DevicePtr, value: number, bytes: number): void {
    checkFill(value, bytes);
    this.#checkUsable(ptr, bytes);
  }

  #checkUsable(ptr: DevicePtr, bytes: number): void {
    devicePtr(ptr);
    if (bytes === 0) return;
    if (this.virtual?.has(ptr)) this.virtual.checkUsable(ptr, bytes);
    else (this.#pinned.has(ptr) ? this.#pinned : this.#spaceOf(ptr)).locate(ptr, bytes);
  }

  #makeVirtual(option: NonNullable<SimulatedDeviceOptions['virtual']>): SimulatedVirtualMemory | undefined {
    if (option === false) return undefined;
    const options = option === true ? {} : option;
    checkOptionNames('SimulatedDevice.virtual', options, { granularityBytes: true, decommitStops: true, pieces: true });
    const { granularityBytes = 64 * KiB, decommitStops = false, pieces = false } = options;
    checkArgument(typeof decommitStops === 'boolean', 'decommitStops', String(decommitStops), 'true or false');
    checkArgument(typeof pieces === 'boolean', 'pieces', String(pieces), 'true or false');
    return new SimulatedVirtualMemory({
      granularityBytes,
      decommitStops,
      pieces,
      calls: this.#calls,
      space: new SimulatedSpace(RESERVED_START, ADDRESS_END, new DeviceCapacity(Number.MAX_SAFE_INTEGER)),
      activeDevice: () => this.#active,
      capacityOf: (id) => this.#capacity(id),
    });
  }
}

function startOf(id: number): number {
  return FIRST_ADDRESS + id * DEVICE_STRIDE;
}

function capacitiesOf(capacityBytes: number | readonly number[], deviceCount: number): readonly number[] {
  const list = typeof capacityBytes === 'number' ? new Array<number>(deviceCount).fill(capacityBytes) : capacityBytes;
  const fits = Array.isArray(list) && list.length === deviceCount;
  checkArgument(fits, 'capacityBytes', capacityBytes, `a number of bytes, or ${deviceCount} of them`);
  for (const bytes of list) checkCapacity('capacityBytes', bytes);
  return list;
}
