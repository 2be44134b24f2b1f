import { checkArgument } from '../../core/errors.js';
import type { DType } from '../dtypes.js';

/**
 * The lengths of a tensor's dimensions, the outermost first, as in NumPy and safetensors: the last dimension's elements are
 * neighbours in memory. ggml and GGUF count the other way round; {@link shapeOfGgml} converts. No dimensions: one element.
 */
export type Shape = readonly number[];

/** Turns ggml's order of dimensions (`ne`, the innermost first) into a {@link Shape}, or back. */
export function shapeOfGgml(ne: ArrayLike<number>): number[] {
  return Array.from(ne).reverse();
}

/** How many elements a tensor of that shape has. @throws ERR_MEM_INVALID_ARGUMENT for a shape that is none */
export function elementsOf(shape: Shape): number {
  for (const length of shape) checkShape(Number.isSafeInteger(length) && length >= 0, shape, 'lengths from 0 to 2^53 - 1');
  // A dimension of none must not hide that the others are too many.
  const elements = shape.reduce((product, length) => product * (length || 1), 1);
  checkShape(elements <= Number.MAX_SAFE_INTEGER, shape, 'at most 2^53 - 1 elements');
  return shape.includes(0) ? 0 : elements;
}

/** The bytes of `elements` neighbours. @throws ERR_MEM_INVALID_ARGUMENT unless these are whole blocks */
export function rowBytes(dtype: DType, elements: number): number {
  const blocks = elements / dtype.blockElements;
  const isWhole = Number.isSafeInteger(elements) && elements >= 0 && Number.isInteger(blocks);
  checkArgument(isWhole, 'innermost dimension', elements, `a multiple of ${dtype.blockElements} for ${dtype.name}`);
  return blocks * dtype.blockBytes;
}

/**
 * The bytes of a tensor without gaps.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT for a shape that is none, and one whose last dimension is no whole number of blocks
 */
export function tensorBytes(dtype: DType, shape: Shape): number {
  const elements = elementsOf(shape);
  rowBytes(dtype, shape.at(-1) ?? 1);
  // Whole blocks: the quotient is exact, the product may not be.
  const bytes = (elements / dtype.blockElements) * dtype.blockBytes;
  checkShape(Number.isSafeInteger(bytes), shape, `at most 2^53 - 1 bytes of ${dtype.name}`);
  return bytes;
}

/**
 * The strides of a tensor without gaps: for each dimension, the bytes from one index to the next. For the last dimension of a
 * quantised type they lead from block to block, as ggml's `nb[0]` does.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT as {@link tensorBytes}
 */
export function contiguousStrides(dtype: DType, shape: Shape): number[] {
  tensorBytes(dtype, shape);
  const strides = new Array<number>(shape.length);
  let bytes = dtype.blockBytes;
  for (let at = shape.length - 1; at >= 0; at--) {
    strides[at] = bytes;
    const steps = at === shape.length - 1 ? shape[at]! / dtype.blockElements : shape[at]!;
    // Where there are no elements, strides say nothing; they stay numbers that can be strides.
    bytes *= Math.max(1, steps);
  }
  return strides;
}

function checkShape(ok: boolean, shape: Shape, expected: string): void {
  checkArgument(ok, 'shape', `[${shape.join(', ')}]`, expected);
}

/**
 * Where the elements of a tensor lie in its memory: immutable arithmetic, without the memory.
 *
 * The last dimension of a quantised type consists of blocks: it stays the last, and is cut between blocks.
 */
export class TensorLayout {
  readonly elements: number;
  /** The bytes of the elements alone. */
  readonly bytes: number;
  /** The bytes from the first element's beginning to the last one's end: {@link bytes}, and gaps where it is not packed. */
  readonly spanBytes: number;
  /** True when the elements lie one after the other, in the order of their indexes. */
  readonly isPacked: boolean;

  private constructor(
    readonly dtype: DType,
    readonly shape: Shape,
    /** Bytes from one index of a dimension to the next; from block to block in the last dimension of a quantised type. */
    readonly stridesBytes: readonly number[],
    /** Where the first element begins. */
    readonly offsetBytes: number,
  ) {
    this.elements = elementsOf(shape);
    this.bytes = tensorBytes(dtype, shape);
    const steps = shape.map((_, dimension) => this.#steps(dimension));
    this.spanBytes = this.elements === 0 ? 0 : steps.reduce((sum, n, i) => sum + (n - 1) * stridesBytes[i]!, dtype.blockBytes);
    this.isPacked = this.elements === 0 || this.#packedBytes(0) === this.bytes;
  }

  /**
   * Lays elements out without gaps.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT for a shape that is none, and one whose last dimension is no whole number of blocks
   */
  static packed(dtype: DType, shape: Shape, offsetBytes = 0): TensorLayout {
    return new TensorLayout(dtype, Object.freeze([...shape]), contiguousStrides(dtype, shape), offsetBytes);
  }

  /**
   * The indexes of a dimension from `from` up to and excluding `to`.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT for indexes outside, and between the ends of a block
   */
  slice(dimension: number, from: number, to: number): TensorLayout {
    this.#checkDimension(dimension);
    const length = this.shape[dimension]!;
    const isRange = Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to <= length;
    const unit = this.#isBlocked(dimension) ? this.dtype.blockElements : 1;
    const expected = `inside 0 to ${length}${unit === 1 ? '' : `, in blocks of ${unit}`}`;
    checkArgument(isRange && from % unit === 0 && to % unit === 0, 'slice', `${from} to ${to}`, expected);
    const offset = this.offsetBytes + (from / unit) * this.stridesBytes[dimension]!;
    return new TensorLayout(this.dtype, this.shape.with(dimension, to - from), this.stridesBytes, offset);
  }

  /**
   * The same elements with other dimensions.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT unless it is packed and has as many elements
   */
  reshape(shape: Shape): TensorLayout {
    checkArgument(this.isPacked, 'layout', `strides of ${this.stridesBytes.join(', ')} bytes`, 'packed, to be reshaped');
    checkArgument(elementsOf(shape) === this.elements, 'shape', `[${shape.join(', ')}]`, `one of ${this.elements} elements`);
    return TensorLayout.packed(this.dtype, shape, this.offsetBytes);
  }

  /**
   * The dimensions in another order: dimension i of the result is dimension `order[i]` of this.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT unless each is named once, and when blocks would no longer be in the last
   */
  permute(order: readonly number[]): TensorLayout {
    const last = this.shape.length - 1;
    for (const dimension of order) this.#checkDimension(dimension);
    const isOrder = order.length === this.shape.length && new Set(order).size === order.length;
    checkArgument(isOrder, 'order', `[${order.join(', ')}]`, `each of ${this.shape.length} dimensions once`);
    const keepsBlocks = last < 0 || !this.#isBlocked(last) || order[last] === last;
    const blocks = `the last dimension in its place: it has the blocks of ${this.dtype.name}`;
    checkArgument(keepsBlocks, 'order', `[${order.join(', ')}]`, blocks);
    const pick = (list: readonly number[]) => Object.freeze(order.map((dimension) => list[dimension]!));
    return new TensorLayout(this.dtype, pick(this.shape), pick(this.stridesBytes), this.offsetBytes);
  }

  /** Two dimensions exchanged. @throws ERR_MEM_INVALID_ARGUMENT as {@link permute} */
  transpose(a: number, b: number): TensorLayout {
    const order = this.shape.map((_, dimension) => dimension);
    this.#checkDimension(a);
    this.#checkDimension(b);
    [order[a], order[b]] = [b, a];
    return this.permute(order);
  }

  /**
   * Goes through the longest pieces that lie together, in the order of the elements.
   *
   * @param visit - is given the piece's place behind the first element's beginning, its place among the packed elements, and
   *   its bytes
   */
  forEachRun(visit: (spanOffset: number, packedOffset: number, bytes: number) => void): void {
    if (this.elements === 0) return;
    let outer = this.shape.length;
    while (outer > 0 && this.#packedBytes(outer - 1) > 0) outer--;
    const runBytes = this.#packedBytes(outer);
    const at = new Array<number>(outer).fill(0);
    let spanOffset = 0;
    for (let packedOffset = 0; packedOffset < this.bytes; packedOffset += runBytes) {
      visit(spanOffset, packedOffset, runBytes);
      // Counts up like a mileage counter, the last outer dimension first.
      for (let dimension = outer - 1; dimension >= 0; dimension--) {
        spanOffset += this.stridesBytes[dimension]!;
        if (++at[dimension]! < this.#steps(dimension)) break;
        spanOffset -= at[dimension]! * this.stridesBytes[dimension]!;
        at[dimension] = 0;
      }
    }
  }

  /** The bytes that the dimensions from `outermost` on have together, when nothing lies between their elements; else 0. */
  #packedBytes(outermost: number): number {
    let bytes = this.dtype.blockBytes;
    for (let dimension = this.shape.length - 1; dimension >= outermost; dimension--) {
      const steps = this.#steps(dimension);
      if (steps !== 1 && this.stridesBytes[dimension] !== bytes) return 0;
      bytes *= steps;
    }
    return bytes;
  }

  /** How many strides a dimension is long: its blocks, or its length. */
  #steps(dimension: number): number {
    return this.shape[dimension]! / (this.#isBlocked(dimension) ? this.dtype.blockElements : 1);
  }

  #isBlocked(dimension: number): boolean {
    return this.dtype.blockElements > 1 && dimension === this.shape.length - 1;
  }

  #checkDimension(dimension: number): void {
    const isDimension = Number.isInteger(dimension) && dimension >= 0 && dimension < this.shape.length;
    checkArgument(isDimension, 'dimension', dimension, `from 0 to ${this.shape.length - 1}`);
  }
}
