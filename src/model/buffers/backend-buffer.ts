import '../../core/disposable.js';
import { badArgument, MemoryError } from '../../core/errors.js';
import type { DevicePtr } from '../../core/units.js';
import type { Allocation } from '../../runtime/allocation.js';
import { checkRange } from '../../runtime/block-handle.js';
import type { ContextTensor } from '../context/context-tensor.js';
import { copyDirectly, copyFromDevice, copyToDevice, isHostVisible } from '../tensors/device-copy.js';
import { MemoryPart, type TensorBase } from '../tensors/tensor-base.js';

/** What a buffer needs to know of its type. */
export interface BufferTraits {
  readonly name: string;
  /** Tensors begin at multiples of it. */
  readonly alignment: number;
}

/**
 * Memory of a device that tensors of contexts lie in: ggml's interface, over any device. After {@link freeBuffer} every method,
 * and every tensor in it, throws ERR_MEM_DISPOSED.
 */
export class BackendBuffer {
  readonly #handle: Allocation;

  /** Takes a block over. Buffer types make buffers. */
  constructor(
    readonly type: BufferTraits,
    handle: Allocation,
  ) {
    this.#handle = handle;
  }

  get bytes(): number {
    return this.#handle.bytes;
  }

  /** True when it was freed. */
  get disposed(): boolean {
    return this.#handle.disposed;
  }

  /** True when the host sees its memory, so that tensors in it can be viewed. */
  get isHost(): boolean {
    return this.bytes > 0 && isHostVisible(this.#handle);
  }

  /** Gives the memory back. Does nothing the second time. */
  freeBuffer(): void {
    this.#handle.dispose();
  }

  [Symbol.dispose](): void {
    this.freeBuffer();
  }

  /** The address of its first byte. */
  getBase(): DevicePtr {
    return this.#handle.ptr;
  }

  /** Tells whether a tensor's data lies here. */
  holds(tensor: ContextTensor): boolean {
    return tensor.part?.whole === this.#handle;
  }

  /**
   * Places a tensor, which has no data yet or lies in a buffer. Its views lie with it.
   *
   * @param offsetBytes - a multiple of the type's alignment
   * @throws ERR_MEM_INVALID_ARGUMENT for a view, a tensor with data in its context, and an offset that is not aligned
   * @throws ERR_MEM_OUT_OF_RANGE
   */
  initTensor(tensor: ContextTensor, offsetBytes: number): void {
    if (tensor.viewSource !== undefined) throw badArgument('tensor', `${tensor.name}, a view`, 'what it is a view of');
    if (tensor.isFixed) throw badArgument('tensor', tensor.name, 'one of a context with noAlloc');
    if (tensor.ended) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'tensor' });
    const part = new MemoryPart(this.#handle, offsetBytes, tensor.bytes);
    if (offsetBytes % this.type.alignment !== 0) {
      throw badArgument('offsetBytes', `${offsetBytes}`, `a multiple of ${this.type.alignment}`);
    }
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
    copyToDevice(this.#place(tensor, offset, size), bytesOf(data, size));
  }

  /** Reads bytes of a tensor in it. @throws as {@link setTensor} */
  getTensor(tensor: ContextTensor, data: ArrayBufferView, offset = 0, size: number = data.byteLength): void {
    copyFromDevice(bytesOf(data, size), this.#place(tensor, offset, size));
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
    if (!isSame || !source.layout.isPacked || !target.layout.isPacked) {
      const value = `${source.dtype.name} [${source.shape.join(', ')}]`;
      throw badArgument('source', value, `packed, as the target: ${target.dtype.name} [${target.shape.join(', ')}]`);
    }
    return copyDirectly(place, source, target.bytes);
  }

  /** Sets every byte. @param value - 0 to 255 */
  clear(value = 0): void {
    this.#handle.fill(value);
  }

  #place(tensor: ContextTensor, offset: number, size: number): MemoryPart {
    const { memory, layout } = tensor;
    if (memory.whole !== this.#handle) throw badArgument('tensor', tensor.name, 'one in this buffer');
    checkRange(offset, size, layout.spanBytes);
    return new MemoryPart(memory, layout.offsetBytes + offset, size);
  }
}

function bytesOf(data: ArrayBufferView, size: number): Uint8Array {
  checkRange(0, size, data.byteLength);
  return new Uint8Array(data.buffer, data.byteOffset, size);
}
