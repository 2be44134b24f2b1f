import { MemoryError } from '../../src/core/errors.js';
import { isPowerOfTwo } from '../../src/core/units.js';

/** Gives an option back that is a positive integer. @throws ERR_MEM_INVALID_ARGUMENT for any other */
export function checkSize(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value: String(value), expected: 'an integer of at least 1' });
}

/** Gives an option back that is a power of two of at most 31 bits. @throws ERR_MEM_INVALID_ARGUMENT for any other */
export function checkPowerOfTwo(name: string, value: number): number {
  if (isPowerOfTwo(value) && value <= 2 ** 30) return value;
  throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value: String(value), expected: 'a power of two from 1 to 2^30' });
}
