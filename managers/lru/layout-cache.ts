import { ABSENT, AddressHash } from '../../src/blocks/address-hash.js';
import { NONE } from '../../src/blocks/block-rows.js';
import { ensure } from '../../src/blocks/ensure.js';
import { LruList } from '../../src/blocks/lru-list.js';

/** Layouts without a buffer that stay known, so that a size that comes and goes costs no change of the index. */
const MAX_IDLE_LAYOUTS = 256;

/** The bits of an alignment's code: 0 for no wish, else 1 + log2(alignment), at most 53. */
export const ALIGNMENT_CODE_MASK = 63;

/** Numbers an alignment: 0 and 1 (no wish) as 0, a larger power of two as 1 + log2. */
export function alignmentCode(alignment: number): number {
  return alignment <= 1 ? 0 : 1 + Math.log2(alignment);
}

/**
 * The free buffers of one device, kept by layout (size and alignment) and ordered by the layout's last use.
 *
 * A layout is a small integer. It is listed while it has a buffer: `layouts == count(listed)`, `bytes == sum(buffer.bytes)`.
 * Every operation is O(1), amortised.
 */
export class LayoutCache {
  // One index an alignment, from sizes to layouts.
  readonly #indexes: (AddressHash | undefined)[] = [];
  readonly #order = new LruList();
  readonly #sizes: number[] = [];
  readonly #codes: number[] = [];
  readonly #buffers: number[][] = [];
  readonly #unused: number[] = [];
  #known = 0;
  #bytes = 0;

  /** Layouts that have a buffer. */
  get layouts(): number {
    return this.#order.count;
  }

  /** Bytes of all buffers. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The least recently used layout that has a buffer and is not `spared`, or ABSENT. */
  oldestBut(spared: number): number {
    const oldest = this.#order.oldest;
    return oldest === spared && oldest !== ABSENT ? this.#order.newerThan(oldest) : oldest;
  }

  /** The layout of that size and alignment if it has a buffer, or ABSENT. */
  find(bytes: number, code: number): number {
    const layout = this.#known === 0 ? ABSENT : this.#lookUp(bytes, code);
    return this.#order.has(layout) ? layout : ABSENT;
  }

  /** Takes the buffer of that layout that came last, and counts as a use of the layout; or gives NONE. */
  take(bytes: number, code: number): number {
    const layout = this.find(bytes, code);
    if (layout === ABSENT) return NONE;
    this.#order.touch(layout);
    const buffer = this.#buffers[layout]!.at(-1)!;
    this.#dropLast(layout);
    return buffer;
  }

  /**
   * Takes buffers, those of the least recently used layout first. That is no use of a layout.
   *
   * @param goes - says of each, by its bytes, whether it is taken; a layout is left at its first no
   */
  takeOldest(goes: (bytes: number) => boolean): number[] {
    const taken: number[] = [];
    for (const layout of [...this.#order]) {
      for (let left = this.countOf(layout); left > 0 && goes(this.#sizes[layout]!); left--) {
        taken.push(this.#buffers[layout]!.at(-1)!);
        this.#dropLast(layout);
      }
    }
    return taken;
  }

  /** Keeps a buffer, and counts as a use of its layout. */
  put(buffer: number, bytes: number, code: number): void {
    let layout = this.#lookUp(bytes, code);
    if (layout === ABSENT) layout = this.#learn(bytes, code);
    this.#buffers[layout]!.push(buffer);
    this.#order.touch(layout);
    this.#bytes += bytes;
  }

  #dropLast(layout: number): void {
    const buffers = this.#buffers[layout]!;
    buffers.pop();
    this.#bytes -= this.#sizes[layout]!;
    if (buffers.length > 0) return;
    this.#order.remove(layout);
    if (this.#known - this.layouts > MAX_IDLE_LAYOUTS) this.#forgetIdle();
  }

  /** The bytes of a listed layout. */
  sizeOf(layout: number): number {
    return this.#sizes[layout]!;
  }

  /** The code of a listed layout's alignment. */
  codeOf(layout: number): number {
    return this.#codes[layout]!;
  }

  /** How many buffers a layout has. */
  countOf(layout: number): number {
    return this.#buffers[layout]!.length;
  }

  /** Every buffer with its layout's size, least recently used layout first. */
  *entries(): IterableIterator<{ readonly buffer: number; readonly bytes: number; readonly code: number }> {
    for (const layout of this.#order) {
      for (const buffer of this.#buffers[layout]!) yield { buffer, bytes: this.#sizes[layout]!, code: this.#codes[layout]! };
    }
  }

  /** @throws ERR_MEM_INVARIANT */
  checkInvariants(): void {
    this.#order.checkInvariants();
    let bytes = 0;
    for (const layout of this.#order) {
      ensure(this.countOf(layout) > 0, () => `listed layout ${layout} has a buffer`);
      ensure(this.#lookUp(this.#sizes[layout]!, this.#codes[layout]!) === layout, () => `layout ${layout} is found by its size`);
      bytes += this.countOf(layout) * this.#sizes[layout]!;
    }
    ensure(bytes === this.#bytes, 'bytes == sum(buffer.bytes)');
    const idle = this.#known - this.layouts;
    ensure(idle <= MAX_IDLE_LAYOUTS, () => `${idle} layouts are known without a buffer`);
  }

  #lookUp(bytes: number, code: number): number {
    const index = this.#indexes[code];
    return index === undefined ? ABSENT : index.get(bytes);
  }

  #learn(bytes: number, code: number): number {
    const layout = this.#unused.pop() ?? this.#sizes.length;
    this.#indexes[code] ??= new AddressHash();
    this.#indexes[code].set(bytes, layout);
    this.#sizes[layout] = bytes;
    this.#codes[layout] = code;
    this.#buffers[layout] ??= [];
    this.#known++;
    return layout;
  }

  #forgetIdle(): void {
    for (let layout = 0; layout < this.#sizes.length; layout++) {
      if (this.#sizes[layout] === 0 || this.countOf(layout) > 0) continue;
      this.#indexes[this.#codes[layout]!]!.delete(this.#sizes[layout]!);
      this.#sizes[layout] = 0;
      this.#unused.push(layout);
      this.#known--;
    }
  }
}
