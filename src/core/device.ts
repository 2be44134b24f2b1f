import { EventEmitter } from 'eventemitter3';
import type { DeviceGraph } from './device-graph.js';
import type { StreamOperations, VirtualMemory } from './device-interface.js';
import type { DeviceStream } from './device-stream.js';
import { INSPECT, inspected } from './inspect.js';
import './disposable.js';
import { MemoryError } from './errors.js';
import type { MemoryEvents } from './events.js';
import type { BufferPart } from './typed-array.js';
import { type DevicePtr, formatBytes, GiB } from './units.js';

/** What a view shows at most, where one is made here: a kind may refuse those above 4 GiB. */
const VIEW_BYTES = 1 * GiB;

/** How much of a device's memory is left. */
export interface MemoryInfo {
  /** What any process could still get. */
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/**
 * One kind of memory, with all its devices: what a manager needs through its table, and what users need beside it.
 * Ids run from 0 to `deviceCount - 1`. A free, a copy or a view finds its memory whichever device is active.
 */
export abstract class Device {
  /** The kind, as in `stowage/adapters/<name>`. */
  abstract readonly name: string;
  abstract readonly deviceCount: number;
  readonly events = new EventEmitter<Pick<MemoryEvents, 'pin-failed'>>();
  /** Reserve and commit, where the device has it. */
  abstract readonly virtual: VirtualMemory | undefined;
  /** Order of work on streams, where the device has them. Stream 0 is the default stream of the active device. */
  abstract readonly streams: StreamOperations | undefined;

  /** Bytes of live segments, as they were asked for, and of committed pages; undefined for a device that does not count them. */
  get liveBytes(): number | undefined {
    return undefined;
  }

  /** The id that allocations go to. */
  abstract get activeDeviceId(): number;

  /** Makes a device the active one. @throws ERR_MEM_INVALID_DEVICE */
  abstract activate(id: number): void;

  /** The capacity of a device in bytes. @throws ERR_MEM_INVALID_DEVICE */
  abstract getMaxMemorySize(id: number): number;

  /**
   * Allocates a segment on the active device.
   *
   * @param alignment - bytes, a power of two
   * @defaultValue alignment is the device's own, at least 64
   * @returns its address, or 0 when there is no room
   */
  abstract nativeAlloc(bytes: number, alignment?: number): DevicePtr;

  /** Frees a segment. @throws ERR_MEM_UNKNOWN_POINTER where the device can tell */
  abstract nativeFree(ptr: DevicePtr): void;

  /** Allocates page-locked host memory; where the system refuses the lock, unpinned memory and a `pin-failed` event. */
  abstract pinnedAlloc(bytes: number, alignment?: number): DevicePtr;

  abstract pinnedFree(ptr: DevicePtr): void;

  /** Copies between any two places that the device can reach; the ranges may overlap. */
  abstract copy(target: DevicePtr, source: DevicePtr, bytes: number): void;

  /** Sets every byte of a range to `value`, 0 to 255. */
  abstract fill(ptr: DevicePtr, value: number, bytes: number): void;

  /** Waits until all work of the active device is done. */
  abstract synchronize(): void;

  /** Whether memory that was shown once can be shown as long as its block lives: {@link view} need not be asked again. */
  get viewsLast(): boolean {
    return true;
  }

  /**
   * Gives a range as bytes, without a copy.
   * The array stays safe to touch after the memory is freed; it then shows other data.
   *
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM when the host cannot see this memory
   */
  view(_ptr: DevicePtr, _bytes: number): Uint8Array {
    throw this.unsupported('a view of device memory');
  }

  /**
   * Tells where a range lies in a buffer, for arrays of other classes. Where a device knows that without {@link view}, such arrays
   * take less time.
   *
   * @throws as {@link view}
   */
  bufferAt(ptr: DevicePtr, bytes: number): BufferPart {
    const { buffer, byteOffset } = this.view(ptr, bytes);
    return { buffer, byteOffset };
  }

  /**
   * Copies bytes of JavaScript to this memory, and returns when that is done. Through a view, unless a kind has another way.
   *
   * @throws as {@link copy}
   */
  write(ptr: DevicePtr, source: Uint8Array): void {
    for (let done = 0; done < source.length; done += VIEW_BYTES) {
      const part = source.subarray(done, done + VIEW_BYTES);
      this.view((ptr + done) as DevicePtr, part.length).set(part);
    }
  }

  /** Copies bytes of this memory to JavaScript. As {@link write}. */
  read(ptr: DevicePtr, target: Uint8Array): void {
    for (let done = 0; done < target.length; done += VIEW_BYTES) {
      const part = target.subarray(done, done + VIEW_BYTES);
      part.set(this.view((ptr + done) as DevicePtr, part.length));
    }
  }

  /** The id of the device whose memory an address lies in; that of the active one for memory of no device, such as pinned. */
  deviceIdOf(_ptr: DevicePtr): number {
    return this.activeDeviceId;
  }

  /** Asks how much of a device is left. @throws ERR_MEM_INVALID_DEVICE, ERR_MEM_UNSUPPORTED_PLATFORM */
  memoryInfo(_id: number): MemoryInfo {
    throw this.unsupported('memory info');
  }

  /** Makes a stream on the active device. @throws ERR_MEM_UNSUPPORTED_PLATFORM when the device has no streams */
  createStream(): DeviceStream {
    throw this.unsupported('a stream');
  }

  /**
   * Enqueues a copy between two ranges that do not overlap, on the stream with that id. Both must stay as they are until
   * it is done.
   *
   * @defaultValue the stream is 0, the default one of the device whose memory it is
   * @returns a promise that resolves when the copy is done, and rejects where {@link copy} throws
   */
  copyAsync(_target: DevicePtr, _source: DevicePtr, _bytes: number, _stream = 0): Promise<void> {
    return Promise.reject(this.unsupported('a copy on a stream'));
  }

  /** Enqueues a fill, as {@link copyAsync} does a copy. */
  fillAsync(_ptr: DevicePtr, _value: number, _bytes: number, _stream = 0): Promise<void> {
    return Promise.reject(this.unsupported('a fill on a stream'));
  }

  /**
   * Captures what `fn` enqueues on a stream, instead of doing it. Copies and fills on the stream resolve at once, and are done
   * at each launch. Programs over a runtime call its `capture`, so that blocks of the work stay the graph's own.
   *
   * The stream is no default stream; `fn` enqueues its work before it returns, and waits for nothing.
   *
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM when the device has no graphs
   * @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE, and what `fn` throws; nothing is captured then
   */
  capture(_stream: DeviceStream | number, _fn: () => void): DeviceGraph {
    throw this.unsupported('a graph');
  }

  /**
   * Allocates memory that the host and every device reach at the same address.
   *
   * @returns its address, or 0 when there is no room
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM when the device has none
   */
  managedAlloc(_bytes: number, _alignment?: number): DevicePtr {
    throw this.unsupported('managed memory');
  }

  /** Frees managed memory. @throws ERR_MEM_UNKNOWN_POINTER */
  managedFree(_ptr: DevicePtr): void {
    throw this.unsupported('managed memory');
  }

  /**
   * Lets the device reach host memory of the caller (a shared mapping, an engine's buffer) as fast as pinned memory.
   * The caller keeps it mapped until {@link unregisterHost}.
   *
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM when the device cannot
   */
  registerHost(_ptr: DevicePtr, _bytes: number): void {
    throw this.unsupported('registration of host memory');
  }

  /** Ends a registration. @throws ERR_MEM_UNKNOWN_POINTER unless one began at `ptr` */
  unregisterHost(_ptr: DevicePtr): void {
    throw this.unsupported('registration of host memory');
  }

  /** `CpuDevice { cpu, 12.00 MiB live }`: asks the system for nothing. @internal */
  [INSPECT](): string {
    return inspected(this, () => {
      const { liveBytes } = this;
      return [this.name, ...(liveBytes === undefined ? [] : [`${formatBytes(liveBytes)} live`])];
    });
  }

  /** Makes the error of what this kind of device cannot do. */
  protected unsupported(what: string): MemoryError<'ERR_MEM_UNSUPPORTED_PLATFORM'> {
    return new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what, platform: this.name });
  }

  /** Throws unless `id` is one of this device's. */
  protected checkId(id: number): void {
    if (!Number.isInteger(id) || id < 0 || id >= this.deviceCount) {
      throw new MemoryError('ERR_MEM_INVALID_DEVICE', { device: id, deviceCount: this.deviceCount });
    }
  }
}

/** A kind of this machine's memory: one device, without streams, each of whose calls is done when it returns. */
export abstract class HostDevice extends Device {
  readonly deviceCount = 1;
  readonly activeDeviceId = 0;
  override readonly streams = undefined;

  /** How many bytes there are. */
  protected abstract get capacityBytes(): number;

  override activate(id: number): void {
    this.checkId(id);
  }

  override getMaxMemorySize(id: number): number {
    this.checkId(id);
    return this.capacityBytes;
  }

  /** Returns at once. */
  override synchronize(): void {}
}
