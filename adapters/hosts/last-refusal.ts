import type { MemoryError } from '../../src/core/errors.js';

/** Why the last request that an engine was refused could not be served, as far as the present call of the engine knows. */
export class LastRefusal<E extends MemoryError> {
  /** Undefined since the outermost call began. */
  error: E | undefined;
  #depth = 0;

  /** Notes that the engine is called: what was refused before the outermost call is forgotten. */
  enter(): void {
    if (this.#depth++ === 0) this.error = undefined;
  }

  /** Notes that the call has ended. */
  leave(): void {
    this.#depth--;
  }
}
