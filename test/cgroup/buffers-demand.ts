import { KiB } from '../../src/core/units.js';
import type { Allocation, MemoryRuntime } from '../../src/runtime/index.js';
import { type Demand, expectSame, takeRandom } from './demand.js';

const WORD_BYTES = 4;
const PATTERN = new Uint32Array(64 * KiB);

const bytesOf = (words: Uint32Array): Buffer => Buffer.from(words.buffer, words.byteOffset, words.byteLength);

/** A program's own buffers, each full of a number of its own. */
export class BuffersDemand implements Demand {
  readonly name = 'buffers';
  readonly growsWhole = false;
  readonly weight = 1.2;
  readonly #runtime: MemoryRuntime;
  readonly #random: () => number;
  readonly #buffers: { readonly block: Allocation; readonly value: number }[] = [];
  #made = 0;

  constructor(runtime: MemoryRuntime, random: () => number) {
    this.#runtime = runtime;
    this.#random = random;
  }

  get liveBytes(): number {
    return this.#buffers.reduce((sum, { block }) => sum + block.bytes, 0);
  }

  grow(bytes: number): void {
    const block = this.#runtime.allocate(Math.ceil(bytes / WORD_BYTES) * WORD_BYTES);
    const value = ++this.#made * 2654435761;
    block.view(Uint32Array).fill(value);
    this.#buffers.push({ block, value });
  }

  check(): void {
    for (const { block, value } of this.#buffers) {
      PATTERN.fill(value);
      const words = block.view(Uint32Array);
      for (let at = 0; at < words.length; at += PATTERN.length) {
        const part = words.subarray(at, at + PATTERN.length);
        expectSame('a part of a buffer', bytesOf(part).compare(bytesOf(PATTERN.subarray(0, part.length))), 0);
      }
    }
  }

  shrink(bytes: number): void {
    let live = this.liveBytes;
    while (live > bytes) {
      const { block } = takeRandom(this.#buffers, this.#random);
      live -= block.bytes;
      block.dispose();
    }
  }

  close(): void {
    this.shrink(0);
  }
}
