import type { MemoryStats } from '../core/stats.js';
import { BlockRows, Lifetime, NONE } from './block-rows.js';
import { DeviceHeap } from './device-heap.js';
import type { DeviceStorage } from './device-storage.js';
import { NOT_LIVE } from './kernel-interface.js';

/** The heaps of a manager, one a device. A block is found in whichever it lies. */
export class DeviceHeaps extends BlockRows implements DeviceStorage<DeviceHeap> {
  readonly #heaps: (DeviceHeap | undefined)[] = [];
  /** Those that {@link closeAll} closed. */
  #ended: readonly (DeviceHeap | undefined)[] = [];
  #open: readonly DeviceHeap[] = [];
  /** The heap that a block was found in last: most programs use one for a time. */
  #recent: DeviceHeap | undefined;

  constructor() {
    super(new Lifetime());
  }

  /** Those that are open, in the order of devices. */
  get all(): readonly DeviceHeap[] {
    return this.#open;
  }

  /** Opens the heap of a device that has none. @throws ERR_MEM_NO_WEBASSEMBLY; ERR_MEM_DISPOSED after {@link closeAll} */
  open(device: number): DeviceHeap {
    this.lifetime.checkOpen();
    const heap = new DeviceHeap(device);
    this.#heaps[device] = heap;
    this.#listOpen();
    return heap;
  }

  close(device: number): void {
    const heap = this.#heaps[device];
    if (heap === undefined) return;
    heap.close();
    this.#heaps[device] = undefined;
    this.#listOpen();
  }

  /** Closes all heaps for good. */
  closeAll(): void {
    this.#ended = this.#heaps.slice();
    for (const { device } of this.#open) this.close(device);
    this.lifetime.end();
  }

  get(device: number): DeviceHeap | undefined {
    return this.#heaps[device];
  }

  statsOf(device: number): MemoryStats | undefined {
    return (this.#heaps[device] ?? this.#ended[device])?.stats;
  }

  get metadataBytes(): number {
    return this.#open.reduce((sum, heap) => sum + heap.metadataBytes, 0);
  }

  /** As {@link DeviceHeap.find}. O(devices). */
  find(address: number): number {
    for (const heap of this.#open) {
      const block = heap.find(address);
      if (block !== NONE) return block;
    }
    return NONE;
  }

  liveBytesAt(address: number): number {
    const block = this.findLive(address);
    return block === NONE ? 0 : this.bytesOf(block);
  }

  locksAt(address: number): number {
    const block = this.findLive(address);
    return block === NONE ? 0 : this.locksOf(block);
  }

  setLocksAt(address: number, locks: number): void {
    this.setLocks(this.findLive(address), locks);
  }

  setRequestedAt(address: number, requestedBytes: number): void {
    this.setRequested(this.findLive(address), requestedBytes);
  }

  /** O(blocks). */
  isFreeAt(address: number): boolean {
    return this.#open.some((heap) => heap.isFreeAt(address));
  }

  /** As {@link DeviceHeap.findLive}. O(1), O(devices) where the block is on another device than the last one was. */
  findLive(address: number): number {
    const recent = this.#recent;
    const block = recent === undefined ? NONE : recent.findLive(address);
    return block === NONE && this.#open.length > 1 ? this.#findLiveElsewhere(address) : block;
  }

  /** As {@link DeviceHeap.release}; which devices there are, as {@link findLive}. */
  release(address: number, locks: number): number {
    const recent = this.#recent;
    const outcome = recent === undefined ? NOT_LIVE : recent.release(address, locks);
    if (outcome !== NOT_LIVE || this.#open.length <= 1) return outcome;
    return this.#findLiveElsewhere(address) === NONE ? NOT_LIVE : this.#recent!.release(address, locks);
  }

  /** Every block of all heaps. */
  *[Symbol.iterator](): IterableIterator<number> {
    for (const heap of this.#open) yield* heap;
  }

  checkInvariants(): void {
    for (const heap of this.#open) heap.checkInvariants();
  }

  #listOpen(): void {
    this.#open = this.#heaps.filter((heap) => heap !== undefined);
    this.#recent = this.#open[0];
  }

  #findLiveElsewhere(address: number): number {
    for (const heap of this.#open) {
      const block = heap.findLive(address);
      if (block === NONE) continue;
      this.#recent = heap;
      return block;
    }
    return NONE;
  }
}
