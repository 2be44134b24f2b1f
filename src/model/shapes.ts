import { checkArgument } from '../core/errors.js';
import type { DType } from './dtypes.js';

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
