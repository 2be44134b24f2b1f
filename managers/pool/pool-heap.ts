import type { AddressIndex } from '../../src/blocks/address-index.js';
import { type BlockTable, ensure } from '../../src/blocks/block-table.js';
import { FreeBlockIndex } from '../../src/blocks/free-block-index.js';
import { SortedBlocks } from '../../src/blocks/sorted-blocks.js';
import { DEFERRED_BLOCK_BYTES, DeferredFront } from './deferred-front.js';

// Of this module: an imported constant costs a memory read at each use.
const NO_BLOCK = -1;

// What a block without locks is; the pool column of the table holds it.
const FREE = 0;
/** Free, and one that the backing works with: beside a hole, or a whole segment. */
const OPEN = 1;
/** In the deferred front. */
const DEFERRED = 2;
/** Addresses without memory behind them. */
export const HOLE = 3;

/** How many bytes may be deferred. */
const FRONT_BYTES = 48 * 1024;
/** What more may be deferred for each byte that the pool holds. */
const FRONT_SHARE = 1 / 256;

/**
 * The blocks of a pool on one device: which are free, deferred, or holes.
 *
 * No two neighbours are both free; `index` holds exactly the free blocks, `open` those of them that are open.
 */
export class PoolHeap {
  readonly blocks: BlockTable;
  readonly index: FreeBlockIndex;
  readonly open: SortedBlocks;
  readonly #addresses: AddressIndex;
  readonly #front: DeferredFront;
  readonly #hasHoles: boolean;

  /** @param hasHoles - whether open blocks are those beside a hole; otherwise they are whole segments */
  constructor(blocks: BlockTable, addresses: AddressIndex, hasHoles: boolean) {
    this.blocks = blocks;
    this.index = new FreeBlockIndex(blocks);
    this.open = new SortedBlocks(blocks);
    this.#addresses = addresses;
    this.#front = new DeferredFront(blocks, FRONT_BYTES);
    this.#hasHoles = hasHoles;
  }

  get deferredBytes(): number {
    return this.#front.bytes;
  }

  get metadataBytes(): number {
    return this.index.metadataBytes + this.open.metadataBytes + this.#front.metadataBytes;
  }

  /** A block of exactly `bytes` from the front, or the smallest free block that holds them, cut to size; or NONE. */
  take(bytes: number): number {
    if (bytes <= DEFERRED_BLOCK_BYTES) {
      const block = this.#front.pop(bytes);
      if (block !== NO_BLOCK) return block;
    }
    return this.takeFree(bytes);
  }

  /** The smallest free block that holds `bytes`, cut to size, or NONE. */
  takeFree(bytes: number): number {
    const block = this.index.findBestFit(bytes);
    if (block !== NO_BLOCK) this.cut(block, bytes);
    return block;
  }

  /** Takes the first `bytes` of a free block; what is behind them stays free. */
  cut(block: number, bytes: number): void {
    const blocks = this.blocks;
    this.remove(block);
    if (blocks.bytesOf(block) !== bytes) this.insert(this.split(block, bytes));
  }

  /** Takes a block back that nobody holds. */
  giveBack(block: number): void {
    const bytes = this.blocks.bytesOf(block);
    if (bytes > DEFERRED_BLOCK_BYTES) {
      this.join(block);
    } else {
      this.blocks.setPool(block, DEFERRED);
      if (!this.#front.push(block, bytes)) this.flush();
    }
  }

  /** Joins all deferred blocks with their free neighbours. O(deferred blocks). */
  flush(): void {
    for (let block = this.#front.popSmallest(); block !== NO_BLOCK; block = this.#front.popSmallest()) this.join(block);
  }

  /** Lets the front grow with the pool. */
  setFrontFor(reservedBytes: number): void {
    this.#front.setBound(Math.max(FRONT_BYTES, Math.min(Math.floor(reservedBytes * FRONT_SHARE), 2 ** 30 - 1)));
  }

  /** Makes a block free, joined with its free neighbours. @returns the whole */
  join(block: number): number {
    const { blocks } = this;
    let whole = block;
    const next = blocks.freeNextOf(block);
    if (next !== NO_BLOCK && blocks.poolOf(next) <= OPEN) {
      this.remove(next);
      this.absorbNext(block);
    }
    const previous = blocks.freePreviousOf(block);
    if (previous !== NO_BLOCK && blocks.poolOf(previous) <= OPEN) {
      this.remove(previous);
      this.absorbNext(previous);
      whole = previous;
    }
    this.insert(whole);
    return whole;
  }

  /** Enters a free block that has no free neighbours. */
  insert(block: number): void {
    this.index.insert(block);
    const isOpen = this.#isOpen(block);
    this.blocks.setPool(block, isOpen ? OPEN : FREE);
    if (isOpen) this.open.insert(block);
  }

  /** Takes a free block out of the index. */
  remove(block: number): void {
    this.index.remove(block);
    if (this.blocks.poolOf(block) === OPEN) this.open.remove(block);
  }

  /** Tells whether a block is free and indexed: neither live, nor deferred, nor a hole. */
  isFree(block: number): boolean {
    return this.blocks.isFree(block) && this.blocks.poolOf(block) <= OPEN;
  }

  isHole(block: number): boolean {
    return block !== NO_BLOCK && this.blocks.isFree(block) && this.blocks.poolOf(block) === HOLE;
  }

  /** Enters a new block without neighbours, in no index yet. */
  create(address: number, bytes: number, device: number): number {
    const block = this.blocks.create(address, bytes, device);
    this.#addresses.set(address, block);
    return block;
  }

  /** Ends a block that has no neighbours and is in no index. */
  destroy(block: number): void {
    this.#addresses.delete(this.blocks.addressOf(block));
    this.blocks.remove(block);
  }

  /** Cuts `bytes` off the front of a block that is in no index, and returns the rest. */
  split(block: number, bytes: number): number {
    const rest = this.blocks.split(block, bytes);
    this.#addresses.set(this.blocks.addressOf(rest), rest);
    return rest;
  }

  /** Joins a block with its successor, which ceases to exist; neither is in an index. */
  absorbNext(block: number): void {
    this.#addresses.delete(this.blocks.addressOf(this.blocks.nextOf(block)));
    this.blocks.absorbNext(block);
  }

  /** Checks the pool's blocks of one device, in O(blocks). @throws ERR_MEM_INVARIANT */
  checkInvariants(device: number): void {
    const { blocks } = this;
    this.index.checkInvariants();
    this.open.checkInvariants();
    let free = 0;
    let open = 0;
    let deferredBytes = 0;
    for (const block of blocks) {
      if (blocks.deviceOf(block) !== device || !blocks.isFree(block)) continue;
      const next = blocks.nextOf(block);
      const pool = blocks.poolOf(block);
      if (pool === DEFERRED) deferredBytes += blocks.bytesOf(block);
      if (pool === HOLE) ensure(!this.isHole(next), `hole ${block} is followed by no hole`);
      if (!this.isFree(block)) continue;
      free++;
      if (pool === OPEN) open++;
      ensure(next === NO_BLOCK || !this.isFree(next), `free block ${block} has no free neighbour`);
      ensure((pool === OPEN) === this.#isOpen(block), `block ${block} is open when it is beside a hole or a whole segment`);
    }
    ensure(free === this.index.count, `${free} free blocks, ${this.index.count} of them indexed`);
    ensure(open === this.open.count, `${open} open blocks, ${this.open.count} of them sorted`);
    ensure(deferredBytes === this.#front.bytes, `${deferredBytes} bytes are deferred, counted as ${this.#front.bytes}`);
  }

  #isOpen(block: number): boolean {
    const previous = this.blocks.previousOf(block);
    const next = this.blocks.nextOf(block);
    if (this.#hasHoles) return this.isHole(next) || this.isHole(previous);
    return previous === NO_BLOCK && next === NO_BLOCK;
  }
}
