import { MemoryError } from '../../src/core/errors.js';

/**
 * Makes a native call that asks for memory.
 *
 * @returns what it answers, or `refusal` when it throws out of memory
 * @throws a MemoryError with another code
 */
export function askNative<T>(call: () => T, refusal: T, failure: { cause: unknown }): T {
  try {
    return call();
  } catch (error) {
    if (MemoryError.is(error) && error.code !== 'ERR_MEM_OUT_OF_MEMORY') throw error;
    failure.cause = error;
    return refusal;
  }
}
