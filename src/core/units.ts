import { MemoryError } from './errors.js';

export { exactBytes, formatBytes } from './format-bytes.js';

declare const brand: unique symbol;

/** An address in a device's memory: an integer below 2^53, 0 is null. Make one with {@link devicePtr}. */
export type DevicePtr = number & { readonly [brand]: 'DevicePtr' };

/** The null pointer. */
export const NULL_PTR = 0 as DevicePtr;

/** 1 KiB in bytes. */
export const KiB = 1024;
/** 1 MiB in bytes. */
export const MiB = 1024 * KiB;
/** 1 GiB in bytes. */
export const GiB = 1024 * MiB;

/**
 * Checks that `address` can be a pointer and brands it.
 *
 * @param address - an integer from 0 to 2^53 - 1
 * @throws ERR_MEM_INVALID_POINTER when it is anything else
 */
export function devicePtr(address: number): DevicePtr {
  if (!Number.isSafeInteger(address) || address < 0) throw new MemoryError('ERR_MEM_INVALID_POINTER', { pointer: address });
  return address as DevicePtr;
}

/**
 * Checks that `bytes` can be a size.
 *
 * @param bytes - an integer from 0 to 2^53 - 1
 * @throws ERR_MEM_INVALID_SIZE when it is anything else
 */
export function checkBytes(bytes: number): void {
  if (!Number.isSafeInteger(bytes) || bytes < 0) refuseBytes(bytes);
}

/** Apart: V8 inlines so much bytecode, and no more. */
function refuseBytes(bytes: number): never {
  throw new MemoryError('ERR_MEM_INVALID_SIZE', { bytes });
}

/**
 * Checks that `alignment` can be an alignment.
 *
 * @param alignment - bytes: a power of two up to 2^52, or 0 for "no wish"
 * @throws ERR_MEM_INVALID_ALIGNMENT when it is anything else
 */
export function checkAlignment(alignment: number): void {
  if (alignment !== 0 && !isPowerOfTwo(alignment))
    throw new MemoryError('ERR_MEM_INVALID_ALIGNMENT', { alignmentBytes: alignment });
}

/** Tells whether `value` is a power of two from 1 to 2^52. */
export function isPowerOfTwo(value: number): boolean {
  // The logarithm is rounded: just below 2^49 it is 49.
  return Number.isSafeInteger(value) && value > 0 && 2 ** Math.round(Math.log2(value)) === value;
}

/**
 * Rounds `value` up to the next multiple of `step`; exact up to 2^53.
 *
 * @param value - a non-negative integer
 * @param step - a positive integer, not necessarily a power of two
 */
export function alignUp(value: number, step: number): number {
  // The quotient cannot round to an integer that it is not: it is at least 1 / step away, half an ulp is less below 2^53.
  return Math.ceil(value / step) * step;
}

/** The product of `dims` and `elementSize`: the bytes of an array of that shape. @throws ERR_MEM_INVALID_SIZE for one that is no size */
export function bytesOf(dims: ArrayLike<number>, elementSize: number): number {
  checkBytes(elementSize);
  let bytes = elementSize;
  for (let i = 0; i < dims.length; i++) {
    checkBytes(dims[i] as number);
    bytes *= dims[i] as number;
  }
  return bytes;
}
