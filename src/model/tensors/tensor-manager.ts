import { checkArgument } from '../../core/errors.js';
import { tryAll } from '../../core/try-all.js';
import { analyzeMemoryUsage, type MemoryUsage } from './memory-usage.js';
import { SharedTensor, type Tensor } from './tensor.js';

/**
 * Holds tensors by name, counts them and frees them.
 *
 * An exclusive tensor is moved into it; of a shared one it takes one more share.
 */
export class TensorManager {
  readonly #tensors = new Map<string, Tensor | SharedTensor>();

  /** How many tensors it holds. */
  get count(): number {
    return this.#tensors.size;
  }

  /** The bytes of its tensors. Cost: O(tensors). */
  get totalBytes(): number {
    return this.usage().bytes;
  }

  /** The names, in the order in which they were added. */
  get names(): string[] {
    return [...this.#tensors.keys()];
  }

  /**
   * Takes a tensor in.
   *
   * @returns the one that it holds now
   * @throws ERR_MEM_INVALID_ARGUMENT for a name that is taken, ERR_MEM_DISPOSED for a tensor without memory
   */
  add<T extends Tensor | SharedTensor>(name: string, tensor: T): T {
    checkArgument(!this.#tensors.has(name), 'name', name, 'one that no tensor here has');
    const held = tensor instanceof SharedTensor ? tensor.share() : tensor.move();
    this.#tensors.set(name, held);
    return held as T;
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /** A tensor that stays here: the caller must not dispose it. @throws ERR_MEM_INVALID_ARGUMENT for a name that none has */
  get(name: string): Tensor | SharedTensor {
    const tensor = this.#tensors.get(name);
    checkArgument(tensor !== undefined, 'name', name, 'the name of a tensor here');
    return tensor;
  }

  /** Passes a tensor to the caller, who owns it from now on. @throws ERR_MEM_INVALID_ARGUMENT for a name that none has */
  take(name: string): Tensor | SharedTensor {
    const tensor = this.get(name);
    this.#tensors.delete(name);
    return tensor;
  }

  /** Frees a tensor, or the share that is held here. @throws ERR_MEM_INVALID_ARGUMENT for a name that none has */
  free(name: string): void {
    this.get(name).dispose();
    this.#tensors.delete(name);
  }

  /** What its tensors take, by type. */
  usage(): MemoryUsage {
    return analyzeMemoryUsage(this.#tensors.values());
  }

  [Symbol.iterator](): IterableIterator<[string, Tensor | SharedTensor]> {
    return this.#tensors.entries();
  }

  /** Frees all. Where that fails it goes on, holds on to those that are left, and throws the first error at the end. */
  dispose(): void {
    tryAll(this.names, (name) => this.free(name));
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
