import type { BlockTable } from '../../src/blocks/block-table.js';

// Of this module: an imported constant costs a memory read at each use.
const NO_BLOCK = -1;

/** The largest block that is deferred. */
export const DEFERRED_BLOCK_BYTES = 16 * 1024;
const UNIT_BYTES = 16;
const SIZES = DEFERRED_BLOCK_BYTES / UNIT_BYTES + 1;

/**
 * Small blocks that came back and are not joined with their neighbours yet, by exact size, last in first out: programs
 * soon ask for the same sizes again. Every operation: O(1).
 *
 * `bytes == sum(bytesOf(block))`. The links lie in the block table: a deferred block is in no other index.
 */
export class DeferredFront {
  readonly #blocks: BlockTable;
  readonly #heads = new Int32Array(SIZES).fill(NO_BLOCK);
  // Bit s & 31 of #filled[s >> 5] is set when blocks of s units are in, and perhaps when the last one was popped.
  readonly #filled = new Int32Array((SIZES >> 5) + 1);
  // Bytes deferred now, and how many there may be: small, so that both stay small integers.
  #bytes = 0;
  #boundBytes: number;

  /** @param boundBytes - above it {@link push} asks for a flush */
  constructor(blocks: BlockTable, boundBytes: number) {
    this.#blocks = blocks;
    this.#boundBytes = boundBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get metadataBytes(): number {
    return this.#heads.byteLength + this.#filled.byteLength;
  }

  /** Takes the block of exactly `bytes` that came last, or gives NONE. */
  pop(bytes: number): number {
    const size = bytes >>> 4;
    const block = this.#heads[size]!;
    if (block === NO_BLOCK) return NO_BLOCK;
    this.#heads[size] = this.#blocks.lowerOf(block);
    this.#bytes -= bytes;
    return block;
  }

  /** Takes a block in. @returns false when more is deferred now than should be */
  push(block: number, bytes: number): boolean {
    const size = bytes >>> 4;
    this.#blocks.setLower(block, this.#heads[size]!);
    this.#heads[size] = block;
    this.#filled[size >> 5]! |= 1 << size;
    this.#bytes += bytes;
    return this.#bytes <= this.#boundBytes;
  }

  /** Lets more or fewer bytes be deferred from now on. */
  setBound(boundBytes: number): void {
    this.#boundBytes = boundBytes;
  }

  /** Takes a block of the smallest size out, or gives NONE. */
  popSmallest(): number {
    if (this.#bytes === 0) return NO_BLOCK;
    for (let word = 0; word < this.#filled.length; word++) {
      for (let bits = this.#filled[word]!; bits !== 0; bits = this.#filled[word]!) {
        const size = 32 * word + 31 - Math.clz32(bits & -bits);
        if (this.#heads[size] !== NO_BLOCK) return this.pop(size * UNIT_BYTES);
        this.#filled[word] = bits & (bits - 1);
      }
    }
    return NO_BLOCK;
  }
}
