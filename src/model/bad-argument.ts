import { MemoryError } from '../core/errors.js';

/** Makes the error of an argument that has a value which it cannot have. */
export function badArgument(name: string, value: string | number, expected: string): MemoryError<'ERR_MEM_INVALID_ARGUMENT'> {
  return new MemoryError('ERR_MEM_INVALID_ARGUMENT', { name, value: `${value}`, expected });
}
