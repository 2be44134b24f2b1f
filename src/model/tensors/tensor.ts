import { checkRange, checkUsable } from '../../core/errors.js';
import type { Allocation, SharedHandle } from '../../runtime/allocation.js';
import { TensorBase, type TensorMemory } from './tensor-base.js';
import type { TensorLayout } from './tensor-layout.js';

/** A tensor that shows a part of another one's memory, in another order or shape. It ends with the one it is a view of. */
export class TensorView extends TensorBase<TensorView> {
  /** @internal */
  constructor(
    protected readonly source: TensorBase,
    layout: TensorLayout,
  ) {
    super(layout);
  }

  override get memory(): TensorMemory {
    return this.source.memory;
  }

  protected override viewAs(layout: TensorLayout): TensorView {
    return new TensorView(this.source, layout);
  }
}

/** A tensor that holds its memory by a handle. */
abstract class OwningTensor<Handle extends Allocation> extends TensorBase<TensorView> {
  /** @throws ERR_MEM_OUT_OF_RANGE when the block is too small */
  constructor(
    protected readonly handle: Handle,
    layout: TensorLayout,
  ) {
    super(layout);
    checkRange(layout.offsetBytes, layout.spanBytes, handle.bytes);
  }

  override get memory(): TensorMemory {
    checkUsable(!this.handle.disposed, 'tensor');
    return this.handle;
  }

  /** True when it holds nothing any more: disposed, moved away, or its runtime was closed. */
  get disposed(): boolean {
    return this.handle.disposed;
  }

  /** Gives the memory back, or this owner's share of it. */
  dispose(): void {
    this.handle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  protected override viewAs(layout: TensorLayout): TensorView {
    return new TensorView(this, layout);
  }
}

/**
 * The one owner of a tensor's memory: `using weights = pool.allocate('f32', [2, 3])`.
 * {@link move} passes it on, {@link share} turns it into one with several owners; both leave this one empty.
 */
export class Tensor extends OwningTensor<Allocation> {
  /** Passes the tensor on to a new owner, which belongs to no scope. Views of this one end. */
  move(): Tensor {
    return new Tensor(this.#taken(), this.layout);
  }

  /** Passes the tensor on to a counted owner, which belongs to no scope. Views of this one end. */
  share(): SharedTensor {
    return new SharedTensor(this.#taken().share(), this.layout);
  }

  #taken(): Allocation {
    checkUsable(!this.disposed, 'tensor');
    return this.handle.move();
  }
}

/** One of the owners of a tensor's memory: the last one that is disposed frees it. */
export class SharedTensor extends OwningTensor<SharedHandle> {
  /** How many owners the memory has. */
  get owners(): number {
    return this.handle.owners;
  }

  /** Makes one more owner. */
  share(): SharedTensor {
    return new SharedTensor(this.handle.share(), this.layout);
  }
}
