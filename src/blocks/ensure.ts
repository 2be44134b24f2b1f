import { MemoryError } from '../core/errors.js';

/** @throws ERR_MEM_INVARIANT when `holds` is false */
export function ensure(holds: boolean, invariant: string): void {
  if (!holds) throw new MemoryError('ERR_MEM_INVARIANT', { invariant });
}
