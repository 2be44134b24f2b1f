import { functionType } from './c-types.js';
import { koffi } from './koffi.js';

/**
 * Declares a C function by its address, as a library's function table gives it.
 *
 * @param result - a C type as koffi writes it
 * @param parameters - C types as koffi writes them
 */
export function functionAt<F extends (...values: never[]) => unknown>(
  address: number,
  result: string,
  parameters: readonly string[],
): F {
  const type = functionType(result, parameters);
  const pointer = BigInt(address);
  return ((...values: unknown[]) => koffi().call(pointer, type, ...values)) as unknown as F;
}
