import { MemoryError } from '../core/errors.js';
import type { Lifetime } from './block-rows.js';
import { ensure } from './ensure.js';
import { INDEXED } from './kernel-interface.js';

/** How free blocks are kept, and how one is cut. */
export interface FreeBlocksOptions {
  /** Neighbours are joined within a group. @defaultValue 0 */
  readonly group?: number;
  /** Sizes are multiples of it: a power of two. @defaultValue 16 */
  readonly unitBytes?: number;
  /**
   * `exact`: the smallest that fits, of these the one at the lowest address. `good`: one of the lowest filled bin whose
   * blocks fit; bins are a 32nd of a power of two wide.
   * @defaultValue good
   */
  readonly fit?: 'exact' | 'good';
  /** What is left of a block becomes a block of its own from this size on. @defaultValue unitBytes */
  readonly leastRestBytes?: number;
}

/**
 * Free blocks in bins by size: best fit or good fit. A block is in one {@link FreeBlocks} at most, its owner.
 *
 * Operations on a block are O(1), or O(log n) where many blocks of like size lie in one bin. A {@link addFront front} keeps
 * freed blocks apart for requests of their own size.
 */
export class FreeBlocks {
  readonly group: number;
  readonly #lifetime: Lifetime;
  readonly #address: number;
  #small: FreeBlocks | undefined;

  /** Use {@link DeviceHeap.createFreeBlocks}. @throws ERR_MEM_INVALID_ARGUMENT for a unit that is no power of two @internal */
  constructor(lifetime: Lifetime, heap: number, options: FreeBlocksOptions) {
    const { group = 0, unitBytes = 16, fit = 'good', leastRestBytes } = options;
    if (!Number.isInteger(Math.log2(unitBytes)) || unitBytes < 1) {
      throw new MemoryError('ERR_MEM_INVALID_ARGUMENT', {
        name: 'unitBytes',
        value: String(unitBytes),
        expected: 'a power of two',
      });
    }
    const { kernel } = lifetime;
    this.group = group;
    this.#lifetime = lifetime;
    this.#address = kernel.createFreeBlocks(heap, group, unitBytes);
    if (fit === 'exact') kernel.setExact(this.#address);
    if (leastRestBytes !== undefined) kernel.setLeastRest(this.#address, leastRestBytes);
  }

  /**
   * Its address in the kernel's memory, for what belongs to the same heap.
   *
   * @internal
   * @throws ERR_MEM_INVARIANT for anything else, ERR_MEM_DISPOSED once the heap is closed
   */
  addressIn(lifetime: Lifetime): number {
    ensure(lifetime === this.#lifetime, 'free blocks are used by their own heap');
    lifetime.checkOpen();
    return this.#address;
  }

  /** As {@link DeviceHeap.allocate}, from these free blocks. */
  allocate(bytes: number, locks: number): number {
    return this.#lifetime.kernel.allocate(this.#address, bytes, locks);
  }

  /** Blocks of up to `limitBytes` are taken from and go to `small`, others here; both are one for who takes and gives back. */
  pairWith(small: FreeBlocks, limitBytes: number): void {
    this.#lifetime.kernel.pair(small.addressIn(this.#lifetime), this.#address, limitBytes);
    this.#small = small;
  }

  /** These free blocks, and those that they are paired with. */
  get parts(): readonly FreeBlocks[] {
    return this.#small === undefined ? [this] : [this, this.#small];
  }

  /** Blocks from `recyclingBytes` on are not used again, those from `splitBytes` on are not cut. Of a pair, small ones are used again. */
  setLimits(recyclingBytes: number, splitBytes: number): void {
    this.#lifetime.kernel.setLimits(this.#address, recyclingBytes, splitBytes);
    this.#small?.setLimits(Number.POSITIVE_INFINITY, splitBytes);
  }

  /**
   * Keeps freed blocks of up to `largestBytes` apart and uncut, as long as they have no more than `boundBytes` together.
   * Not for {@link pairWith paired} free blocks.
   */
  addFront(largestBytes: number, boundBytes: number): void {
    this.#lifetime.kernel.addFront(this.#address, largestBytes, boundBytes);
  }

  /** Changes the bounds of the front, from now on. */
  setFrontBounds(largestBytes: number, boundBytes: number): void {
    this.#lifetime.kernel.setFrontBounds(this.#address, largestBytes, boundBytes);
  }

  /** Bytes of the blocks in the front. */
  get deferredBytes(): number {
    return this.#lifetime.kernel.deferredBytes(this.#address);
  }

  /** Joins all blocks of the front with their free neighbours. O(blocks there). */
  flush(): void {
    this.#lifetime.kernel.flush(this.#address);
  }

  /** Tells whether the bins hold any block. */
  get isEmpty(): boolean {
    return this.#lifetime.kernel.hasFree(this.#address) === 0;
  }

  /**
   * A block in these bins of at least `bytes`, for which blocks of the front are joined as long as there is none. For the
   * moment before memory is got: a good fit looks at few blocks of a bin when it {@link take takes} one.
   *
   * @returns it, or NONE when there is none and the front is empty
   */
  fitOrJoin(bytes: number): number {
    return this.fit(bytes) || this.#lifetime.kernel.flushFor(this.#address, bytes);
  }

  /** Blocks in the bins. O(blocks). */
  get count(): number {
    return this.#lifetime.kernel.freeCount(this.#address);
  }

  /** Tells whether a block is in the bins of free blocks of this group. */
  has(block: number): boolean {
    const { kernel } = this.#lifetime;
    return block !== 0 && kernel.stateOf(block) === INDEXED && kernel.groupOf(block) === this.group;
  }

  /** Takes a block of at least `bytes` out, cut to size, or gives NONE. */
  take(bytes: number): number {
    return this.#lifetime.kernel.take(this.#address, bytes);
  }

  /** A block in the bins that an allocation of `bytes` may be cut from, or NONE when there is none. */
  usable(bytes: number): number {
    return this.#lifetime.kernel.usable(this.#address, bytes);
  }

  /** A block in these bins of at least `bytes`, or NONE when there is none. */
  fit(bytes: number): number {
    return this.#lifetime.kernel.fit(this.#address, bytes);
  }

  /** The block behind one in these bins, by size, then by address where the fit is exact; NONE behind the last. */
  after(block: number): number {
    return this.#lifetime.kernel.freeBehind(this.#address, block);
  }

  /** Takes a block out and leaves what it has more than `bytes` in, where that is worth a block. */
  carve(block: number, bytes: number): void {
    this.#lifetime.kernel.carve(block, bytes);
  }

  /**
   * As {@link carve}, so that the block's address is a multiple of `alignment`; what lies before it stays in, too.
   *
   * @param block - has `bytes + alignment` at least
   * @param alignment - bytes, a power of two
   * @returns the aligned block
   */
  carveAligned(block: number, bytes: number, alignment: number): number {
    return this.#lifetime.kernel.carveAligned(block, bytes, alignment);
  }

  /** Puts what a block in no bins has more than `bytes` in, where that is worth a block. */
  cutTail(block: number, bytes: number): void {
    this.#lifetime.kernel.cutTail(this.#address, block, bytes);
  }

  /** Enters a block that has no free neighbours in bins. */
  putIn(block: number): void {
    this.#lifetime.kernel.putIn(this.#address, block);
  }

  /** Takes a block out. */
  takeOut(block: number): void {
    this.#lifetime.kernel.takeOut(block);
  }

  /** Enters a block joined with its free neighbours. @returns the whole */
  join(block: number): number {
    return this.#lifetime.kernel.join(this.#address, block);
  }

  /** Moves every block, those in the front too, to other free blocks. O(blocks). */
  moveAllTo(other: FreeBlocks): void {
    for (const part of this.parts) this.#lifetime.kernel.moveAll(part.#address, other.addressIn(this.#lifetime));
  }

  /** The blocks in the bins: by size, then address, where the fit is exact. A copy. */
  toArray(): number[] {
    const found: number[] = [];
    for (let block = this.#lifetime.kernel.firstFreeOf(this.#address); block !== 0; block = this.after(block)) found.push(block);
    return found;
  }

  /** Checks bins, order, bits and counts, in O(n). For tests. */
  get isSound(): boolean {
    return this.#lifetime.kernel.isSound(this.#address) !== 0;
  }
}
