import { orUndo } from '../../core/attempt.js';
import { checkOptionNames, checkOwnOptions, type OwnOptions } from '../../core/option-names.js';
import type { MemoryRuntime } from '../../runtime/memory-runtime.js';
import { type DType, type DTypeName, dtype as dtypeOf } from '../dtypes.js';
import type { ModelTensor } from '../files/model-description.js';
import { analyzeMemoryUsage, type MemoryUsage } from './memory-usage.js';
import { Tensor } from './tensor.js';
import { type Shape, TensorLayout } from './tensor-layout.js';

/** Where a pool's tensors are allocated. */
export interface TensorPoolOptions {
  /** The id of the device. @defaultValue the one that is active at each allocation */
  readonly device?: number;
  /** Bytes, a power of two. @defaultValue the manager's own */
  readonly alignment?: number;
  /** True takes page-locked host memory. @defaultValue false */
  readonly pinned?: boolean;
  /** What the tensors are for, in statistics by tag. @defaultValue the tag of the surrounding `runtime.tag(name, fn)` */
  readonly tag?: string;
}

const ALLOCATE_OPTIONS = { zero: true } as const;
const OPTIONS: OwnOptions<TensorPoolOptions> = {
  of: () => TensorPool,
  names: { device: true, alignment: true, pinned: true, tag: true },
};

/**
 * Makes tensors over a runtime, and so over any manager and device. It counts those that are alive, whether they are disposed
 * by their last owner, by a scope, or by the garbage collector's backstop.
 */
export class TensorPool {
  readonly #live = new Set<Pick<ModelTensor, 'dtype' | 'bytes'>>();

  constructor(
    protected readonly runtime: MemoryRuntime,
    protected readonly options: TensorPoolOptions = {},
  ) {
    checkOwnOptions(OPTIONS, new.target, options);
  }

  /**
   * Allocates a tensor. Its content is undefined unless `zero` is set.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT for a type or shape that is none, and what `runtime.allocate` throws
   */
  allocate(type: DTypeName | DType, shape: Shape, options: { readonly zero?: boolean } = {}): Tensor {
    checkOptionNames('TensorPool.allocate', options, ALLOCATE_OPTIONS);
    const { zero = false } = options;
    const layout = TensorLayout.packed(dtypeOf(type), shape);
    const entry = { dtype: layout.dtype, bytes: layout.bytes };
    const { device, ...place } = this.options;
    const allocate = () => this.runtime.allocate(layout.bytes, { ...place, zero, onFreed: () => this.#live.delete(entry) });
    const handle = device === undefined ? allocate() : this.runtime.withDevice(device, allocate);
    this.#live.add(entry);
    return new Tensor(handle, layout);
  }

  /**
   * Allocates a tensor and copies its elements in.
   *
   * @param data - the bytes of the elements, the last dimension's next to each other
   * @throws as {@link allocate}, and ERR_MEM_INVALID_ARGUMENT when data has more or fewer bytes
   */
  from(type: DTypeName | DType, shape: Shape, data: ArrayBufferView): Tensor {
    const tensor = this.allocate(type, shape);
    orUndo(
      () => tensor.write(data),
      () => tensor.dispose(),
    );
    return tensor;
  }

  /** How many of its tensors are alive; owners of one count once. */
  get liveTensors(): number {
    return this.#alive.size;
  }

  /** What its live tensors take, by type. Cost: O(live tensors). */
  usage(): MemoryUsage {
    return analyzeMemoryUsage(this.#alive);
  }

  /** A runtime that was closed has freed everything. */
  get #alive(): ReadonlySet<Pick<ModelTensor, 'dtype' | 'bytes'>> {
    if (this.runtime.slot.closed) this.#live.clear();
    return this.#live;
  }
}
