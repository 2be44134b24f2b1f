import { unlessRefused } from '../../../src/core/attempt.js';
import { Device, type MemoryInfo } from '../../../src/core/device.js';
import { DeviceStream } from '../../../src/core/device-stream.js';
import { checkOwnOptions, type OwnOptions } from '../../../src/core/option-names.js';
import '../../../src/core/disposable.js';
import type { Releasable } from '../../../src/core/disposable.js';
import { checkArgument } from '../../../src/core/errors.js';
import { checkAlignment, checkBytes, type DevicePtr, NULL_PTR } from '../../../src/core/units.js';
import { PROCESS_HEAP } from '../../os/aligned-memory.js';
import { addressOfBytes, fillBytes, moveBytes } from '../../os/bytes.js';
import { lockPages, unlockPages } from '../../os/mapping.js';
import type { HostRange } from '../host-ranges.js';
import { CpuSegment, HostSegments } from '../host-segments.js';
import { copyEnds } from '../live-ranges.js';
import { checkDisjoint, checkFill } from '../range-checks.js';
import { OpenClBuffer } from './opencl-buffer.js';
import type { OpenClContext } from './opencl-context.js';
import type { OpenClFacts } from './opencl-facts.js';
import { call, isOutOfMemory } from './opencl-functions.js';
import { type MapAccess, mapFlags, OpenClMapping, type RangePart, RangeUsers } from './opencl-mapping.js';
import { OpenClStreams } from './opencl-streams.js';
import { type OpenClDeviceOptions, OpenedDevices } from './opened-devices.js';
import { SvmSegment } from './svm-memory.js';
import { copyAcross, copyNow, enqueueCopy, enqueueFill, whenDone } from './svm-work.js';

/** The handles of one device, as numbers, for a program's own OpenCL calls. */
export interface OpenClHandles {
  /** cl_platform_id */
  readonly platform: number;
  /** cl_device_id */
  readonly device: number;
  /** cl_context */
  readonly context: number;
  /** cl_command_queue */
  readonly queue: number;
}

const OPTIONS: OwnOptions<OpenClDeviceOptions> = {
  of: () => OpenClDevice,
  names: {
    libraryPath: true,
    functions: true,
    select: true,
    capacityBytes: true,
    fineGrain: true,
  },
};

/**
 * Memory of OpenCL devices: shared virtual memory with plain addresses, so that managers can divide segments and a kernel
 * takes an inner address by clSetKernelArgSVMPointer.
 *
 * The host may touch such memory only while it is {@link map}ped (any time with the option `fineGrain`); a {@link view}
 * of anything else throws. Each device has a context of its own, made when it is first used. OpenCL does not say how much
 * is left, so that is counted here: a device's capacity less what this object handed out. This file is long because it has
 * the whole Device contract and what OpenCL adds to it.
 */
export class OpenClDevice extends Device implements Releasable {
  readonly name = 'opencl';
  override readonly virtual = undefined;
  override readonly streams: OpenClStreams;
  readonly #devices: OpenedDevices;
  readonly #host: HostSegments;
  readonly #users = new RangeUsers();
  #liveBytes = 0;
  #active = 0;

  /** @throws ERR_MEM_INVALID_ARGUMENT */
  constructor(options: OpenClDeviceOptions = {}) {
    checkOwnOptions(OPTIONS, new.target, options);
    super();
    this.#devices = new OpenedDevices(options);
    this.streams = new OpenClStreams((id = this.#active) => this.#context(id));
    this.#host = new HostSegments(
      { lock: lockPages, unlock: unlockPages },
      // The device may work on it after the thread has ended.
      PROCESS_HEAP,
      this.events,
    );
  }

  /** How many there are. The first look loads the library. @throws ERR_MEM_DEVICE_ABSENT when there is none */
  override get deviceCount(): number {
    return this.#devices.facts.length;
  }

  override get activeDeviceId(): number {
    return this.#active;
  }

  /** Bytes of live segments on all devices, as they were asked for. */
  override get liveBytes(): number {
    return this.#liveBytes;
  }

  /** Bytes of freed segments that are not given back because an array over them still exists. */
  get keptBytes(): number {
    return this.#devices.opened.reduce((sum, memory) => sum + memory.kept.bytes, 0);
  }

  /** How often the system refused to lock pages. */
  get pinFailures(): number {
    return this.#host.pinFailures;
  }

  /** What is known of a device. @throws ERR_MEM_DEVICE_ABSENT, ERR_MEM_INVALID_DEVICE */
  facts(id: number = this.#active): OpenClFacts {
    this.checkId(id);
    return this.#devices.facts[id] as OpenClFacts;
  }

  /** The handles of a device. They are valid until {@link dispose}. @throws ERR_MEM_DEVICE_ABSENT, ERR_MEM_INVALID_DEVICE, ERR_MEM_NATIVE */
  handles(id: number = this.#active): OpenClHandles {
    const { handle, queue, facts } = this.#context(id);
    return { platform: facts.platform, device: facts.device, context: handle, queue };
  }

  /** The cl_command_queue of a stream, as a number. @throws ERR_MEM_INVALID_ARGUMENT */
  queueOf(stream: number): number {
    return this.streams.find(stream).handle;
  }

  override activate(id: number): void {
    this.checkId(id);
    this.#active = id;
  }

  /** The device's memory, or `capacityBytes` where that is less. @throws ERR_MEM_INVALID_DEVICE */
  override getMaxMemorySize(id: number): number {
    return this.facts(id).capacityBytes;
  }

  override deviceIdOf(ptr: DevicePtr): number {
    const range = this.#host.ranges.containing(ptr);
    return (range && contextOf(range))?.id ?? this.#active;
  }

  /** What this object has not handed out: other programs' shares are unknown. @throws ERR_MEM_INVALID_DEVICE */
  override memoryInfo(id: number): MemoryInfo {
    const { capacityBytes, liveBytes } = this.#context(id).capacity;
    return { freeBytes: capacityBytes - liveBytes, totalBytes: capacityBytes };
  }

  /**
   * Allocates a segment at a multiple of 128; a larger alignment costs that much memory. Its content is undefined.
   *
   * @returns 0 when there is no room, above the device's limit for one allocation, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT, ERR_MEM_DEVICE_ABSENT, ERR_MEM_NATIVE
   */
  override nativeAlloc(bytes: number, alignment = 0): DevicePtr {
    checkBytes(bytes);
    checkAlignment(alignment);
    if (bytes === 0) return NULL_PTR;
    this.checkId(this.#active);
    // Where there is no memory for a context, there is none for a segment.
    const segment = unlessRefused(isOutOfMemory, () => this.#devices.memory(this.#active).allocate(bytes, alignment));
    if (segment === undefined) return NULL_PTR;
    this.#host.ranges.insert(segment);
    this.#liveBytes += bytes;
    return segment.base;
  }

  /**
   * Waits for the device's work, ends the mappings and buffers over a segment, and frees it; the null pointer is ignored.
   *
   * @throws ERR_MEM_UNKNOWN_POINTER unless `nativeAlloc` gave it, ERR_MEM_NATIVE
   */
  override nativeFree(ptr: DevicePtr): void {
    if (ptr === 0) return;
    const segment = this.#host.ranges.startingAt(ptr, SvmSegment);
    segment.memory.context.finishAll();
    this.#users.end(segment);
    this.#host.ranges.remove(segment.base);
    this.#liveBytes -= segment.bytes;
    segment.memory.free(segment);
  }

  /**
   * Allocates whole pages of the host's memory and locks them: every device and queue can copy from and to them, and
   * {@link bufferOver} makes them known to a driver. Where the system refuses the lock, they are handed out unlocked:
   * `pinFailures` counts that, and the first time a `pin-failed` event tells why.
   *
   * @returns 0 when there is no room, and for 0 bytes
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_ALIGNMENT
   */
  override pinnedAlloc(bytes: number, alignment = 0): DevicePtr {
    return this.#host.allocate(bytes, alignment, true);
  }

  /** Waits for all work, and unlocks and frees; the null pointer is ignored. @throws ERR_MEM_UNKNOWN_POINTER, ERR_MEM_NATIVE */
  override pinnedFree(ptr: DevicePtr): void {
    if (ptr === 0) return;
    const range = this.#host.ranges.startingAt(ptr, CpuSegment);
    for (const { context } of this.#devices.opened) context.finishAll();
    this.#users.end(range);
    this.#host.free(ptr, true);
  }

  /**
   * Copies on the default queue, and waits; the ranges may overlap. Between two devices it goes by way of the host.
   *
   * At least one range must lie in this object's memory. Bytes that touch none of it are the caller's own host memory,
   * and trusted as they are. Work of other streams is not waited for.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_POINTER, ERR_MEM_NATIVE
   * @throws ERR_MEM_UNKNOWN_POINTER when neither range is this object's, or one is null
   * @throws ERR_MEM_OUT_OF_RANGE when a range lies partly in a segment
   */
  override copy(target: DevicePtr, source: DevicePtr, bytes: number): void {
    checkBytes(bytes);
    if (bytes === 0) return;
    const [to, from] = this.#ends(target, source, bytes);
    const context = to ?? from;
    if (context === undefined) moveBytes(target, source, bytes);
    else if (from !== undefined && from !== context) copyAcross(context, from, { target, source, bytes });
    else copyNow(context, { target, source, bytes });
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
   * Enqueues a copy on a stream. Both ranges must stay as they are until it is done; freeing them waits for it.
   *
   * @returns a promise that resolves when the copy is done
   * @throws as {@link copy}, as a rejection
   * @throws ERR_MEM_INVALID_ARGUMENT when the ranges overlap, or the stream or one of them is another device's
   */
  override async copyAsync(target: DevicePtr, source: DevicePtr, bytes: number, stream = 0): Promise<void> {
    checkBytes(bytes);
    if (bytes === 0) return;
    const [to, from] = this.#ends(target, source, bytes);
    checkDisjoint(target, source, bytes);
    const context = to ?? from ?? this.streams.find(stream).context;
    const isOwn = from === undefined || from === context;
    checkArgument(isOwn, 'source', `memory of device ${from?.id}`, `memory of device ${context.id} or of the host`);
    const queue = this.streams.queueFor(stream, context);
    await whenDone(context, queue, (event) => enqueueCopy(context, queue, { target, source, bytes }, event));
  }

  /**
   * Sets every byte of a range, and waits.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_POINTER, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_NATIVE
   * @throws ERR_MEM_INVALID_ARGUMENT when `value` is no integer from 0 to 255
   */
  override fill(ptr: DevicePtr, value: number, bytes: number): void {
    checkFill(value, bytes);
    if (bytes === 0) return;
    const range = this.#host.ranges.locate(ptr, bytes);
    const context = contextOf(range);
    if (context === undefined) {
      fillBytes(ptr, value, bytes);
      return;
    }
    enqueueFill(context, context.queue, { ptr, value, bytes });
    context.finish();
  }

  /**
   * Enqueues a fill of device memory on a stream.
   *
   * @throws as {@link fill}, as a rejection
   * @throws ERR_MEM_INVALID_ARGUMENT for a stream of another device
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM for pinned memory, which OpenCL cannot fill
   */
  override async fillAsync(ptr: DevicePtr, value: number, bytes: number, stream = 0): Promise<void> {
    checkFill(value, bytes);
    if (bytes === 0) return;
    const range = this.#host.ranges.locate(ptr, bytes);
    const context = contextOf(range);
    if (context === undefined) throw this.unsupported('a fill of pinned memory on a stream');
    const queue = this.streams.queueFor(stream, context);
    await whenDone(context, queue, (event) => enqueueFill(context, queue, { ptr, value, bytes }, event));
  }

  /** Waits for all work of all queues of the active device. @throws ERR_MEM_NATIVE */
  override synchronize(): void {
    this.#context(this.#active).finishAll();
  }

  /** Makes an in-order queue on the active device. @throws ERR_MEM_DEVICE_ABSENT, ERR_MEM_NATIVE */
  override createStream(): DeviceStream {
    return new DeviceStream(this.streams.create(), this.streams, (id) => this.streams.close(id));
  }

  /** Device memory is shown while it is mapped. */
  override get viewsLast(): boolean {
    return false;
  }

  /**
   * Gives a range as bytes, without a copy: pinned memory at any time, device memory where it is mapped, or with `fineGrain`.
   * While such an array exists, freed device memory is kept (`keptBytes`), and serves requests of the same size.
   *
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_POINTER, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM for memory that is not mapped, ERR_MEM_INVALID_ARGUMENT above 4 GiB
   */
  override view(ptr: DevicePtr, bytes: number): Uint8Array {
    checkBytes(bytes);
    if (bytes === 0) return new Uint8Array(0);
    const range = this.#host.ranges.locate(ptr, bytes);
    const isInside = (mapped: OpenClMapping) => mapped.ptr <= ptr && ptr + bytes <= mapped.ptr + mapped.bytes;
    if (range instanceof SvmSegment && !range.memory.fineGrain && !this.#users.mappings(range).some(isInside)) {
      throw this.unsupported('a view of device memory that is not mapped');
    }
    return range.view(ptr - range.base, bytes);
  }

  /**
   * Waits for the default queue and lets the host touch memory until the mapping is disposed of.
   * Pinned memory needs none and takes one all the same.
   *
   * @param bytes - above 0
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_POINTER, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE, ERR_MEM_NATIVE
   * @throws ERR_MEM_INVALID_ARGUMENT when a byte of it is mapped already, and for 0 bytes
   */
  map(ptr: DevicePtr, bytes: number, access: MapAccess = 'read-write'): OpenClMapping {
    const part = this.#part(ptr, bytes);
    const flags = mapFlags(access);
    const context = contextOf(part.range);
    if (context === undefined) return new OpenClMapping(part, { map: () => {}, unmap: () => {}, settle: () => {} });
    const { cl, queue } = context;
    return new OpenClMapping(part, {
      map: () => call(cl, 'clEnqueueSVMMap', queue, 1, flags, ptr, bytes, 0, null, null),
      unmap: () => call(cl, 'clEnqueueSVMUnmap', queue, ptr, 0, null, null),
      settle: () => context.finish(),
    });
  }

  /** Makes a buffer of its own memory on the active device. @throws ERR_MEM_INVALID_SIZE, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_NATIVE */
  createBuffer(bytes: number): OpenClBuffer {
    return OpenClBuffer.create(this.#context(this.#active), bytes);
  }

  /**
   * Makes a buffer of memory that was handed out, without a copy: device memory, blocks of managers included, or pinned
   * memory, which the active device then uses. The buffer ends with the memory at the latest.
   *
   * @param bytes - above 0
   * @throws ERR_MEM_INVALID_SIZE, ERR_MEM_INVALID_POINTER, ERR_MEM_UNKNOWN_POINTER, ERR_MEM_OUT_OF_RANGE
   * @throws ERR_MEM_INVALID_ARGUMENT for 0 bytes, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_NATIVE
   */
  bufferOver(ptr: DevicePtr, bytes: number): OpenClBuffer {
    const part = this.#part(ptr, bytes);
    return OpenClBuffer.over(contextOf(part.range) ?? this.#context(this.#active), part);
  }

  /**
   * Gives contexts, queues, streams and events back; a later use opens them again. Pinned memory stays.
   *
   * @throws ERR_MEM_DEVICE_BUSY while a segment or a buffer is live; nothing has changed then
   * @throws ERR_MEM_NATIVE; what was not given back is at the next call
   */
  dispose(): void {
    this.#devices.checkIdle();
    this.#devices.close((context) => this.streams.closeAll((owned) => owned.context === context));
  }

  /** As {@link dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #context(id: number): OpenClContext {
    this.checkId(id);
    return this.#devices.memory(id).context;
  }

  /** The devices whose memory the ranges of a copy lie in; undefined for the host's. */
  #ends(target: DevicePtr, source: DevicePtr, bytes: number): [OpenClContext | undefined, OpenClContext | undefined] {
    const [to, from] = copyEnds(target, source, (ptr) => this.#host.ranges.find(ptr, bytes));
    return [contextOf(to), contextOf(from)];
  }

  #part(ptr: DevicePtr, bytes: number): RangePart {
    checkBytes(bytes);
    checkArgument(bytes > 0, 'bytes', bytes, 'at least 1');
    return { range: this.#host.ranges.locate(ptr, bytes), ptr, bytes, users: this.#users };
  }
}

function contextOf(range: HostRange | undefined): OpenClContext | undefined {
  return range instanceof SvmSegment ? range.memory.context : undefined;
}
