import { ABSENT, AddressHash } from '../../src/blocks/address-hash.js';
import { ensure } from '../../src/blocks/ensure.js';
import { NumberColumn } from './number-column.js';

/**
 * The live blocks that a decorator keeps books of: rows of numbers, found by address. Every operation is O(1), amortised.
 * A row is a small integer, which also numbers the rows of a decorator's own columns.
 */
export class LiveBlocks {
  readonly #rows = new AddressHash();
  // 0 for a row that is not in use.
  readonly #addresses = new NumberColumn();
  readonly #bytes = new NumberColumn();
  readonly #requested = new NumberColumn();
  readonly #unused: number[] = [];
  #end = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** The row of the block that `address` heads, or ABSENT. */
  find(address: number): number {
    return address === 0 ? ABSENT : this.#rows.get(address);
  }

  /** Enters a block under an address that has none. */
  add(address: number, bytes: number, requested: number): number {
    const row = this.#unused.pop() ?? this.#end++;
    this.#addresses.set(row, address);
    this.#bytes.set(row, bytes);
    this.#requested.set(row, requested);
    this.#rows.set(address, row);
    this.#count++;
    return row;
  }

  remove(row: number): void {
    this.#rows.delete(this.#addresses.get(row));
    this.#addresses.set(row, 0);
    this.#unused.push(row);
    this.#count--;
  }

  addressOf(row: number): number {
    return this.#addresses.get(row);
  }

  bytesOf(row: number): number {
    return this.#bytes.get(row);
  }

  /** The bytes that the caller asked for. */
  requestedOf(row: number): number {
    return this.#requested.get(row);
  }

  /** The rows of all live blocks. A row may be removed meanwhile. */
  *[Symbol.iterator](): IterableIterator<number> {
    for (let row = 0; row < this.#end; row++) if (this.#addresses.get(row) !== 0) yield row;
  }

  /** @throws ERR_MEM_INVARIANT */
  checkInvariants(): void {
    let count = 0;
    for (const row of this) {
      count++;
      ensure(this.find(this.addressOf(row)) === row, `row ${row} is found under its address`);
      ensure(this.requestedOf(row) <= this.bytesOf(row), `requested <= bytes in row ${row}`);
    }
    ensure(count === this.#count, `${count} live blocks are counted as ${this.#count}`);
    ensure(count + this.#unused.length === this.#end, 'every row is live or unused');
  }
}
