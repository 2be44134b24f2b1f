import { ensure } from './ensure.js';
import { FreeBlocks, type FreeBlocksOptions } from './free-blocks.js';
import { HOLE, INDEXED, kernel } from './kernel.js';

/** The manager's own lock. */
export const MANAGER_LOCK = 1;
/** The user's lock. */
export const USER_LOCK = 2;
/** Held while a block's reference count is above 0. */
export const REFERENCE_LOCK = 4;

/** No block. */
export const NONE = 0;

/** Counters of one device in the kernel. */
export interface Counters {
  readonly place: number;
  /** Where they lie now: the kernel's memory moves when it grows. */
  readonly view: () => Float64Array;
  /** Counts native memory that was got, or given back: its bytes are negative. */
  readonly countReserved: (bytes: number) => void;
}

/**
 * All blocks of a manager: live and free, each a part of a segment, linked to its neighbours there. Those that are live or
 * that the manager keeps by itself are found by their addresses. All that lies in the kernel, a row of 64 bytes a block.
 *
 * A block is a number. `requestedOf(block) <= bytesOf(block)`; a block is live while it has a lock, free otherwise.
 * `addressOf(next) == addressOf(block) + bytesOf(block)` inside a segment.
 */
export class BlockTable {
  /** The table's place in the kernel. */
  readonly heap = kernel.createHeap();
  /** By the place of counters: those of the free blocks that take their counts there. */
  readonly #freeBlocks: FreeBlocksOfCounters = new Map();

  constructor() {
    // The kernel's memory is not the garbage collector's: what a table holds there goes when the table does.
    remains.register(this, { heap: this.heap, freeBlocks: this.#freeBlocks });
  }

  /** Blocks that exist. O(blocks). */
  get count(): number {
    return kernel.blockCount(this.heap);
  }

  /** Bytes of the table, its index, and all that was made of it. */
  get metadataBytes(): number {
    return kernel.metadataBytes(this.heap);
  }

  /**
   * Makes the counters of one device, in which blocks that come and go are counted.
   *
   * @param count - how many doubles they are
   */
  createCounters(count: number): Counters {
    // Unsigned: the upper half of the kernel's memory has negative places as the kernel answers them.
    const place = kernel.createStatistics(this.heap) >>> 0;
    this.#freeBlocks.set(place, []);
    let values = new Float64Array(kernel.memory.buffer, place, count);
    // The kernel's memory moves when it grows.
    const view = () => {
      if (values.length === 0) values = new Float64Array(kernel.memory.buffer, place, count);
      return values;
    };
    return { place, view, countReserved: (bytes) => kernel.countReserved(place, bytes) };
  }

  /**
   * Makes what the blocks of one device need that their owner keeps himself: counters, and a home that gives every block
   * back to him.
   *
   * @param counters - how many doubles the counters are
   */
  openDevice(device: number, counters: number): { readonly counters: Counters; readonly home: FreeBlocks } {
    const made = this.createCounters(counters);
    return { counters: made, home: this.createFreeBlocks(made, { device }).leaveToManager() };
  }

  /** Gives back counters and all free blocks that take their counts there, unless blocks still belong there. O(blocks). */
  closeDevice({ place }: Counters): void {
    if (kernel.isCounting(this.heap, place) !== 0) return;
    destroy(this.heap, place, this.#freeBlocks.get(place) ?? []);
    this.#freeBlocks.delete(place);
  }

  /** Makes a place for free blocks that take their counts to `counters`. */
  createFreeBlocks(counters: Counters, options: FreeBlocksOptions): FreeBlocks {
    const free = new FreeBlocks(this.heap, counters.place, options);
    this.#freeBlocks.get(counters.place)?.push(free.place);
    return free;
  }

  /** Makes a block without neighbours, which is in no bins. Amortised O(1). */
  create(address: number, bytes: number, home: FreeBlocks): number {
    return kernel.createBlockAt(home.place, address, bytes);
  }

  /** Cuts a block that is in no bins in two and returns the second part, which is free and in no bins. Amortised O(1). */
  split(block: number, bytes: number): number {
    return kernel.split(block, bytes);
  }

  /** Joins a block with the one behind it, which ceases to exist; neither is in bins. @throws ERR_MEM_INVARIANT when there is none */
  absorbNext(block: number): void {
    // All tables share the row of null, which would be lost.
    ensure(kernel.nextOf(block) !== NONE, `there is a block behind ${block}`);
    kernel.absorb(block);
  }

  /** Ends a block's existence. Neighbours are not told. */
  remove(block: number): void {
    kernel.remove(block);
  }

  /** The block at an address, or {@link NONE}: none that is in bins. O(1). */
  find(address: number): number {
    return kernel.blockAt(this.heap, address);
  }

  /** The live block at an address, or {@link NONE}. O(1). */
  findLive(address: number): number {
    return kernel.liveBlock(this.heap, address);
  }

  /** Hands a block out that is in no bins: sets its locks and counts it. @returns its address */
  handOut(block: number, requestedBytes: number, locks: number): number {
    return kernel.handOut(block, requestedBytes, locks);
  }

  /**
   * Clears locks of the block at an address, and counts it as freed when none is left. O(1).
   *
   * @returns HELD, FREED when its bins took it back, UNKNOWN, DOUBLE_FREE, or the block, which the caller is to take back
   */
  release(address: number, locks: number): number {
    return kernel.release(this.heap, address, locks);
  }

  /** Undoes {@link release} of a block that the caller could not take back. */
  holdAgain(block: number, locks: number): void {
    kernel.holdAgain(block, locks);
  }

  addressOf(block: number): number {
    return kernel.addressOf(block);
  }

  bytesOf(block: number): number {
    return kernel.bytesOf(block);
  }

  /** The bytes the holder asked for. */
  requestedOf(block: number): number {
    return kernel.requestedOf(block);
  }

  deviceOf(block: number): number {
    return kernel.deviceOf(block);
  }

  /** The block before it in its segment, or {@link NONE}. */
  previousOf(block: number): number {
    return kernel.previousOf(block);
  }

  /** The block behind it in its segment, or {@link NONE}. */
  nextOf(block: number): number {
    return kernel.nextOf(block);
  }

  /** A small number, from 0 on, that no other block of this table has while it exists: for columns of one's own. */
  rowOf(block: number): number {
    return kernel.rowOf(block);
  }

  /** The policy's own number for a block: a 32-bit integer, 0 at first; parts of a block have the block's. */
  markOf(block: number): number {
    return kernel.markOf(block);
  }

  setMark(block: number, mark: number): void {
    kernel.setMark(block, mark);
  }

  locksOf(block: number): number {
    return kernel.locksOf(block);
  }

  setLocks(block: number, locks: number): void {
    kernel.setLocks(block, locks);
  }

  isFree(block: number): boolean {
    return kernel.locksOf(block) === 0;
  }

  /** Tells whether a free block is in the bins of a {@link FreeBlocks}. */
  isInBins(block: number): boolean {
    return kernel.stateOf(block) === INDEXED;
  }

  /** Tells whether a block stands for addresses without memory: a free block in {@link FreeBlocks} of holes. */
  isHole(block: number): boolean {
    return block !== NONE && kernel.stateOf(block) === HOLE;
  }

  /** Makes a block that is in no bins belong to other free blocks: it goes there when it comes back. */
  setHome(block: number, home: FreeBlocks): void {
    kernel.setHome(block, home.place);
  }

  /** True when a block is a segment of its own. */
  isWholeSegment(block: number): boolean {
    return kernel.previousOf(block) === NONE && kernel.nextOf(block) === NONE;
  }

  /** Every block, in no particular order; O(blocks) in all. */
  *[Symbol.iterator](): IterableIterator<number> {
    for (let block = kernel.first(this.heap); block !== NONE; block = kernel.after(this.heap, block)) yield block;
  }

  /**
   * Checks the links of every block, in O(blocks).
   *
   * @throws ERR_MEM_INVARIANT
   */
  checkInvariants(): void {
    const all = new Set(this);
    for (const block of all) {
      const next = this.nextOf(block);
      const previous = this.previousOf(block);
      const bytes = this.bytesOf(block);
      ensure(previous === NONE || all.has(previous), `the block before ${block} exists`);
      if (next !== NONE) {
        ensure(all.has(next), `the block behind ${block} exists`);
        ensure(this.previousOf(next) === block, `previous(next(${block})) == ${block}`);
        ensure(this.addressOf(next) === this.addressOf(block) + bytes, `block ${next} begins where ${block} ends`);
        ensure(this.deviceOf(next) === this.deviceOf(block), `blocks ${block} and ${next} are on one device`);
      }
      ensure(bytes > 0, `block ${block} has bytes`);
      ensure(this.isFree(block) || this.requestedOf(block) <= bytes, `requested <= bytes of block ${block}`);
      const found = this.find(this.addressOf(block)) === block;
      ensure(this.isFree(block) || found, `block ${block} is found under its address`);
      ensure(!this.isInBins(block) || !found, `block ${block} is in bins and not found under its address`);
    }
  }
}

type FreeBlocksOfCounters = Map<number, number[]>;

const remains = new FinalizationRegistry<{ heap: number; freeBlocks: FreeBlocksOfCounters }>(({ heap, freeBlocks }) => {
  for (const [counters, places] of freeBlocks) destroy(heap, counters, places);
  kernel.destroyHeap(heap);
});

function destroy(heap: number, counters: number, freeBlocks: readonly number[]): void {
  for (const place of freeBlocks) kernel.destroyFreeBlocks(place);
  kernel.destroyStatistics(heap, counters);
}
