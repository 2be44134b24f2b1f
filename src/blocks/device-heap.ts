import { MemoryStats } from '../core/stats.js';
import { BlockRows, Lifetime, NONE } from './block-rows.js';
import type { LeavingMemory, ManagedDevice } from './device-storage.js';
import { ensure } from './ensure.js';
import { FreeBlocks, type FreeBlocksOptions } from './free-blocks.js';
import { HeapCounters } from './heap-counters.js';
import { Holes } from './holes.js';
import * as kernelModule from './kernel.js';

// Bindings of their own: V8 looks imported ones up, and checks them, each time.
const { hot, openKernel } = kernelModule;
/** A heap that never has a block. */
let empty = 0;

/**
 * The heap of one device of a manager: its blocks, live and free, each a part of a segment, linked to its neighbours there;
 * its free blocks, holes and counters. All that lies in the kernel, which heaps alone call. Those blocks that are live
 * or that the manager keeps by itself are found by their addresses.
 *
 * A heap lives until {@link close}, which gives its memory in the kernel back; its lifetime is how every call comes to
 * throw from then on. The two calls that are made for every allocation and every free have no time for a look at it. They go by
 * a number each, which nobody else knows and which the end of the heap replaces: {@link release} looks into a heap that never
 * has a block, {@link allocate} asks for a block of no free blocks. What finds nothing ends in a call that throws.
 */
export class DeviceHeap extends BlockRows implements ManagedDevice {
  readonly device: number;
  readonly counters: HeapCounters;
  readonly stats: MemoryStats;
  underway = 0;
  /** Where blocks belong that their policy keeps by itself: every block that comes back is left to it. */
  readonly keptByPolicy: FreeBlocks;
  /** Where a block belongs while it goes back to the device: it is not found by its address, which the device may hand out again. */
  readonly #leaving: FreeBlocks;
  #address: number;
  /** What {@link allocate} takes from. */
  #source = 0;

  /** Opens a heap. @throws ERR_MEM_NO_WEBASSEMBLY where the kernel cannot be had */
  constructor(device: number) {
    super(new Lifetime());
    const { kernel } = this.lifetime;
    empty ||= kernel.createHeap(-1);
    this.device = device;
    this.#address = kernel.createHeap(device);
    // For a heap that nobody closed: its end is when nothing is left that could use it, free blocks and counters included.
    remains.register(this.lifetime, this.#address, this.lifetime);
    this.counters = new HeapCounters(this.lifetime, this.#address);
    this.stats = new MemoryStats(this.counters);
    this.keptByPolicy = this.createFreeBlocks({});
    kernel.setManual(this.keptByPolicy.addressIn(this.lifetime));
    this.#leaving = this.createFreeBlocks({});
  }

  get isClosed(): boolean {
    return this.lifetime.isOver;
  }

  /** Gives the heap's memory in the kernel back. Blocks, free blocks and holes of it end; the counters stay as they are. */
  close(): void {
    if (this.isClosed) return;
    const { kernel } = this.lifetime;
    const address = this.#address;
    this.counters.keep();
    this.lifetime.end();
    this.#address = empty;
    this.#source = 0;
    remains.unregister(this.lifetime);
    kernel.destroyHeap(address);
  }

  /** Blocks that exist. O(blocks). */
  get count(): number {
    return this.lifetime.kernel.blockCount(this.#address);
  }

  /** Bytes of the heap in the kernel. */
  get metadataBytes(): number {
    return this.isClosed ? 0 : this.lifetime.kernel.metadataBytes(this.#address);
  }

  /** Makes an empty structure for free blocks. */
  createFreeBlocks(options: FreeBlocksOptions): FreeBlocks {
    return new FreeBlocks(this.lifetime, this.#address, options);
  }

  /** Lets {@link allocate} take from these free blocks from now on. */
  serveFrom(free: FreeBlocks): void {
    this.#source = free.addressIn(this.lifetime);
  }

  /**
   * Hands out a block of at least `bytes`, cut to size: sets its locks and counts it. O(1) for a good fit.
   *
   * @returns its address; 0 when none fits, for a number that is no size, when there are no free blocks to {@link serveFrom}
   * yet, and when the heap is closed
   */
  allocate(bytes: number, locks: number): number {
    return hot.allocate(this.#source, bytes, locks);
  }

  /**
   * Makes an empty structure for parts of address ranges without memory.
   *
   * @param group - for nothing else
   * @param idle - the free blocks beside them
   * @param pageBytes - a multiple of 16
   */
  createHoles(group: number, idle: FreeBlocks, pageBytes: number): Holes {
    return new Holes(this.lifetime, this.createFreeBlocks({ group, fit: 'exact' }), idle, pageBytes);
  }

  /** Makes a block without neighbours, which is in no bins. Amortised O(1). */
  create(address: number, bytes: number, owner: FreeBlocks): number {
    return this.lifetime.kernel.createBlockAt(owner.addressIn(this.lifetime), address, bytes);
  }

  /** The block at an address, or {@link NONE}: none that is in bins. O(1). */
  find(address: number): number {
    return this.lifetime.kernel.blockAt(this.#address, address);
  }

  /** The live block at an address, or {@link NONE}. O(1). */
  findLive(address: number): number {
    return this.lifetime.kernel.liveBlock(this.#address, address);
  }

  /** Tells whether a free block begins at an address. O(blocks). */
  isFreeAt(address: number): boolean {
    return this.lifetime.kernel.isFreeAt(this.#address, address) !== 0;
  }

  /**
   * Clears locks of the block at an address, and counts it as freed when none is left. O(1).
   *
   * @returns HELD, FREED when its bins took it back, NOT_LIVE, or the block, which the caller is to take back
   */
  release(address: number, locks: number): number {
    return hot.release(this.#address, address, locks);
  }

  /** Makes a block that is in no bins belong to other free blocks: it goes there when it comes back. */
  setOwner(block: number, owner: FreeBlocks): void {
    this.lifetime.kernel.setOwner(block, owner.addressIn(this.lifetime));
  }

  /** Takes a free block that is a whole segment, and that is in no bins, out of the books: it is about to go back to the device. */
  leave(block: number): LeavingMemory {
    const leaving = new LeavingBlock(this, block);
    this.setOwner(block, this.#leaving);
    return leaving;
  }

  /** Every block, in no particular order; O(blocks) in all. */
  *[Symbol.iterator](): IterableIterator<number> {
    const { lifetime } = this;
    for (let block = lifetime.kernel.first(this.#address); block !== NONE; block = lifetime.kernel.after(this.#address, block)) {
      yield block;
    }
  }

  /** Bytes of all blocks that are memory. O(blocks). */
  get memoryBytes(): number {
    return this.lifetime.kernel.sumMemory(this.#address);
  }

  /** Bytes of all blocks that are held. O(blocks). */
  get liveBytes(): number {
    return this.lifetime.kernel.sumLive(this.#address);
  }

  /** How many blocks are in bins. O(blocks). */
  get inBins(): number {
    return this.lifetime.kernel.countInBins(this.#address);
  }

  /** A block in bins that was not joined with the one behind it, of the same group and in bins, too; or {@link NONE}. O(blocks). */
  get firstUnjoined(): number {
    return this.lifetime.kernel.firstUnjoined(this.#address);
  }

  /**
   * Checks the links of every block, in O(blocks).
   *
   * @throws ERR_MEM_INVARIANT
   */
  checkInvariants(): void {
    if (this.lifetime.kernel.areBlocksSound(this.#address) !== 0) return;
    // The kernel tells whether something is wrong, this walk what it is.
    const all = new Set(this);
    for (const block of all) this.#checkBlock(block, all);
    ensure(false, 'blocks are as they should be');
  }

  #checkBlock(block: number, all: ReadonlySet<number>): void {
    const next = this.nextOf(block);
    const previous = this.previousOf(block);
    const bytes = this.bytesOf(block);
    ensure(previous === NONE || all.has(previous), () => `the block before ${block} exists`);
    if (next !== NONE) {
      ensure(all.has(next), () => `the block behind ${block} exists`);
      ensure(this.previousOf(next) === block, () => `previous(next(${block})) == ${block}`);
      ensure(this.addressOf(next) === this.addressOf(block) + bytes, () => `block ${next} begins where ${block} ends`);
    }
    ensure(this.deviceOf(block) === this.device, () => `block ${block} is on device ${this.device}`);
    ensure(bytes > 0, () => `block ${block} has bytes`);
    ensure(this.isFree(block) || this.requestedOf(block) <= bytes, () => `requested <= bytes of block ${block}`);
    const found = this.find(this.addressOf(block)) === block;
    ensure(this.isFree(block) || found, () => `block ${block} is found under its address`);
    ensure(!this.isInBins(block) || !found, () => `block ${block} is in bins and not found under its address`);
  }
}

/** A whole segment on its way back to the device. */
class LeavingBlock implements LeavingMemory {
  readonly address: number;
  readonly #heap: DeviceHeap;
  readonly #block: number;

  constructor(heap: DeviceHeap, block: number) {
    this.address = heap.addressOf(block);
    this.#heap = heap;
    this.#block = block;
  }

  putBack(): void {
    this.#heap.setOwner(this.#block, this.#heap.keptByPolicy);
  }

  end(): void {
    const bytes = this.#heap.bytesOf(this.#block);
    this.#heap.remove(this.#block);
    this.#heap.stats.released(bytes);
  }
}

// The kernel's memory is not the garbage collector's: what a heap holds there goes when the heap does.
const remains = new FinalizationRegistry<number>((address) => openKernel().destroyHeap(address));
