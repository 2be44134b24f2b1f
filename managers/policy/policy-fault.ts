import { MemoryError } from '../../src/core/errors.js';

/**
 * The error for a method of a policy that does not give what it has to.
 *
 * @param expected - what it has to give
 * @param given - what it has given
 */
export function policyFault(manager: { readonly name: string }, method: string, expected: string, given: string): MemoryError {
  return new MemoryError('ERR_MEM_INVARIANT', {
    invariant: `${method}() of ${manager.name} gives ${expected}: it gave ${given}`,
  });
}
