import { ABSENT } from '../../src/blocks/address-hash.js';
import { ensure } from '../../src/blocks/ensure.js';

/** A chunk is cut in two when it has this many entries. */
const CHUNK_ENTRIES = 512;

/**
 * Live blocks in the order of their addresses, to find the one that an inner address lies in.
 *
 * Sorted chunks: finding is O(log n), adding and removing O(log n) and a move inside one chunk.
 * `chunk[i] < chunk[i + 1]`, within a chunk and across chunks; no chunk is empty.
 */
export class AddressOrder {
  readonly #chunks: Chunk[] = [];

  /** The greatest address that is not above `address`, or ABSENT. */
  floor(address: number): number {
    const chunk = this.#chunks[this.#chunkOf(address)];
    if (chunk === undefined) return ABSENT;
    const at = chunk.positionOf(address);
    return at === ABSENT ? ABSENT : chunk.addresses[at]!;
  }

  /** Enters an address that is not in yet. */
  add(address: number): void {
    const at = Math.max(0, this.#chunkOf(address));
    const chunk = (this.#chunks[at] ??= new Chunk());
    chunk.insert(address);
    if (chunk.count === CHUNK_ENTRIES) this.#chunks.splice(at + 1, 0, chunk.splitOff());
  }

  /** Removes an address that is in. */
  remove(address: number): void {
    const at = this.#chunkOf(address);
    const chunk = this.#chunks[at]!;
    chunk.removeAt(chunk.positionOf(address));
    if (chunk.count === 0) this.#chunks.splice(at, 1);
  }

  /** @throws ERR_MEM_INVARIANT */
  checkInvariants(addresses: Iterable<number>): void {
    const sorted = [...addresses].sort((a, b) => a - b);
    const found = this.#chunks.flatMap((chunk) => Array.from(chunk.addresses.subarray(0, chunk.count)));
    ensure(
      sorted.length === found.length && sorted.every((address, i) => address === found[i]),
      'every live address is in order',
    );
    ensure(
      this.#chunks.every((chunk) => chunk.count > 0),
      'no chunk is empty',
    );
  }

  /** The last chunk that begins at or below `address`; ABSENT when all begin above. */
  #chunkOf(address: number): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#chunks[middle]!.addresses[0]! <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

class Chunk {
  readonly addresses = new Float64Array(CHUNK_ENTRIES);
  count = 0;

  /** Where the greatest address not above `address` stands, or ABSENT. */
  positionOf(address: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.addresses[middle]! <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  insert(address: number): void {
    const at = this.positionOf(address) + 1;
    this.addresses.copyWithin(at + 1, at, this.count++);
    this.addresses[at] = address;
  }

  removeAt(at: number): void {
    this.addresses.copyWithin(at, at + 1, this.count--);
  }

  /** Moves the upper half to a new chunk. */
  splitOff(): Chunk {
    const upper = new Chunk();
    const half = this.count >>> 1;
    upper.addresses.set(this.addresses.subarray(half, this.count));
    upper.count = this.count - half;
    this.count = half;
    return upper;
  }
}
