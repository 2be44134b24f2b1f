import { checkUsable, MemoryError } from '../../core/errors.js';
import { type MemoryPart, TensorBase } from '../tensors/tensor-base.js';
import type { TensorLayout } from '../tensors/tensor-layout.js';

/**
 * A tensor of a context. Its data is in the context's memory, in scratch, in a backend buffer, or nowhere yet (`noAlloc`).
 * Views, made by `slice` and its like, are objects of the same context and have the data of what they are a view of.
 */
export class ContextTensor extends TensorBase<ContextTensor> {
  readonly #makeView: (source: ContextTensor, layout: TensorLayout) => ContextTensor;
  #part: MemoryPart | undefined;
  #isFixed = false;
  #ended = false;

  /** @internal */
  constructor(
    readonly name: string,
    layout: TensorLayout,
    /** Where its object begins in the context. */
    readonly objectOffset: number,
    /** The tensor that it is a view of; never a view itself. */
    readonly viewSource: ContextTensor | undefined,
    makeView: (source: ContextTensor, layout: TensorLayout) => ContextTensor,
  ) {
    super(layout);
    this.#makeView = makeView;
  }

  /** The tensor whose data this one has: itself, or what it is a view of. */
  get dataSource(): ContextTensor {
    return this.viewSource ?? this;
  }

  /** Where its data is; undefined as long as it has none. */
  get part(): MemoryPart | undefined {
    return this.dataSource.#part;
  }

  /** True when its context was reset or disposed of, or the scratch memory it lay in was given to others. */
  get ended(): boolean {
    return this.#ended || this.dataSource.#ended;
  }

  /** @throws ERR_MEM_DISPOSED when it has ended, ERR_MEM_NO_DATA when it was not placed yet */
  override get memory(): MemoryPart {
    checkUsable(!this.ended, 'tensor');
    const { part } = this;
    if (part === undefined) throw new MemoryError('ERR_MEM_NO_DATA', { tensor: this.name });
    return part;
  }

  /** True when its data is in its context or in scratch, and stays there. */
  get isFixed(): boolean {
    return this.dataSource.#isFixed;
  }

  /** Sets where its data is; `isFixed` says that it stays there. @internal */
  setPart(part: MemoryPart, isFixed = false): void {
    this.#part = part;
    this.#isFixed = isFixed;
  }

  /** @internal */
  end(): void {
    this.#ended = true;
  }

  protected override viewAs(layout: TensorLayout): ContextTensor {
    checkUsable(!this.ended, 'tensor');
    return this.#makeView(this.dataSource, layout);
  }
}
