import { alignUp, checkAlignment } from '../../core/units.js';
import type { MemoryRuntime } from '../../runtime/memory-runtime.js';
import type { ContextTensor } from '../context/context-tensor.js';
import { BackendBuffer, type BufferTraits } from './backend-buffer.js';

/** Where a type's buffers are. */
export interface BackendBufferTypeOptions {
  /** The id of the device. @defaultValue 0 */
  readonly device?: number;
  /** What tensors begin at multiples of: a power of two. @defaultValue 128, the most that ggml's CPU and CUDA backends ask for */
  readonly alignment?: number;
  /** @defaultValue the device's kind, with its id: `cpu0`, `cuda1` */
  readonly name?: string;
}

/** Makes buffers in one device's memory, by whatever manager is installed in the runtime. */
export class BackendBufferType implements BufferTraits {
  readonly name: string;
  readonly alignment: number;
  readonly device: number;
  readonly #runtime: MemoryRuntime;

  /** @throws ERR_MEM_INVALID_ALIGNMENT */
  constructor(runtime: MemoryRuntime, options: BackendBufferTypeOptions = {}) {
    const { device = 0, alignment = 128, name = `${runtime.device.name}${device}` } = options;
    checkAlignment(alignment);
    this.#runtime = runtime;
    this.device = device;
    this.alignment = Math.max(1, alignment);
    this.name = name;
  }

  /** The most that a buffer can have: the device's memory. @throws ERR_MEM_INVALID_DEVICE */
  getMaxSize(): number {
    return this.#runtime.device.getMaxMemorySize(this.device);
  }

  /** Makes a buffer; its content is undefined. @throws ERR_MEM_INVALID_SIZE, ERR_MEM_OUT_OF_MEMORY, ERR_MEM_INVALID_DEVICE */
  allocBuffer(bytes: number): BackendBuffer {
    const { alignment } = this;
    return new BackendBuffer(
      this,
      this.#runtime.withDevice(this.device, () => this.#runtime.allocate(bytes, { alignment })),
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
    tensors.forEach((tensor, at) => {
      buffer.initTensor(tensor, offsets[at]!);
    });
    return buffer;
  }
}
