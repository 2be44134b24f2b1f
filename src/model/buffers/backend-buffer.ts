import { copyDirectly, isHostVisible } from '../../core/device-copy.js';
import { checkArgument, checkRange, checkUsable } from '../../core/errors.js';
import { checkOwnOptions, type OwnOptions } from '../../core/option-names.js';
import { alignUp, checkAlignment, type DevicePtr } from '../../core/units.js';
import type { Allocation } from '../../runtime/allocation.js';
import type { MemoryRuntime } from '../../runtime/memory-runtime.js';
import type { ContextTensor } from '../context/context-tensor.js';
import { MemoryPart, type TensorBase } from '../tensors/tensor-base.js';

/**
 * Memory of a device that tensors of contexts lie in: ggml's interface, over any device. After {@link dispose} every method,
 * and every tensor in it, throws ERR_MEM_DISPOSED.
 */
export class BackendBuffer {
  /** Takes a block over. Buffer types make buffers. */
  constructor(
    readonly type: BufferTraits,
    protected readonly handle: Allocation,
  ) {}

  get bytes(): number {
    return this.handle.bytes;
  }

  /** True when it was freed. */
  get disposed(): boolean {
    return this.handle.disposed;
  }

  /** True when the host sees its memory, so that tensors in it can be viewed. */
  get isHost(): boolean {
    return this.bytes > 0 && isHostVisible(this.handle);
  }

  /** Gives the memory back. Does nothing the second time. */
  dispose(): void {
    this.handle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The address of its first byte. */
  getBase(): DevicePtr {
    return this.handle.ptr;
  }

  /** Tells whether a tensor's data lies here. */
  holds(tensor: ContextTensor): boolean {
    return tensor.part?.whole === this.handle;
  }

  /**
   * Places a tensor, which has no data yet or lies in a buffer. Its views lie with it.
   *
   * @param offsetBytes - a multiple of the type's alignment
   * @throws ERR_MEM_INVALID_ARGUMENT for a view, a tensor with data in its context, and an offset that is not aligned
   * @throws ERR_MEM_OUT_OF_RANGE
   */
  initTensor(tensor: ContextTensor, offsetBytes: number): void {
    checkArgument(tensor.viewSource === undefined, 'tensor', `${tensor.name}, a view`, 'what it is a view of');
    checkArgument(!tensor.isFixed, 'tensor', tensor.name, 'one of a context with noAlloc');
    checkUsable(!tensor.ended, 'tensor');
    const part = new MemoryPart(this.handle, offsetBytes, tensor.bytes);
    const { alignment } = this.type;
    checkArgument(offsetBytes % alignment === 0, 'offsetBytes', offsetBytes, `a multiple of ${alignment}`);
    tensor.setPart(part);
  }

  /**
   * Writes bytes of a tensor in it.
   *
   * @param offset - where in the tensor, in bytes
   * @param size - how many bytes of `data`
   * @defaultValue offset is 0, size is all of `data`
   * @throws ERR_MEM_OUT_OF_RANGE beyond the end of the tensor or of `data`, ERR_MEM_INVALID_ARGUMENT for a tensor elsewhere
   */
  setTensor(tensor: ContextTensor, data: ArrayBufferView, offset = 0, size: number = data.byteLength): void {
    const { device, ptr } = this.#place(tensor, offset, size);
    device.write(ptr, bytesOf(data, size));
  }

  /** Reads bytes of a tensor in it. @throws as {@link setTensor} */
  getTensor(tensor: ContextTensor, data: ArrayBufferView, offset = 0, size: number = data.byteLength): void {
    const { device, ptr } = this.#place(tensor, offset, size);
    device.read(ptr, bytesOf(data, size));
  }

  /**
   * Copies a tensor from wherever it is to one in this buffer, in one call of a device.
   *
   * @returns false when no device reaches both; nothing was copied then, and `target.copyFrom(source)` goes by the host
   * @throws ERR_MEM_INVALID_ARGUMENT for a target elsewhere, another type or shape, and views with gaps
   */
  cpyTensor(source: TensorBase, target: ContextTensor): boolean {
    const place = this.#place(target, 0, target.bytes);
    const isSame = source.dtype === target.dtype && String(source.shape) === String(target.shape);
    const [value, expected] = [source, target].map(({ dtype, shape }) => `${dtype.name} [${shape.join(', ')}]`);
    const isPacked = source.layout.isPacked && target.layout.isPacked;
    checkArgument(isSame && isPacked, 'source', value, `packed, as the target: ${expected}`);
    return copyDirectly(place, source, target.bytes);
  }

  /** Sets every byte. @param value - 0 to 255 */
  clear(value = 0): void {
    this.handle.fill(value);
  }

  #place(tensor: ContextTensor, offset: number, size: number): MemoryPart {
    const { memory, layout } = tensor;
    checkArgument(memory.whole === this.handle, 'tensor', tensor.name, 'one in this buffer');
    checkRange(offset, size, layout.spanBytes);
    return new MemoryPart(memory, layout.offsetBytes + offset, size);
  }
}

/** What a buffer needs to know of its type. */
export type BufferTraits = Pick<BackendBufferType, 'name' | 'alignment'>;

/** Where the buffers of a type are. */
export interface BackendBufferTypeOptions {
  /** The id of the device. @defaultValue 0 */
  readonly device?: number;
  /** What tensors begin at multiples of: a power of two. @defaultValue 128, the most that ggml's CPU and CUDA backends ask for */
  readonly alignment?: number;
  /** @defaultValue the device's kind, with its id: `cpu0`, `cuda1` */
  readonly name?: string;
}

const OPTIONS: OwnOptions<BackendBufferTypeOptions> = {
  of: () => BackendBufferType,
  names: { device: true, alignment: true, name: true },
};

/** Makes buffers in one device's memory, by whatever manager is installed in the runtime. */
export class BackendBufferType {
  readonly name: string;
  /** What tensors begin at multiples of. */
  readonly alignment: number;
  readonly device: number;

  /** @throws ERR_MEM_INVALID_ALIGNMENT */
  constructor(
    protected readonly runtime: MemoryRuntime,
    options: BackendBufferTypeOptions = {},
  ) {
    checkOwnOptions(OPTIONS, new.target, options);
    const { device = 0, alignment = 128, name = `${runtime.device.name}${device}` } = options;
    checkAlignment(alignment);
    this.device = device;
    this.alignment = Math.max(1, alignment);
    this.name = name;
  }

  /** The most that a buffer can have: the device's memory. @throws ERR_MEM_INVALID_DEVICE */
  getMaxSize(): number {
    return this.runtime.device.getMaxMemorySize(this.device);
  }

  /** Makes a buffer; its content is undefined. @throws ERR_MEM_INVALID_SIZE, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_INVALID_DEVICE */
  allocBuffer(bytes: number): BackendBuffer {
    return new BackendBuffer(
      this,
      this.runtime.withDevice(this.device, () => this.runtime.allocate(bytes, { alignment: this.alignment })),
    );
  }

  /**
   * Makes a buffer for all tensors of a context that have no data, and places them one behind the other.
   *
   * @param context - made with `noAlloc`
   * @throws ERR_MEM_OUT_OF_MEMORY; no tensor has been placed then
   */
  allocContextTensors(context: { readonly tensors: readonly ContextTensor[] }): BackendBuffer {
    const tensors = context.tensors.filter((tensor) => tensor.viewSource === undefined && tensor.part === undefined);
    const offsets: number[] = [];
    let bytes = 0;
    for (const tensor of tensors) {
      offsets.push(bytes);
      bytes = alignUp(bytes + tensor.bytes, this.alignment);
    }
    const buffer = this.allocBuffer(bytes);
    for (const [at, tensor] of tensors.entries()) buffer.initTensor(tensor, offsets[at]!);
    return buffer;
  }
}

function bytesOf(data: ArrayBufferView, size: number): Uint8Array {
  checkRange(0, size, data.byteLength);
  return new Uint8Array(data.buffer, data.byteOffset, size);
}
