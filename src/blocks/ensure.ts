import { MemoryError } from '../core/errors.js';

/**
 * For checks of invariants.
 *
 * @param invariant - what must hold; a function where the text is made of numbers, as checks run far more often than they fail
 * @throws ERR_MEM_INVARIANT when `holds` is false
 */
export function ensure(holds: boolean, invariant: string | (() => string)): void {
  if (!holds) throw new MemoryError('ERR_MEM_INVARIANT', { invariant: typeof invariant === 'string' ? invariant : invariant() });
}
