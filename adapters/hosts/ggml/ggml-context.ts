import { MemoryError } from '../../../src/core/errors.js';
import type { GgmlLibrary } from './ggml-library.js';

/** A `ggml_context` over memory of a manager. Dispose of it before its host is closed. */
export class GgmlContext {
  readonly #library: GgmlLibrary;
  readonly #giveBack: () => void;
  #address: number;

  /** @internal */
  constructor(library: GgmlLibrary, address: number, giveBack: () => void) {
    this.#library = library;
    this.#address = address;
    this.#giveBack = giveBack;
  }

  /** The `ggml_context *`. @throws ERR_MEM_DISPOSED */
  get address(): number {
    if (this.#address === 0) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'ggml context' });
    return this.#address;
  }

  /** What ggml has used of the memory so far. @throws ERR_MEM_DISPOSED */
  get usedBytes(): number {
    return this.#library.functions.usedMemory(this.address);
  }

  /** Frees the context, then its memory. Does nothing the second time. */
  [Symbol.dispose](): void {
    const address = this.#address;
    if (address === 0) return;
    this.#address = 0;
    this.#library.functions.free(address);
    this.#giveBack();
  }
}
