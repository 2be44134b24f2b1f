import { type CarvedRegion, NO_BLOCK } from './carved-region.js';
import { ensure } from './ensure.js';
import { powerIn } from './slab-cells.js';

/**
 * Halves a region until a part fits: blocks have power-of-two sizes, and a free one joins its other half again at once.
 * Taking and giving are O(log(bytes / leafBytes)). A leaf costs 11 bytes of tables.
 *
 * Each node of a binary tree keeps the order of the largest free part below it: `order + 1` for a part of
 * `leafBytes * 2^order`, 0 for none. A block's number is that of its first leaf.
 */
export class BuddyTree implements CarvedRegion {
  readonly base: number;
  readonly bytes: number;
  readonly device: number;
  readonly #leafBytes: number;
  readonly #height: number;
  readonly #alignment: number;
  /** The root is node 1, the halves of node n are 2n and 2n + 1. */
  readonly #largest: Uint8Array;
  /** By first leaf: the order of the block that begins or began there, plus 1; 0 where none did. */
  readonly #orders: Uint8Array;
  readonly #locks: Uint8Array;
  readonly #requested: Float64Array;
  #live = 0;

  /** @param bytes - `leafBytes` times a power of two */
  constructor(base: number, bytes: number, device: number, leafBytes: number) {
    this.base = base;
    this.bytes = bytes;
    this.device = device;
    this.#leafBytes = leafBytes;
    const leaves = bytes / leafBytes;
    this.#height = Math.round(Math.log2(leaves));
    this.#alignment = powerIn(base);
    this.#largest = new Uint8Array(2 * leaves);
    this.#orders = new Uint8Array(leaves);
    this.#locks = new Uint8Array(leaves);
    this.#requested = new Float64Array(leaves);
    for (let depth = 0; depth <= this.#height; depth++)
      this.#largest.fill(this.#height - depth + 1, 2 ** depth, 2 ** (depth + 1));
  }

  get live(): number {
    return this.#live;
  }

  get metadataBytes(): number {
    return this.#largest.length + this.#orders.length + this.#locks.length + this.#requested.byteLength;
  }

  take(bytes: number, alignment: number, lock: number): number {
    if (alignment > this.#alignment) return NO_BLOCK;
    const order = this.#orderOf(bytes > alignment ? bytes : alignment);
    const largest = this.#largest;
    if (largest[1]! <= order) return NO_BLOCK;
    let node = 1;
    for (let depth = this.#height - order; depth > 0; depth--) {
      node *= 2;
      // The half with less to spare, so that large parts stay whole.
      const left = largest[node]!;
      const right = largest[node + 1]!;
      if (left <= order || (right > order && right < left)) node++;
    }
    const leaf = node * 2 ** order - 2 ** this.#height;
    largest[node] = 0;
    this.#update(node, order);
    this.#orders[leaf] = order + 1;
    this.#locks[leaf] = lock;
    this.#requested[leaf] = bytes;
    this.#live++;
    return leaf;
  }

  find(address: number): number {
    const leaf = (address - this.base) / this.#leafBytes;
    // Anything but a whole number within the array reads undefined.
    return this.#orders[leaf]! > 0 ? leaf : NO_BLOCK;
  }

  give(leaf: number): void {
    const order = this.#orders[leaf]! - 1;
    const node = (leaf + 2 ** this.#height) / 2 ** order;
    this.#locks[leaf] = 0;
    this.#largest[node] = order + 1;
    this.#update(node, order);
    this.#live--;
  }

  addressOf(leaf: number): number {
    return this.base + leaf * this.#leafBytes;
  }

  bytesOf(leaf: number): number {
    return this.#leafBytes * 2 ** (this.#orders[leaf]! - 1);
  }

  requestedOf(leaf: number): number {
    return this.#requested[leaf]!;
  }

  setRequested(leaf: number, bytes: number): void {
    this.#requested[leaf] = bytes;
  }

  locksOf(leaf: number): number {
    return this.#locks[leaf]!;
  }

  setLocks(leaf: number, locks: number): void {
    this.#locks[leaf] = locks;
  }

  liveBlocks(): number[] {
    const live: number[] = [];
    // Parts that are free as a whole are left out: the cost is O(live blocks).
    const visit = (node: number, order: number) => {
      if (this.#largest[node] === order + 1) return;
      const leaf = node * 2 ** order - 2 ** this.#height;
      if (this.#locks[leaf] !== 0 && this.#orders[leaf] === order + 1) {
        live.push(leaf);
      } else {
        ensure(order > 0, () => `leaf ${leaf} is free or a block's`);
        visit(2 * node, order - 1);
        visit(2 * node + 1, order - 1);
      }
    };
    visit(1, this.#height);
    return live;
  }

  checkInvariants(): void {
    let end = 0;
    const live = this.liveBlocks();
    for (const leaf of live) {
      ensure(leaf >= end, () => `block ${leaf} begins behind the one before`);
      ensure((leaf * this.#leafBytes) % this.bytesOf(leaf) === 0, () => `block ${leaf} begins at a multiple of its size`);
      end = leaf + 2 ** (this.#orders[leaf]! - 1);
    }
    ensure(end <= this.#orders.length, 'the last block ends in the region');
    ensure(this.#live === live.length, 'live == leaves with locks');
    ensure(this.#live > 0 || this.#largest[1] === this.#height + 1, 'without a live block the region is one part');
  }

  #orderOf(bytes: number): number {
    let order = 0;
    for (let size = this.#leafBytes; size < bytes; size *= 2) order++;
    return order;
  }

  /** Carries the change of a node of that order up to the root. */
  #update(changed: number, changedOrder: number): void {
    const largest = this.#largest;
    let order = changedOrder;
    for (let node = changed >>> 1; node > 0; node >>>= 1) {
      order++;
      const left = largest[2 * node]!;
      const right = largest[2 * node + 1]!;
      // Two whole halves are a whole.
      const joined = left === order && right === order ? order + 1 : left > right ? left : right;
      if (largest[node] === joined) return;
      largest[node] = joined;
    }
  }
}

/** The bytes of a region that has room for a block of so many bytes. */
export function buddyRegionBytes(bytes: number, leastBytes: number): number {
  let size = leastBytes;
  while (size < bytes) size *= 2;
  return size;
}
