import { checkOptionNames, type OptionNames } from '../../../src/core/option-names.js';
import '../../../src/core/disposable.js';
import type { Releasable } from '../../../src/core/disposable.js';
import { checkArgument, checkRange, checkUsable, MemoryError } from '../../../src/core/errors.js';
import { checkBytes } from '../../../src/core/units.js';
import { checkFillValue } from '../range-checks.js';
import type { OpenClContext } from './opencl-context.js';
import { call, isOutOfMemory, make, words } from './opencl-functions.js';
import { type MapAccess, mapFlags, OpenClMapping, type RangePart, type RangeUser } from './opencl-mapping.js';
import { CL_MEM_READ_WRITE } from './svm-memory.js';

const CL_MEM_USE_HOST_PTR = 8;
const CL_BUFFER_CREATE_TYPE_REGION = 0x1220;

/** What a buffer is made of. */
interface BufferParts {
  readonly context: OpenClContext;
  /** The memory that it lies over, where it has none of its own. */
  readonly over?: RangePart;
  /** Told when it was released. */
  readonly released: () => void;
}

/** A part of a copy between buffers. */
export interface BufferCopyOptions {
  /** @defaultValue 0 */
  readonly sourceOffset?: number;
  /** @defaultValue 0 */
  readonly targetOffset?: number;
  /** @defaultValue all that follows in the source */
  readonly bytes?: number;
}

const COPY_OPTIONS: OptionNames<BufferCopyOptions> = { sourceOffset: true, targetOffset: true, bytes: true };

/**
 * A cl_mem, for programs and libraries that need one: `using buffer = device.createBuffer(bytes)`.
 * Its calls go to the default queue of its device and wait until they are done.
 */
export class OpenClBuffer implements Releasable, RangeUser {
  /** The id of its device. */
  readonly device: number;
  readonly #parts: BufferParts;
  readonly #subBuffers = new Set<OpenClBuffer>();
  #mapping: OpenClMapping | undefined;
  #isDisposed = false;

  private constructor(
    /** The cl_mem, as a number. */
    readonly handle: number,
    readonly bytes: number,
    parts: BufferParts,
  ) {
    this.device = parts.context.id;
    this.#parts = parts;
    parts.context.liveBuffers++;
  }

  /** Makes a buffer with memory of its own. @throws ERR_MEM_INVALID_SIZE, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_NATIVE @internal */
  static create(context: OpenClContext, bytes: number): OpenClBuffer {
    checkBytes(bytes);
    const { capacity, facts } = context;
    if (!capacity.admits(bytes) || bytes > facts.maxAllocBytes) throw outOfMemory(context, bytes);
    const handle = createHandle(context, bytes, 0);
    capacity.take(bytes);
    return new OpenClBuffer(handle, bytes, { context, released: () => capacity.give(bytes) });
  }

  /** Makes a buffer over memory that was handed out. @throws ERR_MEM_OUT_OF_MEMORY, ERR_MEM_NATIVE @internal */
  static over(context: OpenClContext, over: RangePart): OpenClBuffer {
    const { ptr, bytes } = over;
    const handle = createHandle(context, bytes, ptr);
    const users = over.users.of(over.range);
    const buffer = new OpenClBuffer(handle, bytes, { context, over, released: () => users.delete(buffer) });
    users.add(buffer);
    return buffer;
  }

  get disposed(): boolean {
    return this.#isDisposed;
  }

  /** Writes an array into the buffer. @throws ERR_MEM_DISPOSED, ERR_MEM_OUT_OF_RANGE, ERR_MEM_NATIVE */
  write(source: Uint8Array, offset = 0): void {
    const { cl, queue } = this.#use(offset, source.length);
    if (source.length === 0) return;
    call(cl, 'clEnqueueWriteBuffer', queue, this.handle, 1, offset, source.length, source, 0, null, null);
  }

  /** Reads the buffer into an array. @throws ERR_MEM_DISPOSED, ERR_MEM_OUT_OF_RANGE, ERR_MEM_NATIVE */
  read(target: Uint8Array, offset = 0): void {
    const { cl, queue } = this.#use(offset, target.length);
    if (target.length === 0) return;
    call(cl, 'clEnqueueReadBuffer', queue, this.handle, 1, offset, target.length, target, 0, null, null);
  }

  /**
   * Copies into another buffer of the same device, or into itself where the ranges do not overlap.
   *
   * @throws ERR_MEM_DISPOSED, ERR_MEM_OUT_OF_RANGE, ERR_MEM_NATIVE
   * @throws ERR_MEM_INVALID_ARGUMENT for a buffer of another device
   */
  copyTo(target: OpenClBuffer, options: BufferCopyOptions = {}): void {
    checkOptionNames('copyTo', options, COPY_OPTIONS);
    const { sourceOffset = 0, targetOffset = 0, bytes = this.bytes - sourceOffset } = options;
    const context = this.#use(sourceOffset, bytes);
    const other = target.#use(targetOffset, bytes);
    checkArgument(other === context, 'target', `a buffer of device ${other.id}`, `one of device ${context.id}`);
    if (bytes === 0) return;
    const { cl, queue } = context;
    call(cl, 'clEnqueueCopyBuffer', queue, this.handle, target.handle, sourceOffset, targetOffset, bytes, 0, null, null);
    context.finish();
  }

  /** Sets bytes to `value`, 0 to 255. @throws ERR_MEM_DISPOSED, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE */
  fill(value: number, offset = 0, bytes = this.bytes - offset): void {
    checkFillValue(value);
    const context = this.#use(offset, bytes);
    if (bytes === 0) return;
    const { cl, queue } = context;
    call(cl, 'clEnqueueFillBuffer', queue, this.handle, Uint8Array.of(value), 1, offset, bytes, 0, null, null);
    context.finish();
  }

  /**
   * Makes a buffer of a part of this one. It ends with this one at the latest.
   *
   * @param offset - a multiple of the device's `subBufferAlignment`
   * @throws ERR_MEM_DISPOSED, ERR_MEM_OUT_OF_RANGE, ERR_MEM_INVALID_ARGUMENT
   * @throws ERR_MEM_NATIVE, among others for a part of a part and for 0 bytes
   */
  subBuffer(offset: number, bytes: number): OpenClBuffer {
    const context = this.#use(offset, bytes);
    const { subBufferAlignment } = context.facts;
    checkArgument(offset % subBufferAlignment === 0, 'offset', offset, `a multiple of ${subBufferAlignment} bytes`);
    const { cl } = context;
    const region = words(offset, bytes);
    const handle = make(cl, 'clCreateSubBuffer', this.handle, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, region);
    const part: OpenClBuffer = new OpenClBuffer(handle, bytes, { context, released: () => this.#subBuffers.delete(part) });
    this.#subBuffers.add(part);
    return part;
  }

  /**
   * Lets the host touch the memory that this buffer lies over, until the mapping is disposed of.
   *
   * @throws ERR_MEM_DISPOSED, ERR_MEM_INVALID_ARGUMENT when it is mapped already, ERR_MEM_NATIVE
   * @throws ERR_MEM_UNSUPPORTED_PLATFORM for a buffer with memory of its own: {@link read} and {@link write} it
   */
  map(access: MapAccess = 'read-write'): OpenClMapping {
    const context = this.#use(0, this.bytes);
    const { over } = this.#parts;
    if (over === undefined) {
      throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', {
        what: 'a map of a buffer with its own memory',
        platform: 'opencl',
      });
    }
    checkArgument(this.#mapping?.disposed !== false, 'buffer', 'mapped already', 'one that is not mapped');
    const flags = mapFlags(access);
    const { cl, queue } = context;
    let address = 0;
    this.#mapping = new OpenClMapping(over, {
      map: () => {
        address = make(cl, 'clEnqueueMapBuffer', queue, this.handle, 1, flags, 0, this.bytes, 0, null, null);
      },
      unmap: () => call(cl, 'clEnqueueUnmapMemObject', queue, this.handle, address, 0, null, null),
      settle: () => context.finish(),
    });
    return this.#mapping;
  }

  /** Releases the buffer, its parts first. A second time does nothing. @throws ERR_MEM_NATIVE */
  dispose(): void {
    if (this.#isDisposed) return;
    for (const part of [...this.#subBuffers]) part.dispose();
    this.#mapping?.dispose();
    const { context, released } = this.#parts;
    call(context.cl, 'clReleaseMemObject', this.handle);
    this.#isDisposed = true;
    context.liveBuffers--;
    released();
  }

  /** As {@link dispose}. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The device that this is on, when the bytes lie inside and it can be used. */
  #use(offset: number, bytes: number): OpenClContext {
    checkUsable(!this.#isDisposed, 'buffer');
    checkRange(offset, bytes, this.bytes);
    return this.#parts.context;
  }
}

/** @param host - the memory that the buffer lies over; 0 gives it memory of its own */
function createHandle(context: OpenClContext, bytes: number, host: number): number {
  const flags = CL_MEM_READ_WRITE | (host === 0 ? 0 : CL_MEM_USE_HOST_PTR);
  try {
    return make(context.cl, 'clCreateBuffer', context.handle, flags, bytes, host);
  } catch (error) {
    throw isOutOfMemory(error) ? outOfMemory(context, bytes, error) : error;
  }
}

function outOfMemory({ capacity, id }: OpenClContext, bytes: number, cause?: unknown): MemoryError<'ERR_MEM_OUT_OF_MEMORY'> {
  const { liveBytes, capacityBytes } = capacity;
  const facts = { requestedBytes: bytes, allocatedBytes: liveBytes, reservedBytes: liveBytes, capacityBytes, device: id };
  return new MemoryError('ERR_MEM_OUT_OF_MEMORY', facts, cause);
}
