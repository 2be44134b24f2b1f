import { type BlockTable, ensure, NONE, widened } from './block-table.js';

const INITIAL_CAPACITY = 32;

/**
 * A few blocks in the order of size, then address, that are in another index as well: a sorted array.
 * Finding is O(log n), insertion and removal move O(n) small integers (4 KiB for 1000 blocks).
 */
export class SortedBlocks {
  readonly #blocks: BlockTable;
  #sorted = new Int32Array(INITIAL_CAPACITY);
  #count = 0;

  constructor(blocks: BlockTable) {
    this.#blocks = blocks;
  }

  get count(): number {
    return this.#count;
  }

  get metadataBytes(): number {
    return this.#sorted.byteLength;
  }

  /** The block at a position in the order, from 0. */
  at(position: number): number {
    return this.#sorted[position]!;
  }

  /** The position of the first block of at least `bytes`; {@link count} when there is none. */
  positionOf(bytes: number): number {
    return this.#lowerBound(bytes, 0);
  }

  insert(block: number): void {
    if (this.#count === this.#sorted.length) this.#sorted = widened(this.#sorted, new Int32Array(this.#count * 2));
    const sorted = this.#sorted;
    const at = this.#lowerBound(this.#blocks.bytesOf(block), this.#blocks.addressOf(block));
    // A loop: copyWithin costs more than the few numbers there are to move.
    for (let i = this.#count++; i > at; i--) sorted[i] = sorted[i - 1]!;
    sorted[at] = block;
  }

  /** Takes a block out whose size and address are as they were when it came in. */
  remove(block: number): void {
    const at = this.#lowerBound(this.#blocks.bytesOf(block), this.#blocks.addressOf(block));
    const sorted = this.#sorted;
    const last = --this.#count;
    for (let i = at; i < last; i++) sorted[i] = sorted[i + 1]!;
  }

  /** @throws ERR_MEM_INVARIANT */
  checkInvariants(): void {
    const blocks = this.#blocks;
    for (let i = 0; i < this.#count; i++) {
      const block = this.#sorted[i]!;
      ensure(block !== NONE && blocks.exists(block) && blocks.isFree(block), `sorted block ${block} is free`);
      ensure(i === 0 || blocks.isBefore(this.#sorted[i - 1]!, block), `block ${block} stands at its place in the order`);
    }
  }

  #lowerBound(bytes: number, address: number): number {
    const blocks = this.#blocks;
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const block = this.#sorted[middle]!;
      const found = blocks.bytesOf(block);
      if (found < bytes || (found === bytes && blocks.addressOf(block) < address)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
